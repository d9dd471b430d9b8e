import assert from "node:assert/strict";
import { type Collector, type CollectorOptions, createCollector } from "../lib/collector.ts";
import type { Bucket } from "../lib/event.ts";
import { minDuration } from "../lib/filters/min_duration.ts";
import { activityWatchSource } from "../lib/sources/activitywatch.ts";
import { coverage } from "../lib/store/cursors.ts";
import { type Database, openDatabase } from "../lib/store/database.ts";
import { bucketStates } from "../lib/store/health.ts";
import { deadLetterCount, peekOutbox, removeFromOutbox } from "../lib/store/outbox.ts";
import { noteAttempt } from "../lib/store/rules.ts";
import { type Dialect, FakeActivityWatch } from "./fakes/activitywatch.ts";
import { textsOf } from "./fakes/entries.ts";

const NOON_MS = Date.UTC(2026, 2, 10, 12);
const SECOND_MS = 1000;
const MINUTE_MS = 60 * SECOND_MS;
const HOUR_MS = 60 * MINUTE_MS;
const DAY_MS = 24 * HOUR_MS;
const ID = "aw-watcher-window_laptop";

/** A window bucket of a stand-in, the real source and collector before it, and a clock that a test moves. */
class Bench implements Disposable {
  nowMs = NOON_MS;
  readonly aw: FakeActivityWatch;
  readonly db: Database = openDatabase(":memory:");
  readonly requests: string[] = [];
  /** Called before each request is answered. */
  before: (path: string) => void = () => {};
  #collector: Collector;
  readonly #options: Partial<CollectorOptions>;

  constructor(options: Partial<CollectorOptions> & { dialect?: Dialect } = {}) {
    const { dialect = "python", ...rest } = options;
    this.aw = new FakeActivityWatch({ dialect });
    this.aw.addBucket(ID, "currentwindow", NOON_MS - 90 * DAY_MS);
    this.#options = rest;
    this.#collector = this.#make();
  }

  /** A collector without a memory of its own, as after a restart. */
  restart(options: Partial<CollectorOptions> = {}): void {
    this.#collector = this.#make(options);
  }

  #make(options: Partial<CollectorOptions> = {}): Collector {
    const now = () => this.nowMs;
    const source = activityWatchSource({
      sleep: () => Promise.resolve(),
      monotonicMs: now,
      fetch: (input, init) => {
        const path = String(input).split("/api/0")[1]!;
        this.requests.push(path);
        this.before(path);
        return this.aw.answer(new Request(input, init));
      },
    });
    return createCollector({
      db: this.db,
      source,
      filters: [],
      collectFromUs: (NOON_MS - DAY_MS) * 1000,
      now,
      monotonicMs: now,
      ...this.#options,
      ...options,
    });
  }

  event(atMs: number, seconds: number, title = "t", data: unknown = { app: "A", title }): void {
    this.aw.insert(ID, [{ startNs: BigInt(atMs) * 1_000_000n, durationSeconds: seconds, data }]);
  }

  beat(title: string, pulsetimeSeconds = 2): void {
    const startNs = BigInt(this.nowMs) * 1_000_000n;
    this.aw.heartbeat(ID, { startNs, durationSeconds: 0, data: { app: "A", title } }, pulsetimeSeconds);
  }

  /** One pass, `ms` later. */
  async pass(ms = MINUTE_MS) {
    this.nowMs += ms;
    const [bucket] = await this.#bucketList();
    return await this.#collector.collect(bucket!);
  }

  #bucketList(): Promise<Bucket[]> {
    return activityWatchSource({ fetch: (input, init) => this.aw.answer(new Request(input, init)) })
      .buckets();
  }

  /** What waits: titles and durations. */
  waiting(): [string, number][] {
    return textsOf(peekOutbox(this.db, -1, 10_000, 1e9)).map((text) => {
      const { data } = JSON.parse(text);
      return [data.title, data.duration_seconds];
    });
  }

  deliver(): void {
    removeFromOutbox(this.db, peekOutbox(this.db, -1, 10_000, 1e9));
  }

  [Symbol.dispose](): void {
    this.db[Symbol.dispose]();
  }
}

