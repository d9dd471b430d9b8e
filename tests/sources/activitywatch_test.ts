import assert from "node:assert/strict";
import fc from "fast-check";
import type { ActivityEvent, Bucket } from "../../lib/event.ts";
import { type ActivityWatchOptions, activityWatchSource } from "../../lib/sources/activitywatch.ts";
import { type Dialect, FakeActivityWatch, type GivenEvent } from "../fakes/activitywatch.ts";

const DIALECTS: readonly Dialect[] = ["python", "rust"];
const NOON_MS = Date.UTC(2026, 2, 10, 12);
const MINUTE_MS = 60_000;
const HOUR_MS = 60 * MINUTE_MS;
const DAY_MS = 24 * HOUR_MS;
const WINDOW = "aw-watcher-window_laptop";
const BUCKET: Bucket = { id: WINDOW, type: "currentwindow", hostname: "laptop", created: "" };

const given = (ms: number, durationSeconds: number, name: unknown = "a", nanos = 0): GivenEvent => ({
  startNs: BigInt(ms) * 1_000_000n + BigInt(nanos),
  durationSeconds,
  data: { app: "A", title: name },
});

/** A source in front of a stand-in, with the requests that it made. */
function connect(aw: FakeActivityWatch, options: Partial<ActivityWatchOptions> = {}) {
  const requests: Request[] = [];
  const pauses: number[] = [];
  let open = 0;
  const source = activityWatchSource({
    sleep: (ms) => {
      pauses.push(ms);
      return Promise.resolve();
    },
    fetch: async (input, init) => {
      const request = new Request(input, init);
      requests.push(request);
      assert.equal(open++, 0, "Two requests at a time");
      try {
        return await aw.answer(request);
      } finally {
        open--;
      }
    },
    ...options,
  });
  return { source, requests, pauses };
}

function filled(dialect: Dialect, events: readonly GivenEvent[]): FakeActivityWatch {
  const aw = new FakeActivityWatch({ dialect });
  aw.addBucket(WINDOW, "currentwindow", NOON_MS);
  aw.insert(WINDOW, events);
  return aw;
}

/** What the source should tell of a stand-in's events that start in [fromMs, toMs). */
function truth(aw: FakeActivityWatch, fromMs: number, toMs: number): string[] {
  return aw.export().flatMap(({ events }) => events)
    .map(({ timestamp, duration, data }) => {
      const fraction = /\.(\d+)/.exec(timestamp)?.[1]?.padEnd(6, "0").slice(0, 6) ?? "0";
      const startUs = Date.parse(timestamp.replace(/\.\d+/, "")) * 1000 + Number(fraction);
      return { startUs, durationSeconds: duration, data };
    })
    .filter(({ startUs }) => startUs >= fromMs * 1000 && startUs < toMs * 1000)
    .map((event) => JSON.stringify(event)).sort();
}

async function readAll(
  source: ReturnType<typeof activityWatchSource>,
  fromMs: number,
  toMs: number,
): Promise<{ events: ActivityEvent[]; windowsMs: number[] }> {
  const events: ActivityEvent[] = [];
  const windowsMs: number[] = [];
  let at = fromMs * 1000;
  for await (const page of source.pages(BUCKET, fromMs * 1000, toMs * 1000)) {
    assert.equal(page.fromUs, at, "There is a gap between two pages");
    at = page.toUs;
    for (const { startUs } of page.events) assert.ok(startUs >= page.fromUs && startUs < page.toUs);
    events.push(...page.events);
    windowsMs.push((page.toUs - page.fromUs) / 1000);
  }
  assert.equal(at, toMs * 1000);
  return { events, windowsMs };
}

