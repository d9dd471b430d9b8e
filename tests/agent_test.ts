import assert from "node:assert/strict";
import { type Agent, type AgentOptions, createAgent } from "../lib/agent.ts";
import type { Collector, CollectResult } from "../lib/collector.ts";
import type { Deliverer, DrainResult } from "../lib/deliverer.ts";
import { digestOf } from "../lib/encode.ts";
import { SourceError } from "../lib/errors.ts";
import type { Bucket, Source } from "../lib/event.ts";
import { createRepeatGate } from "../lib/log.ts";
import type { ScheduleOptions } from "../lib/schedule.ts";
import { ensureBucket } from "../lib/store/cursors.ts";
import { type Database, openDatabase } from "../lib/store/database.ts";
import { addToOutbox } from "../lib/store/outbox.ts";

const bucket = (id: string): Bucket => ({ id, type: "currentwindow", hostname: "h", created: "" });
const NOTHING: CollectResult = { cached: 0, filtered: 0, withdrawn: 0, revised: 0, unencodable: 0, pages: 1 };
const EMPTIED: DrainResult = { delivered: 0, dead: 0, requests: 0 };

/** An agent between parts that a test sets, with what it did to them in order. */
function bench(parts: {
  buckets?: () => Bucket[];
  collect?: (bucket: Bucket) => CollectResult | Promise<CollectResult>;
  drain?: (
    options: { signal?: AbortSignal; abortSignal?: AbortSignal },
  ) => DrainResult | Promise<DrainResult>;
  pauseMs?: () => number;
  options?: Partial<AgentOptions>;
} = {}) {
  const { buckets = () => [bucket("a"), bucket("b")], collect = () => NOTHING, drain = () => EMPTIED } =
    parts;
  const calls: string[] = [];
  const db: Database = openDatabase(":memory:");
  const source = {
    buckets: () => {
      calls.push("buckets");
      return Promise.resolve().then(buckets);
    },
  } as unknown as Source;
  const collector: Collector = {
    collect: async (one) => {
      calls.push(`collect ${one.id}`);
      return await collect(one);
    },
  };
  const deliverer: Deliverer = {
    drain: async (options = {}) => {
      calls.push("drain");
      return await drain(options);
    },
    pauseMs: parts.pauseMs ?? (() => 0),
  } as Deliverer;
  const schedules: ScheduleOptions[] = [];
  const agent: Agent = createAgent({
    db,
    source,
    collector,
    deliverer,
    repeats: createRepeatGate({ now: () => 0 }),
    now: () => 0,
    monotonicMs: () => 0,
    schedule: (schedule) => {
      schedules.push(schedule);
      return new Promise((resolve) => {
        if (schedule.signal.aborted) resolve();
        schedule.signal.addEventListener("abort", () => resolve(), { once: true });
      });
    },
    ...parts.options,
  });
  const wait = () => {
    const { id } = ensureBucket(db, bucket("a"));
    db.transaction(() =>
      addToOutbox(db, id, { startUs: 1, digest: digestOf(1), durationSeconds: 1 }, "{}", 0)
    );
  };
  return { agent, db, calls, schedules, wait, [Symbol.dispose]: () => db[Symbol.dispose]() };
}

const never = new AbortController().signal;

Deno.test("once() reads every bucket, then delivers, and is ok when nothing failed and nothing waits", async () => {
  using b = bench({
    collect: () => ({ ...NOTHING, cached: 2 }),
    drain: () => ({ ...EMPTIED, delivered: 4, requests: 1 }),
  });
  assert.deepEqual(await b.agent.once(never), { cached: 4, delivered: 4, dead: 0, waiting: 0, ok: true });
  assert.deepEqual(b.calls, ["buckets", "collect a", "collect b", "drain"]);
});

Deno.test("a cache that is damaged is left as it is before anything is read, collected or delivered", async () => {
  for (const work of ["once", "run"] as const) {
    using b = bench();
    ensureBucket(b.db, bucket("a"));
    // As a flipped bit would: a value that its table would never take.
    b.db.run("PRAGMA ignore_check_constraints = ON");
    b.db.run("INSERT INTO coverage (bucket_id, from_us, to_us, residue) VALUES (1, 2, 3, 4)");
    b.db.run("PRAGMA ignore_check_constraints = OFF");
    await assert.rejects(b.agent[work](never), { fault: "corrupt" });
    assert.deepEqual(b.calls, []);
  }
});

Deno.test("once() goes on with the other buckets and delivers when one cannot be read, and is not ok", async () => {
  using b = bench({
    collect: ({ id }) => {
      if (id === "a") {
        throw new SourceError("ActivityWatch answered 404 to a read of events", { status: 404 });
      }
      return { ...NOTHING, cached: 1 };
    },
  });
  assert.deepEqual(await b.agent.once(never), { cached: 1, delivered: 0, dead: 0, waiting: 0, ok: false });
  assert.deepEqual(b.calls, ["buckets", "collect a", "collect b", "drain"]);
});

Deno.test("once() delivers what waits while ActivityWatch is down, and is not ok", async () => {
  using b = bench({
    buckets: () => {
      throw new SourceError("Cannot read ActivityWatch: no connection");
    },
    drain: () => ({ ...EMPTIED, delivered: 3, requests: 1 }),
  });
  const { ok, delivered } = await b.agent.once(never);
  assert.deepEqual([ok, delivered], [false, 3]);
});