Deno.test("collect() leaves the event that grows, and takes it with its last duration once a newer one came", async () => {
  using bench = new Bench();
  for (let s = 0; s < 90; s++) {
    bench.beat("first");
    bench.nowMs += SECOND_MS;
    if (s % 30 === 29) await bench.pass(0);
  }
  assert.deepEqual(bench.waiting(), []);
  bench.beat("second");
  await bench.pass(SECOND_MS);
  assert.deepEqual(bench.waiting(), [["first", 89]]);
});

Deno.test("collect() takes the newest event when it ended long ago and was seen unchanged since", async () => {
  using bench = new Bench();
  bench.event(NOON_MS, 10);
  await bench.pass(309 * SECOND_MS);
  assert.deepEqual(bench.waiting(), [], "younger than the settle time");
  await bench.pass(10 * SECOND_MS);
  await bench.pass(29 * SECOND_MS);
  assert.deepEqual(bench.waiting(), [], "seen for 29 s");
  await bench.pass(SECOND_MS);
  assert.deepEqual(bench.waiting(), [["t", 10]]);
});

Deno.test("collect() waits when the newest event grows again after an outage, as a queue is delivered", async () => {
  using bench = new Bench();
  bench.event(NOON_MS, 10);
  await bench.pass(HOUR_MS);
  // The watcher's queue: the same window for ten minutes more, an hour ago.
  const startNs = BigInt(NOON_MS + 12 * SECOND_MS) * 1_000_000n;
  bench.aw.heartbeat(ID, { startNs, durationSeconds: 600, data: { app: "A", title: "t" } }, 2);
  await bench.pass();
  assert.deepEqual(bench.waiting(), []);
  await bench.pass();
  assert.deepEqual(bench.waiting(), [["t", 612]]);
});

Deno.test("collect() says in how long it can take what looks final", async () => {
  using bench = new Bench({ confirmMs: 6000 });
  bench.event(NOON_MS, 10);
  assert.equal((await bench.pass(HOUR_MS)).confirmInMs, 6000);
  assert.equal((await bench.pass(4000)).confirmInMs, 2000);
  const { confirmInMs, cached } = await bench.pass(2000);
  assert.deepEqual([confirmInMs, cached], [undefined, 1]);
  // One that is young is no matter of a moment.
  bench.event(bench.nowMs, 10);
  assert.equal((await bench.pass(1000)).confirmInMs, undefined);
});

Deno.test("collect() asks for no second look because of what only stood at the end of a page", async () => {
  using bench = new Bench({ confirmMs: 6000, collectFromUs: (NOON_MS - 30 * DAY_MS) * 1000 });
  for (let day = 20; day >= 0; day--) bench.event(NOON_MS - day * DAY_MS, 10);
  const { confirmInMs, cached } = await bench.pass(SECOND_MS);
  assert.deepEqual([confirmInMs, cached], [undefined, 20]);
});

Deno.test("collect() with trustAge takes the newest event by its age at once, and no younger one", async () => {
  using bench = new Bench({ trustAge: true });
  bench.event(NOON_MS, 10, "old");
  await bench.pass(311 * SECOND_MS);
  assert.deepEqual(bench.waiting(), [["old", 10]]);
  bench.event(bench.nowMs, 10, "young");
  await bench.pass();
  assert.deepEqual(bench.waiting(), [["old", 10]]);
});

Deno.test("collect() lets events of one start become final together", async () => {
  using bench = new Bench();
  bench.event(NOON_MS - 2 * HOUR_MS, 1, "before");
  bench.event(NOON_MS, 10, "a");
  bench.event(NOON_MS, 400, "b");
  await bench.pass(450 * SECOND_MS);
  await bench.pass();
  assert.deepEqual(bench.waiting(), [["before", 1]]);
  await bench.pass(5 * MINUTE_MS);
  await bench.pass();
  assert.deepEqual(bench.waiting().slice(1).sort(), [["a", 10], ["b", 400]]);
});