for (const dialect of DIALECTS) {
  Deno.test(`pages() tells every event whole and once, wherever its windows are cut (${dialect})`, async () => {
    const edges = [0, 6, 18, 42, 90].map((hours) => NOON_MS + hours * HOUR_MS);
    const event = fc.record({
      edge: fc.constantFrom(...edges),
      offsetMs: fc.constantFrom(-DAY_MS, -HOUR_MS, -1000, -2, -1, 0, 1, 2, 499, 1000, HOUR_MS),
      seconds: fc.constantFrom(0, 0.001, 0.0005, 1, 5, 1 / 3, 3600, 86_399, 86_401, 400_000, -3),
      nanos: fc.constantFrom(0, 1, 999, 1000, 999_999),
      name: fc.string({ unit: "grapheme", maxLength: 4 }),
    });
    // Also so few that a window's rows do not fit: as slow as this clock is, they stay as few.
    const rows = fc.constantFrom(1, 2, 5, 200);
    await fc.assert(
      fc.asyncProperty(
        fc.array(event, { maxLength: 20 }),
        fc.nat(3000),
        rows,
        async (events, fromMs, rows) => {
          const aw = filled(
            dialect,
            events.map(({ edge, offsetMs, seconds, nanos, name }) =>
              given(edge + offsetMs, seconds, name, nanos)
            ),
          );
          const [from, to] = [NOON_MS - fromMs, NOON_MS + 120 * HOUR_MS + 1];
          let nowMs = 0;
          const { source } = connect(aw, { rowsAtOnce: rows, monotonicMs: () => nowMs += 1000 });
          const { events: told } = await readAll(source, from, to);
          assert.deepEqual(told.map((event) => JSON.stringify(event)).sort(), truth(aw, from, to));
          assert.deepEqual(
            told.map(({ startUs }) => startUs),
            told.map(({ startUs }) => startUs).sort((a, b) => a - b),
          );
        },
      ),
      { numRuns: 60 },
    );
  });

  Deno.test(`pages() reads the page again when an event goes away while it is looked at (${dialect})`, async () => {
    const aw = filled(dialect, [given(NOON_MS, 10, "stays"), given(NOON_MS + 1000, 7200, "goes")]);
    const { source } = connect(aw, {
      fetch: (input, init) => {
        const gone = aw.rows(WINDOW)[1];
        if (/events\/\d+$/.test(String(input)) && gone !== undefined) {
          // Its id is given to another event, as aw-server does.
          aw.deleteEvent(WINDOW, gone.id);
          aw.insert(WINDOW, [given(NOON_MS + 2000, 1, "new")]);
        }
        return aw.answer(new Request(input, init));
      },
    });
    const { events } = await readAll(source, NOON_MS, NOON_MS + HOUR_MS);
    assert.deepEqual(events.map(({ data }) => (data as { title: string }).title), ["stays", "new"]);
  });

  Deno.test(`pages() leaps over no event that ends before it began (${dialect})`, async () => {
    // Where a leap may begin: after windows of 6, 12, 24, 48 and 96 hours.
    const aw = filled(dialect, [given(NOON_MS + 186 * HOUR_MS, -3)]);
    const { events } = await readAll(connect(aw).source, NOON_MS, NOON_MS + 60 * DAY_MS);
    assert.equal(events.length, 1);
  });

  Deno.test(`pages() crosses years without an event in few requests (${dialect})`, async () => {
    const aw = filled(dialect, [given(NOON_MS, 10)]);
    const { source, requests } = connect(aw);
    const [bucket] = await source.buckets();
    const fromUs = bucket!.firstEventUs === undefined ? 0 : bucket!.firstEventUs - DAY_MS * 1000;
    let count = 0;
    for await (const { events } of source.pages(BUCKET, fromUs, (NOON_MS + DAY_MS) * 1000)) {
      count += events.length;
    }
    assert.equal(count, 1);
    assert.ok(requests.length < 80, `${requests.length} requests`);
  });
}

Deno.test("pages() asks in UTC with Z, for the named bucket, and never follows a redirect", async () => {
  const { source, requests } = connect(filled("python", []));
  await readAll(source, NOON_MS, NOON_MS + HOUR_MS);
  const url = new URL(requests[0]!.url);
  assert.equal(url.pathname, `/api/0/buckets/${WINDOW}/events`);
  assert.equal(url.searchParams.get("start"), "2026-03-10T11:00:00.000Z");
  assert.equal(url.searchParams.get("end"), "2026-03-10T13:00:00.000Z");
  assert.equal(requests[0]!.redirect, "manual");
});

Deno.test("pages() asks for few rows at a time of a crowd, and goes on in long windows after it", async () => {
  const crowd = Array.from({ length: 12_000 }, (_, n) => given(NOON_MS + n * 1000, 1));
  const aw = filled("rust", crowd);
  const rows: number[] = [];
  const { source } = connect(aw, {
    fetch: async (input, init) => {
      const response = await aw.answer(new Request(input, init));
      const answer = await response.clone().json();
      if (Array.isArray(answer)) rows.push(answer.length);
      return response;
    },
  });
  const { events, windowsMs } = await readAll(source, NOON_MS, NOON_MS + 60 * HOUR_MS);
  assert.equal(events.length, crowd.length);
  assert.ok(Math.max(...rows) <= 1000, `${rows}`);
  assert.ok(windowsMs.at(-2)! > 6 * HOUR_MS, `${windowsMs}`);
});

