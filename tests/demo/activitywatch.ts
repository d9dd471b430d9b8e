/** An ActivityWatch server in this process: as much of it as watchers and the agent need, over a real socket. */

interface StoredEvent {
  readonly id: number;
  readonly startMs: number;
  durationSeconds: number;
  readonly data: Record<string, unknown>;
}

interface StoredBucket {
  readonly id: string;
  readonly type: string;
  readonly created: string;
  readonly events: StoredEvent[];
}

const EVENTS = /^\/api\/0\/buckets\/([^/]+)\/(events(?:\/(\d+|count))?|heartbeat)$/;

/** Joins heartbeats and cuts events at the edges of what is asked for, as aw-server does. */
export class ActivityWatch implements AsyncDisposable {
  readonly #buckets = new Map<string, StoredBucket>();
  #server: Deno.HttpServer<Deno.NetAddr> | undefined;
  #port = 0;
  #nextId = 1;

  constructor() {
    this.start();
  }

  get url(): URL {
    return new URL(`http://127.0.0.1:${this.#port}`);
  }

  /** Comes up at the address that it had before, with all that it stored. */
  start(): void {
    this.#server = Deno.serve(
      { hostname: "127.0.0.1", port: this.#port, onListen() {} },
      (request) => this.#answer(request),
    );
    this.#port = this.#server.addr.port;
  }

  async stop(): Promise<void> {
    const server = this.#server;
    this.#server = undefined;
    await server?.shutdown();
  }

  addBucket(id: string, type: string, createdMs: number): void {
    this.#buckets.set(id, { id, type, created: iso(createdMs), events: [] });
  }

  /** All that is stored, with the code that answers the agent left out. */
  export() {
    return [...this.#buckets.values()].map(({ events, ...bucket }) => ({
      ...bucket,
      client: "demo",
      hostname: "laptop",
      events: events.map((event) => toJson(event, event.startMs, event.durationSeconds)),
    }));
  }

  async #answer(request: Request): Promise<Response> {
    const { pathname, searchParams } = new URL(request.url);
    if (pathname === "/api/0/info") {
      return Response.json({ hostname: "laptop", version: "v0.13.2", testing: false, device_id: "demo" });
    }
    if (pathname === "/api/0/buckets/") {
      const buckets = this.export().map(({ events: _, ...bucket }) => [bucket.id, bucket] as const);
      return Response.json(Object.fromEntries(buckets));
    }
    const [, id = "", what, item] = EVENTS.exec(pathname) ?? [];
    const bucket = this.#buckets.get(decodeURIComponent(id));
    if (bucket === undefined) return Response.json({ message: "There is no such bucket" }, { status: 404 });
    if (what === "heartbeat") {
      return Response.json(
        this.#heartbeat(bucket, await request.json(), Number(searchParams.get("pulsetime"))),
      );
    }
    if (item !== undefined && item !== "count") {
      const event = bucket.events.find((event) => event.id === Number(item));
      if (event === undefined) return Response.json(null, { status: 404 });
      return Response.json(toJson(event, event.startMs, event.durationSeconds));
    }
    const startMs = Date.parse(searchParams.get("start") ?? "1970-01-01T00:00:00Z");
    const endMs = Date.parse(searchParams.get("end") ?? "9999-01-01T00:00:00Z");
    const rows = bucket.events.filter((event) => event.startMs <= endMs && endOf(event) >= startMs);
    if (item === "count") return Response.json(rows.length);
    rows.sort((a, b) => b.startMs - a.startMs);
    const limit = Number(searchParams.get("limit") ?? rows.length);
    return Response.json(
      rows.slice(0, limit).map((event) => {
        const fromMs = Math.max(event.startMs, startMs);
        const seconds = Math.min(endOf(event), endMs) - fromMs;
        const whole = fromMs === event.startMs && endOf(event) <= endMs;
        return toJson(event, fromMs, whole ? event.durationSeconds : Math.max(1, seconds) / 1000);
      }),
    );
  }

  #heartbeat(
    bucket: StoredBucket,
    beat: { timestamp: string; duration: number; data: Record<string, unknown> },
    pulsetimeSeconds: number,
  ) {
    const startMs = Date.parse(beat.timestamp);
    const last = bucket.events.at(-1);
    const merges = last !== undefined && JSON.stringify(last.data) === JSON.stringify(beat.data) &&
      startMs >= last.startMs && startMs <= endOf(last) + pulsetimeSeconds * 1000;
    if (merges) {
      last.durationSeconds = Math.max(last.durationSeconds, (startMs - last.startMs) / 1000 + beat.duration);
      return toJson(last, last.startMs, last.durationSeconds);
    }
    const event = { id: this.#nextId++, startMs, durationSeconds: beat.duration, data: beat.data };
    bucket.events.push(event);
    return toJson(event, startMs, event.durationSeconds);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop();
  }
}

function endOf({ startMs, durationSeconds }: StoredEvent): number {
  return startMs + durationSeconds * 1000;
}

function iso(ms: number): string {
  return new Date(ms).toISOString().replace("Z", "000+00:00");
}

function toJson({ id, data }: StoredEvent, startMs: number, duration: number) {
  return { id, timestamp: iso(startMs), duration, data };
}