Deno.test("collect() leaves events of the future until their time, and takes none for final because of them", async () => {
  using bench = new Bench({ dialect: "rust" });
  bench.event(NOON_MS + HOUR_MS / 2, 5, "from a wrong clock");
  await bench.pass();
  for (let s = 0; s < 30 * 60; s++) {
    bench.beat("grows past it");
    bench.nowMs += SECOND_MS;
    if (s % 60 === 59) await bench.pass(0);
  }
  assert.deepEqual(bench.waiting(), [], "an event that still grows was taken");
  for (let n = 0; n < 8; n++) await bench.pass();
  assert.deepEqual(bench.waiting().map(([title]) => title).sort(), ["from a wrong clock", "grows past it"]);
});

Deno.test("collect() takes no event for final that reaches past its successor until it is old", async () => {
  using bench = new Bench({ dialect: "rust" });
  // The clock was put back before the agent ever looked: the newest event is not the one that grows.
  bench.event(NOON_MS - MINUTE_MS, 0, "before the clock was put back");
  bench.event(NOON_MS - 2 * MINUTE_MS, 120, "grows");
  await bench.pass(SECOND_MS);
  assert.deepEqual(bench.waiting(), []);
  bench.aw.deleteEvent(ID, bench.aw.rows(ID)[0]!.id);
  bench.event(NOON_MS - 2 * MINUTE_MS, 150, "grows");
  for (let n = 0; n < 8; n++) await bench.pass();
  assert.deepEqual(bench.waiting().map(([, seconds]) => seconds).sort(), [0, 150]);
  // What reaches into the future was not made by heartbeats, and holds nobody up.
  bench.event(bench.nowMs - MINUTE_MS, 30 * 3600, "planned");
  bench.event(bench.nowMs - MINUTE_MS / 2, 10, "next");
  await bench.pass();
  assert.ok(bench.waiting().some(([title]) => title === "planned"));
});

Deno.test("collect() takes what comes late into what was read before, once it is old and has stood unchanged", async () => {
  using bench = new Bench();
  bench.event(NOON_MS - 10 * MINUTE_MS, 10, "a");
  bench.event(NOON_MS, 10, "b");
  bench.event(NOON_MS + 20 * SECOND_MS, 10, "c");
  await bench.pass();
  assert.deepEqual(bench.waiting().map(([title]) => title), ["a", "b"]);
  bench.event(NOON_MS - 60 * SECOND_MS, 10, "late");
  await bench.pass();
  assert.ok(!bench.waiting().some(([title]) => title === "late"), "younger than the settle time");
  await bench.pass(4 * MINUTE_MS);
  await bench.pass();
  assert.deepEqual(bench.waiting().map(([title]) => title).sort(), ["a", "b", "c", "late"]);
});

Deno.test("collect() finds what came days late at the next look at the recent past", async () => {
  using bench = new Bench({ collectFromUs: (NOON_MS - 20 * DAY_MS) * 1000 });
  for (let day = 10; day >= 0; day--) bench.event(NOON_MS - day * DAY_MS, 10, `${day}`);
  await bench.pass(HOUR_MS);
  await bench.pass();
  bench.event(NOON_MS - 3 * DAY_MS + HOUR_MS, 10, "late");
  await bench.pass();
  assert.equal(bench.waiting().length, 11);
  await bench.pass(6 * HOUR_MS);
  await bench.pass();
  assert.ok(bench.waiting().some(([title]) => title === "late"));
  assert.equal(bench.waiting().length, 12);
});

Deno.test("collect() finds what came late before a leap of the cursor", async () => {
  using bench = new Bench({ collectFromUs: (NOON_MS - 40 * DAY_MS) * 1000 });
  bench.event(NOON_MS - 20 * DAY_MS, 10, "before the holidays");
  await bench.pass();
  await bench.pass();
  bench.event(NOON_MS - 20 * DAY_MS - HOUR_MS, 10, "late");
  bench.event(bench.nowMs, 10, "after");
  await bench.pass(HOUR_MS);
  for (let n = 0; n < 3; n++) await bench.pass(6 * HOUR_MS);
  assert.deepEqual(bench.waiting().map(([title]) => title).sort(), ["after", "before the holidays", "late"]);
});