Deno.test("pages() asks for no more rows than are answered as fast as a few small requests, and rests for longer", async () => {
  let nowMs = 0;
  const aw = filled("python", Array.from({ length: 8000 }, (_, n) => given(NOON_MS + n * MINUTE_MS, 1)));
  const rows: number[] = [];
  const pauses: number[] = [];
  const { source } = connect(aw, {
    monotonicMs: () => nowMs,
    sleep: (ms) => {
      pauses.push(ms);
      return Promise.resolve();
    },
    fetch: async (input, init) => {
      const response = await aw.answer(new Request(input, init));
      const answer = await response.clone().json();
      // A slow device: 4 ms for any request, and 0.1 ms for each row.
      nowMs += 4 + (Array.isArray(answer) ? answer.length / 10 : 0);
      if (Array.isArray(answer)) rows.push(answer.length);
      return response;
    },
  });
  await source.describe!();
  const { events } = await readAll(source, NOON_MS, NOON_MS + 120 * HOUR_MS);
  assert.equal(events.length, 120 * 60);
  const late = rows.slice(10, -1);
  // 12 ms is three times a small request: that leaves 80 rows, and up to twice the time is let pass.
  assert.ok(late.every((count) => count >= 50 && count <= 200), `${late}`);
  assert.ok(late.filter((count) => count <= 100).length > late.length / 2, `${late}`);
  assert.ok(pauses.every((ms) => ms >= 2 * 4 && ms >= 10), `${pauses}`);
  assert.ok(
    pauses.reduce((sum, ms) => sum + ms, 0) > 1.9 * (nowMs - 30),
    "it rests for twice as long as it asks",
  );
});

for (const dialect of DIALECTS) {
  Deno.test(`pages() ends a page before the event that its window cuts, rather than to read it again (${dialect})`, async () => {
    const events = Array.from({ length: 3000 }, (_, n) => given(NOON_MS + n * MINUTE_MS, 60.5, "a", n));
    const aw = filled(dialect, events);
    const { source, requests } = connect(aw);
    const { events: told } = await readAll(source, NOON_MS, NOON_MS + 60 * HOUR_MS);
    assert.deepEqual(
      told.map((event) => JSON.stringify(event)).sort(),
      truth(aw, NOON_MS, NOON_MS + 60 * HOUR_MS),
    );
    const again = requests.filter(({ url }) => /events\/\d+$/.test(url)).length;
    assert.ok(again <= 2, `${again} events were read again`);
  });
}

Deno.test("pages() does not ask for less and less where a server is slow whatever it is asked", async () => {
  let nowMs = 0;
  const aw = filled("rust", [given(NOON_MS, 1)]);
  const { source, requests } = connect(aw, { monotonicMs: () => nowMs += 5000 });
  await readAll(source, NOON_MS, NOON_MS + 100 * DAY_MS);
  assert.ok(requests.length < 40, `${requests.length} requests`);
});

Deno.test("pages() begins with a smaller window after one that was not answered in time", async () => {
  let slow = true;
  const aw = filled("python", []);
  const { source } = connect(aw, {
    timeoutMs: 5,
    fetch: (input, init) => {
      const request = new Request(input, init);
      if (!slow) return aw.answer(request);
      return new Promise((_, reject) => {
        request.signal.addEventListener("abort", () => reject(request.signal.reason));
      });
    },
  });
  const read = () => readAll(source, NOON_MS, NOON_MS + DAY_MS);
  await assert.rejects(read(), { name: "SourceError", message: /no answer within 0\.005 s/ });
  await assert.rejects(read(), { name: "SourceError" });
  slow = false;
  assert.equal((await read()).windowsMs[0], 6 * HOUR_MS / 16);
  for (let n = 0; n < 3; n++) await read();
  assert.equal((await read()).windowsMs[0], 6 * HOUR_MS);
});

