/** An ActivityWatch with one event, and a LifeLog server that notes what it is sent. */
export interface StandIns extends AsyncDisposable {
  readonly origin: string;
  /** The events that the server has taken, each text once, as the real one keeps them. */
  readonly stored: ReadonlySet<string>;
  /** How many events were sent in all, those that were sent again as well. */
  readonly sent: () => number;
  /** Settles when the server has stored so many events. */
  readonly until: (count: number) => Promise<void>;
  /** Adds an event to ActivityWatch. */
  readonly record: (startMs: number, title: string) => void;
}

/** Starts both on one port of this device. */
export function standIns(): StandIns {
  const events: { id: number; timestamp: string; duration: number; data: unknown }[] = [];
  const stored = new Set<string>();
  let sent = 0;
  const waiting: { count: number; done: () => void }[] = [];
  const server = Deno.serve({ hostname: "127.0.0.1", port: 0, onListen() {} }, async (request) => {
    const { pathname, searchParams } = new URL(request.url);
    if (pathname === "/ingest") {
      const { events } = await request.json();
      // What doctor asks, to see whether the server would take events.
      if (!Array.isArray(events)) return Response.json({ detail: [] }, { status: 422 });
      sent += events.length;
      for (const event of events) stored.add(JSON.stringify(event));
      for (const { count, done } of waiting) if (stored.size >= count) done();
      return Response.json({ status: "success", received_events: events.length });
    }
    if (pathname === "/api/0/info") return Response.json({ hostname: "h", version: "v0.13.2" });
    if (pathname === "/api/0/buckets/") {
      const bucket = { id: "w", type: "currentwindow", hostname: "h", created: "2026-01-01T00:00:00Z" };
      return Response.json({ w: bucket });
    }
    const one = /\/events\/(\d+)$/.exec(pathname)?.[1];
    if (one !== undefined) return Response.json(events.find(({ id }) => id === Number(one)) ?? null);
    const from = Date.parse(searchParams.get("start") ?? "") || 0;
    const to = Date.parse(searchParams.get("end") ?? "") || Infinity;
    const limit = Number(searchParams.get("limit") ?? Infinity);
    const found = events.filter(({ timestamp, duration }) =>
      Date.parse(timestamp) <= to && Date.parse(timestamp) + duration * 1000 >= from
    );
    return Response.json(found.toReversed().slice(0, limit > 0 ? limit : undefined));
  });
  return {
    origin: `http://127.0.0.1:${server.addr.port}`,
    stored,
    sent: () => sent,
    until: (count) =>
      new Promise((done) => {
        if (stored.size >= count) done();
        else waiting.push({ count, done });
      }),
    record: (startMs, title) =>
      void events.push({
        id: events.length + 1,
        timestamp: new Date(startMs).toISOString(),
        duration: 60,
        data: { app: "App", title },
      }),
    [Symbol.asyncDispose]: () => server.shutdown(),
  };
}