Deno.test("collect() takes back what was changed or deleted before it was sent", async () => {
  using bench = new Bench();
  for (const [n, title] of ["stays", "goes", "grows", "last"].entries()) {
    bench.event(NOON_MS + n * 60_000, 30, title);
  }
  await bench.pass(5 * MINUTE_MS);
  const [, goes, grows] = bench.aw.rows(ID);
  bench.aw.deleteEvent(ID, goes!.id);
  bench.aw.deleteEvent(ID, grows!.id);
  bench.event(NOON_MS + 2 * 60_000, 45, "grows");
  const result = await bench.pass();
  assert.equal(result.withdrawn, 2);
  assert.equal(result.revised, 0);
  for (let n = 0; n < 8; n++) await bench.pass();
  assert.deepEqual(bench.waiting().sort(), [["grows", 45], ["last", 30], ["stays", 30]]);
});

Deno.test("collect() counts what was changed after it was delivered as a revision, once, and sends it anew", async () => {
  using bench = new Bench();
  bench.event(NOON_MS - HOUR_MS, 30, "a");
  bench.event(NOON_MS, 30, "b");
  await bench.pass();
  bench.deliver();
  bench.aw.deleteEvent(ID, bench.aw.rows(ID)[0]!.id);
  await bench.pass(6 * HOUR_MS);
  const result = await bench.pass(6 * HOUR_MS);
  assert.equal(result.revised, 0);
  assert.equal(bucketStates(bench.db)[0]!.revisions, 1);
  bench.deliver();
  // Put back as it was: the server has it.
  bench.event(NOON_MS - HOUR_MS, 30, "a");
  for (let n = 0; n < 3; n++) await bench.pass(6 * HOUR_MS);
  assert.deepEqual(bench.waiting(), []);
});

Deno.test("collect() sends again what it took back while its request was under way, should it come back", async () => {
  using bench = new Bench();
  bench.event(NOON_MS - 30 * SECOND_MS, 20, "a");
  bench.event(NOON_MS, 20, "b");
  await bench.pass();
  noteAttempt(bench.db, peekOutbox(bench.db, -1, 1, 1e6));
  bench.aw.deleteEvent(ID, bench.aw.rows(ID)[0]!.id);
  const result = await bench.pass();
  assert.deepEqual([result.withdrawn, result.revised], [0, 1]);
  assert.deepEqual(bench.waiting(), []);
  bench.event(NOON_MS - 30 * SECOND_MS, 20, "a");
  for (let n = 0; n < 8; n++) await bench.pass();
  assert.deepEqual(bench.waiting().sort(), [["a", 20], ["b", 20]]);
});

Deno.test("collect() takes a bucket that was made anew for no deletion, and reads it from its beginning", async () => {
  using bench = new Bench({ collectFromUs: (NOON_MS - 60 * DAY_MS) * 1000 });
  bench.event(NOON_MS - 30 * DAY_MS, 30, "old");
  bench.event(NOON_MS, 30, "new");
  await bench.pass(HOUR_MS);
  await bench.pass();
  assert.equal(bench.waiting().length, 2);
  bench.aw.deleteBucket(ID);
  bench.aw.addBucket(ID, "currentwindow", NOON_MS);
  bench.event(NOON_MS - 40 * DAY_MS, 30, "imported");
  bench.event(NOON_MS, 30, "new");
  const result = await bench.pass();
  await bench.pass();
  assert.deepEqual([result.withdrawn, result.revised], [0, 0]);
  assert.deepEqual(bench.waiting().map(([title]) => title).sort(), ["imported", "new", "old"]);
});

Deno.test("collect() takes an event that was too short when it has grown after all", async () => {
  using bench = new Bench({ filters: [minDuration(5)], dialect: "rust" });
  bench.event(NOON_MS - MINUTE_MS, 1, "short");
  bench.event(NOON_MS, 30, "next");
  const result = await bench.pass();
  assert.equal(result.filtered, 1);
  bench.aw.deleteEvent(ID, bench.aw.rows(ID)[0]!.id);
  bench.event(NOON_MS - MINUTE_MS, 50, "short");
  for (let n = 0; n < 8; n++) await bench.pass();
  assert.deepEqual(bench.waiting().sort(), [["next", 30], ["short", 50]]);
  // And one that was shortened below the limit goes.
  bench.aw.deleteEvent(ID, bench.aw.rows(ID)[0]!.id);
  bench.event(NOON_MS - MINUTE_MS, 2, "short");
  await bench.pass();
  assert.deepEqual(bench.waiting(), [["next", 30]]);
});