Deno.test("buckets() takes those of this device by their type, and says which it leaves out", async () => {
  const aw = new FakeActivityWatch();
  aw.addBucket("any-name", "currentwindow", 0);
  aw.addBucket("aw-watcher-afk_laptop", "afkstatus", 0);
  aw.addBucket("aw-watcher-web-chrome", "web.tab.current", 0, { hostname: "unknown" });
  aw.addBucket("aw-watcher-vscode_laptop", "app.editor.activity", 0);
  aw.addBucket("aw-watcher-window_desk", "currentwindow", 0, { hostname: "desk" });
  aw.addBucket("aw-watcher-window_desk-synced-from-desk", "currentwindow", 0);
  aw.addBucket("copy", "afkstatus", 0, { data: { "$aw.sync.origin": "desk" } });
  const skipped: string[] = [];
  const { source } = connect(aw, { onSkipped: (id) => skipped.push(id) });
  const found = await source.buckets();
  assert.deepEqual(found.map(({ id }) => id), ["any-name", "aw-watcher-afk_laptop", "aw-watcher-web-chrome"]);
  assert.deepEqual(skipped, ["aw-watcher-window_desk", "aw-watcher-window_desk-synced-from-desk", "copy"]);

  const named = connect(aw, { hostname: "desk", bucketIds: { window: "aw-watcher-window_{hostname}" } });
  const chosen = await named.source.buckets();
  assert.deepEqual(chosen.map(({ id, type }) => [id, type]), [
    ["aw-watcher-web-chrome", "web.tab.current"],
    ["aw-watcher-window_desk", "currentwindow"],
  ]);
});

Deno.test("buckets() lives with fields that are absent, null or of another kind", async () => {
  const answers: Record<string, unknown> = {
    "/api/0/info": { hostname: "laptop", version: "v9" },
    "/api/0/buckets/": {
      a: { id: "a", type: "currentwindow", hostname: "laptop", created: null, metadata: { start: null } },
      b: { type: "afkstatus", hostname: null, data: null },
      c: 5,
      d: { id: "d", type: 7, hostname: "laptop" },
    },
  };
  const source = activityWatchSource({
    fetch: (input) => Promise.resolve(Response.json(answers[new URL(String(input)).pathname])),
  });
  const found = await source.buckets();
  assert.deepEqual(found.map(({ id, created }) => [id, created]), [["a", ""]]);
});

Deno.test("what cannot be understood is an error that quotes nothing of it", async () => {
  const event = { id: 1, timestamp: "2026-03-10T12:00:00Z", duration: 1, data: { title: "secret" } };
  const texts = [
    '[{"title":"secret"',
    "<html>secret</html>",
    JSON.stringify({ secret: 1 }),
    JSON.stringify([{ ...event, timestamp: "secret" }]),
    JSON.stringify([{ ...event, duration: "secret" }]),
    JSON.stringify([{ ...event, duration: null }]),
    "null",
  ];
  for (const text of texts) {
    const source = activityWatchSource({ fetch: () => Promise.resolve(new Response(text)) });
    await assert.rejects(readAll(source, NOON_MS, NOON_MS + 1000), (error: Error) => {
      assert.equal(error.name, "SourceError", text);
      assert.ok(!Deno.inspect(error).includes("secret"), Deno.inspect(error));
      return true;
    });
  }
  for (const status of [301, 401, 404, 500]) {
    const source = activityWatchSource({ fetch: () => Promise.resolve(new Response("secret", { status })) });
    await assert.rejects(source.newestStartUs(BUCKET), { name: "SourceError", status });
  }
});

Deno.test("the API key goes to this device and to no other", async () => {
  for (
    const [url, key] of [["http://127.0.0.1:5600", "Bearer k"], ["http://desk.example:5600", null]] as const
  ) {
    const aw = filled("rust", []);
    const { source, requests } = connect(aw, { url: new URL(url), apiKey: "k" });
    await source.buckets();
    assert.ok(requests.every(({ headers }) => headers.get("authorization") === key), url);
  }
});

Deno.test("newestStartUs() tells the newest start, to the microsecond, or that there is none", async () => {
  for (const dialect of DIALECTS) {
    const nanos = dialect === "rust" ? 123_456 : 0;
    const aw = filled(dialect, [given(NOON_MS + 5, 0, "a", nanos), given(NOON_MS, 9)]);
    assert.equal(
      await connect(aw).source.newestStartUs(BUCKET),
      (NOON_MS + 5) * 1000 + (nanos === 0 ? 0 : 123),
    );
    assert.equal(await connect(filled(dialect, [])).source.newestStartUs(BUCKET), undefined);
  }
});