Deno.test("once() is not ok when events wait, were given up, or the server failed", async () => {
  using waiting = bench();
  waiting.wait();
  assert.deepEqual(await waiting.agent.once(never), {
    cached: 0,
    delivered: 0,
    dead: 0,
    waiting: 1,
    ok: false,
  });
  using dead = bench({ drain: () => ({ ...EMPTIED, dead: 1, requests: 1 }) });
  assert.equal((await dead.agent.once(never)).ok, false);
  using failed = bench({
    drain: () => ({ ...EMPTIED, failure: { reason: "it answered 503", status: 503 } }),
  });
  assert.equal((await failed.agent.once(never)).ok, false);
});

Deno.test("once() looks again at what may yet be written to, before it delivers", async () => {
  const pauses: number[] = [];
  let pass = 0;
  using b = bench({
    buckets: () => [bucket("a")],
    collect: () => ++pass === 1 ? { ...NOTHING, cached: 2, confirmInMs: 6000 } : { ...NOTHING, cached: 1 },
    options: {
      sleep: (ms) => {
        pauses.push(ms);
        return Promise.resolve();
      },
    },
  });
  assert.deepEqual(await b.agent.once(never), { cached: 3, delivered: 0, dead: 0, waiting: 0, ok: true });
  assert.deepEqual(b.calls, ["buckets", "collect a", "collect a", "drain"]);
  assert.deepEqual(pauses, [6000]);
});

Deno.test("once() does not look again when it is told to end meanwhile", async () => {
  const stop = new AbortController();
  using b = bench({ buckets: () => [bucket("a")], collect: () => ({ ...NOTHING, confirmInMs: 60_000 }) });
  queueMicrotask(() => setTimeout(() => stop.abort(), 0));
  assert.equal((await b.agent.once(stop.signal)).ok, false);
  assert.deepEqual(b.calls, ["buckets", "collect a"]);
});

Deno.test("once() with nowhere to deliver to is ok with what waits", async () => {
  using b = bench({ options: { deliverer: undefined } });
  b.wait();
  assert.deepEqual(await b.agent.once(never), { cached: 0, delivered: 0, dead: 0, waiting: 1, ok: true });
});

Deno.test("once() stops between two buckets when it is told to end", async () => {
  const stop = new AbortController();
  using b = bench({
    collect: () => {
      stop.abort();
      return NOTHING;
    },
  });
  assert.equal((await b.agent.once(stop.signal)).ok, false);
  assert.deepEqual(b.calls, ["buckets", "collect a"]);
});

Deno.test("run() collects and delivers at its start, then on two schedules, until it is told to end", async () => {
  const stop = new AbortController();
  using b = bench({ options: { collectionIntervalSeconds: 60, sendIntervalSeconds: 300, splay: 0.25 } });
  const running = b.agent.run(stop.signal);
  while (b.schedules.length < 2) await new Promise((resolve) => setTimeout(resolve, 0));
  assert.deepEqual(b.calls, ["buckets", "collect a", "collect b", "drain"]);
  assert.deepEqual(b.schedules.map(({ name, intervalSeconds, splay }) => [name, intervalSeconds, splay]), [
    ["collect", 60, 0.25],
    ["deliver", 300, 0.25],
  ]);
  b.calls.length = 0;
  await b.schedules[0]!.run();
  assert.deepEqual(b.calls, ["collect a", "collect b"], "the list of buckets is good for a while");
  stop.abort();
  await running;
});

Deno.test("run() asks for the buckets anew when one could not be read, and lives through every fault", async () => {
  const stop = new AbortController();
  let fails = true;
  using b = bench({
    collect: ({ id }) => {
      if (fails && id === "b") throw new Error("disk full");
      return NOTHING;
    },
    drain: () => {
      if (fails) throw new Error("disk full");
      return EMPTIED;
    },
  });
  const running = b.agent.run(stop.signal);
  while (b.schedules.length < 2) await new Promise((resolve) => setTimeout(resolve, 0));
  fails = false;
  b.calls.length = 0;
  await b.schedules[0]!.run();
  await b.schedules[1]!.run();
  assert.deepEqual(b.calls, ["buckets", "collect a", "collect b", "drain"]);
  stop.abort();
  await running;
});

Deno.test("run() leaves the server alone for as long as the deliverer says", async () => {
  const stop = new AbortController();
  let pauseMs = 0;
  using b = bench({ pauseMs: () => pauseMs });
  const running = b.agent.run(stop.signal);
  while (b.schedules.length < 2) await new Promise((resolve) => setTimeout(resolve, 0));
  b.calls.length = 0;
  pauseMs = 1000;
  await b.schedules[1]!.run();
  assert.deepEqual(b.calls, []);
  pauseMs = 0;
  await b.schedules[1]!.run();
  assert.deepEqual(b.calls, ["drain"]);
  stop.abort();
  await running;
});

Deno.test("run() tells the deliverer to stop at once, and gives the request in flight its grace", async () => {
  const stop = new AbortController();
  let given: { signal?: AbortSignal; abortSignal?: AbortSignal } = {};
  let inFlight = () => {};
  const sent = new Promise<void>((resolve) => inFlight = resolve);
  let answer = (_: DrainResult) => {};
  using b = bench({
    drain: (options) => {
      given = options;
      inFlight();
      return new Promise((resolve) => answer = resolve);
    },
  });
  const running = b.agent.run(stop.signal);
  await sent;
  stop.abort();
  assert.equal(given.signal?.aborted, true);
  assert.equal(given.abortSignal?.aborted, false);
  answer({ ...EMPTIED, delivered: 1, requests: 1 });
  await running;
});