Deno.test("collect() does not wait for the newest event where it is too short, and takes it when it has grown", async () => {
  using bench = new Bench({ filters: [minDuration(5)], dialect: "rust" });
  bench.event(NOON_MS - MINUTE_MS, 30, "before");
  bench.event(NOON_MS, 3, "short");
  assert.equal((await bench.pass(HOUR_MS)).confirmInMs, undefined);
  const startNs = BigInt(NOON_MS + 4000) * 1_000_000n;
  bench.aw.heartbeat(ID, { startNs, durationSeconds: 8, data: { app: "A", title: "short" } }, 2);
  await bench.pass();
  await bench.pass();
  assert.deepEqual(bench.waiting(), [["before", 30], ["short", 12]]);
});

Deno.test("collect() is not held up by short events that are no longer new", async () => {
  using bench = new Bench({ filters: [minDuration(5)] });
  for (let n = 0; n < 10; n++) {
    bench.event(bench.nowMs - 30 * SECOND_MS, 1, "short");
    bench.event(bench.nowMs - 20 * SECOND_MS, 10, `${n}`);
    await bench.pass();
  }
  assert.equal(bench.waiting().length, 9);
});

Deno.test("collect() takes the end of a page for final only by what it knew before it read the page", async () => {
  // The window ends between the two; its last event grows while the page is on its way.
  using bench = new Bench({ dialect: "rust", collectFromUs: (NOON_MS - 7 * HOUR_MS) * 1000 });
  bench.nowMs = NOON_MS - HOUR_MS - 10 * SECOND_MS;
  bench.beat("at the edge");
  bench.nowMs = NOON_MS;
  let reads = 0;
  bench.before = (path) => {
    if (!path.includes("start=")) return;
    if (reads++ !== 0) return;
    queueMicrotask(() => {
      const at = (ms: number) => BigInt(ms) * 1_000_000n;
      const data = { app: "A", title: "at the edge" };
      const startNs = at(NOON_MS - HOUR_MS - 9 * SECOND_MS);
      bench.aw.heartbeat(ID, { startNs, durationSeconds: 5, data }, 2);
      bench.aw.heartbeat(ID, {
        startNs: at(NOON_MS - 1000),
        durationSeconds: 0,
        data: { app: "A", title: "next" },
      }, 2);
    });
  };
  for (let n = 0; n < 10; n++) await bench.pass();
  assert.deepEqual(bench.waiting(), [["at the edge", 6], ["next", 0]]);
  assert.equal(bucketStates(bench.db)[0]!.revisions, 0);
});

Deno.test("collect() takes events longer than a day, and those that overlap, once and whole", async () => {
  for (const dialect of ["python", "rust"] as const) {
    using bench = new Bench({ dialect, collectFromUs: (NOON_MS - 30 * DAY_MS) * 1000 });
    for (let day = 20; day > 0; day -= 4) bench.event(NOON_MS - day * DAY_MS, 3 * 86_400 + day, `${day}`);
    bench.event(NOON_MS - 10 * DAY_MS, 5, "inside");
    bench.event(NOON_MS - HOUR_MS, 5, "last");
    for (let n = 0; n < 4; n++) await bench.pass(3 * HOUR_MS);
    const expected = [20, 16, 12, 8, 4].map((day) => [`${day}`, 3 * 86_400 + day]);
    assert.deepEqual(bench.waiting().sort(), [...expected, ["inside", 5], ["last", 5]].sort());
  }
});

Deno.test("collect() fills a lowered start alone, and goes on where it was broken off", async () => {
  using bench = new Bench();
  for (let day = 50; day >= 0; day--) bench.event(NOON_MS - day * DAY_MS + 1000, 10, `${day}`);
  await bench.pass(HOUR_MS);
  await bench.pass();
  assert.deepEqual(bench.waiting().map(([title]) => title), ["1", "0"]);

  bench.restart({ collectFromUs: (NOON_MS - 60 * DAY_MS) * 1000 });
  const stop = new AbortController();
  let reads = 0;
  bench.before = (path) => {
    if (path.includes("start=") && ++reads === 6) {
      stop.abort();
      throw new TypeError("broken off");
    }
  };
  await assert.rejects(bench.pass(), { name: "SourceError" });
  const [first] = coverage(bench.db, 1);
  assert.equal(first!.fromUs, (NOON_MS - 60 * DAY_MS) * 1000);

  bench.before = () => {};
  bench.requests.length = 0;
  bench.restart({ collectFromUs: (NOON_MS - 60 * DAY_MS) * 1000 });
  await bench.pass();
  const starts = bench.requests.flatMap((path) => /start=([^&]+)/.exec(path)?.[1] ?? []).map((at) =>
    Date.parse(at)
  );
  assert.ok(Math.min(...starts) >= first!.toUs / 1000 - HOUR_MS, "What was filled before was read again");
  assert.deepEqual(
    bench.waiting().map(([title]) => Number(title)).sort((a, b) => b - a),
    [...Array(51).keys()].reverse(),
  );
});

Deno.test("collect() keeps all of a page or nothing of it", async () => {
  using bench = new Bench();
  bench.event(NOON_MS - HOUR_MS, 30, "a");
  bench.event(NOON_MS, 30, "b");
  bench.restart({
    db: new Proxy(bench.db, {
      get(target, key) {
        const value = Reflect.get(target, key, target);
        if (typeof value !== "function") return value;
        return (...args: unknown[]) => {
          if (key === "run" && String(args[0]).includes("coverage")) throw new Error("disk full");
          return value.apply(target, args);
        };
      },
    }),
  });
  await assert.rejects(bench.pass(), /disk full/);
  assert.deepEqual(bench.waiting(), []);
  bench.restart();
  await bench.pass();
  assert.deepEqual(bench.waiting(), [["a", 30]]);
});

Deno.test("collect() puts data that is no object among the dead letters, once", async () => {
  using bench = new Bench();
  bench.event(NOON_MS - HOUR_MS, 30, "", [1, 2]);
  bench.event(NOON_MS, 30, "b");
  assert.equal((await bench.pass()).unencodable, 1);
  assert.equal((await bench.pass(6 * HOUR_MS)).unencodable, 0);
  assert.equal(deadLetterCount(bench.db), 1);
  assert.deepEqual(bench.waiting(), []);
});

Deno.test("collect() goes on when the clock was put back, and takes nothing twice when it comes back", async () => {
  using bench = new Bench({ dialect: "rust" });
  bench.event(NOON_MS - MINUTE_MS, 30, "before");
  bench.event(NOON_MS, 30, "noon");
  await bench.pass();
  bench.nowMs -= 3 * HOUR_MS;
  bench.event(bench.nowMs - MINUTE_MS, 30, "again");
  bench.event(bench.nowMs - 20 * SECOND_MS, 5, "and again");
  for (let n = 0; n < 10; n++) await bench.pass();
  assert.ok(bench.waiting().some(([title]) => title === "again"));
  bench.nowMs += 3 * HOUR_MS;
  for (let n = 0; n < 8; n++) await bench.pass();
  assert.deepEqual(bench.waiting().map(([title]) => title).sort(), ["again", "and again", "before", "noon"]);
});

Deno.test("collect() makes no more requests for a bucket at rest than it must", async () => {
  using bench = new Bench();
  bench.event(NOON_MS - MINUTE_MS, 10);
  for (let n = 0; n < 8; n++) await bench.pass();
  bench.requests.length = 0;
  await bench.pass();
  assert.equal(bench.requests.length, 1, `${bench.requests}`);
  await bench.pass(3 * DAY_MS);
  bench.requests.length = 0;
  await bench.pass();
  assert.ok(bench.requests.length <= 3, `${bench.requests}`);
});
