import assert from "node:assert/strict";
import fc from "fast-check";
import { createDeliverer, type DelivererOptions } from "../lib/deliverer.ts";
import { digestOf } from "../lib/encode.ts";
import type { SendResult, Sink } from "../lib/event.ts";
import { ensureBucket } from "../lib/store/cursors.ts";
import { type Database, openDatabase, type SqlValue } from "../lib/store/database.ts";
import { addToOutbox, deadLetterCount, outboxDepth, withdraw } from "../lib/store/outbox.ts";
import { isAttempted, rewriteEntry, waitingBetween } from "../lib/store/rules.ts";
import { textsOf as bodies } from "./fakes/entries.ts";

const BUCKET = { id: "aw-watcher-window_x", type: "currentwindow", hostname: "x", created: "" } as const;
const version = (n: number) => ({ startUs: n, digest: digestOf(n), durationSeconds: 1 });
const DELIVERED: SendResult = { kind: "delivered" };
const BUSY: SendResult = { kind: "retry", reason: "it answered 503", status: 503 };
const REFUSED: SendResult = { kind: "refused", reason: "it answered 401", status: 401, hint: "Check it" };
const rejected = (...indices: number[]): SendResult => ({
  kind: "rejected",
  status: 422,
  reason: "it answered 422",
  indices,
});

function add(db: Database, bodies: readonly string[], from = 0): void {
  const { id } = ensureBucket(db, BUCKET);
  db.transaction(() => bodies.forEach((body, n) => addToOutbox(db, id, version(from + n), body, 0)));
}

function outboxOf(bodies: readonly string[]): Database {
  const db = openDatabase(":memory:");
  add(db, bodies);
  return db;
}

const numbered = (count: number) => Array.from({ length: count }, (_, n) => `{"n":${n}}`);
const deadBodies = (db: Database) =>
  db.all<{ body: string }>("SELECT body FROM dead_letter ORDER BY seq").map(({ body }) => body);

/** A sink that answers what `answer` says and keeps what it was sent and what it has. */
function fakeSink(answer: (batch: string[], request: number) => SendResult | Promise<SendResult>) {
  const sent: string[][] = [];
  const has: string[] = [];
  const sink: Sink = {
    async send(batch) {
      sent.push(bodies(batch));
      const result = await answer(bodies(batch), sent.length);
      if (result.kind === "delivered") has.push(...bodies(batch));
      return result;
    },
  };
  return { sink, sent, has };
}

/** A deliverer that waits for nothing, and tells what it would have waited. */
function deliverer(options: DelivererOptions) {
  const waits: number[] = [];
  const made = createDeliverer({
    random: () => 0.5,
    sleep: (ms, { signal } = {}) => {
      signal?.throwIfAborted();
      waits.push(ms);
      return Promise.resolve();
    },
    ...options,
  });
  return { ...made, waits };
}

Deno.test("drain() empties the outbox in order, in batches no larger than allowed", async () => {
  using db = outboxOf(numbered(1234));
  const { sink, sent, has } = fakeSink(() => DELIVERED);
  const result = await deliverer({ db, sink }).drain();
  assert.deepEqual(result, { delivered: 1234, dead: 0, requests: 3 });
  assert.deepEqual(sent.map((batch) => batch.length), [500, 500, 234]);
  assert.deepEqual(has, numbered(1234));
  assert.equal(outboxDepth(db), 0);
});

Deno.test("drain() bounds a batch by bytes of UTF-8, and sends an event that is too large alone", async () => {
  const texts = ["€".repeat(30), "€".repeat(30), "x".repeat(500), "a", "b"];
  using db = outboxOf(texts);
  const { sink, sent } = fakeSink(() => DELIVERED);
  await deliverer({ db, sink, maxBatchBytes: 181 }).drain();
  assert.deepEqual(sent, [[texts[0]], [texts[1]], [texts[2]], ["a", "b"]]);
});

Deno.test("drain() also sends what came while it sent", async () => {
  using db = outboxOf(numbered(3));
  const { sink, has } = fakeSink((_, request) => {
    if (request === 1) add(db, ["late"], 100);
    return DELIVERED;
  });
  assert.equal((await deliverer({ db, sink }).drain()).delivered, 4);
  assert.deepEqual(has.at(-1), "late");
});

Deno.test("drain() asks nothing of the server when there is nothing to send", async () => {
  using db = outboxOf([]);
  const { sink, sent } = fakeSink(() => DELIVERED);
  assert.deepEqual(await deliverer({ db, sink }).drain(), { delivered: 0, dead: 0, requests: 0 });
  assert.equal(sent.length, 0);
});

Deno.test("drain() tries the same batch again, so often and after such waits as it was told", async () => {
  using db = outboxOf(numbered(3));
  const { sink, sent } = fakeSink(() => BUSY);
  const made = deliverer({ db, sink, maxRetries: 4, retryDelayMs: 1000 });
  const result = await made.drain();
  assert.deepEqual(result, {
    delivered: 0,
    dead: 0,
    requests: 5,
    failure: { reason: "it answered 503", status: 503 },
  });
  assert.deepEqual(sent, Array(5).fill(numbered(3)));
  assert.deepEqual(made.waits, [500, 1000, 2000, 4000]);
  assert.equal(outboxDepth(db), 3);
});

Deno.test("drain() goes on with the rest once a retry succeeded, with all tries for the next batch", async () => {
  using db = outboxOf(numbered(4));
  const { sink, has } = fakeSink((_, request) => request % 3 === 0 ? DELIVERED : BUSY);
  const result = await deliverer({ db, sink, maxBatchSize: 2, maxRetries: 2 }).drain();
  assert.deepEqual(result, { delivered: 4, dead: 0, requests: 6 });
  assert.deepEqual(has, numbered(4));
});

Deno.test("drain() waits as long as the server asks, and leaves it when that is too long", async () => {
  using db = outboxOf(numbered(1));
  let wishMs = 120_000;
  const { sink } = fakeSink(() => ({ ...BUSY, retryAfterMs: wishMs }) as SendResult);
  const made = deliverer({ db, sink, maxRetries: 1, monotonicMs: () => 0 });
  await made.drain();
  assert.deepEqual(made.waits, [125_000]);

  wishMs = 3_600_000;
  assert.equal((await made.drain()).requests, 1);
  assert.equal(made.waits.length, 1);
  assert.ok(made.pauseMs() >= wishMs && made.pauseMs() <= wishMs + 10_000);

  wishMs = 1e13;
  await made.drain();
  assert.ok(made.pauseMs() <= 24 * 3_600_000 + 10_000, "a server cannot silence the agent for ever");
});

Deno.test("pauseMs() grows with each failed drain up to its cap, runs off with the clock, and ends with success", async () => {
  using db = outboxOf(numbered(1));
  let answer: SendResult = BUSY;
  let nowMs = 0;
  const { sink } = fakeSink(() => answer);
  const made = deliverer({ db, sink, maxRetries: 0, monotonicMs: () => nowMs });
  assert.equal(made.pauseMs(), 0);
  const pauses: number[] = [];
  for (let i = 0; i < 8; i++) {
    await made.drain();
    pauses.push(made.pauseMs());
  }
  assert.deepEqual(pauses, [15_000, 30_000, 60_000, 120_000, 240_000, 450_000, 450_000, 450_000]);
  nowMs += 449_000;
  assert.equal(made.pauseMs(), 1000);
  nowMs += 5000;
  assert.equal(made.pauseMs(), 0);
  answer = DELIVERED;
  await made.drain();
  answer = BUSY;
  add(db, ["x"], 9);
  await made.drain();
  assert.equal(made.pauseMs(), 15_000);
});

Deno.test("drain() keeps everything when the server refuses, asks once, and says what to do", async () => {
  using db = outboxOf(numbered(600));
  const { sink } = fakeSink(() => REFUSED);
  assert.deepEqual(await deliverer({ db, sink }).drain(), {
    delivered: 0,
    dead: 0,
    requests: 1,
    failure: { reason: "it answered 401", status: 401, hint: "Check it" },
  });
  assert.equal(outboxDepth(db), 600);
  assert.equal(deadLetterCount(db), 0);
});

Deno.test("drain() moves the events that the server named to the dead letters, each with its reason", async () => {
  using db = outboxOf(numbered(6));
  const bad = new Set(['{"n":1}', '{"n":4}']);
  const { sink, has } = fakeSink((batch) => {
    const indices = batch.flatMap((body, index) => bad.has(body) ? [index] : []);
    if (indices.length === 0) return DELIVERED;
    return {
      kind: "rejected",
      status: 422,
      reason: "it answered 422",
      indices,
      reasons: new Map(indices.map((i) => [i, `r${i}`])),
    };
  });
  assert.deepEqual(await deliverer({ db, sink, now: () => 77 }).drain(), {
    delivered: 4,
    dead: 2,
    requests: 2,
  });
  assert.deepEqual(has, ["0", "2", "3", "5"].map((n) => `{"n":${n}}`));
  assert.deepEqual(
    db.all<object>("SELECT body, status, reason, dead_at_ms AS at FROM dead_letter").map((row) => ({
      ...row,
    })),
    [{ body: '{"n":1}', status: 422, reason: "r1", at: 77 }, {
      body: '{"n":4}',
      status: 422,
      reason: "r4",
      at: 77,
    }],
  );
});

Deno.test("drain() ends when the server names all events of a batch, or one at a time", async () => {
  for (const named of [(count: number) => [...Array(count).keys()], () => [0]]) {
    using db = outboxOf(numbered(300));
    const { sink } = fakeSink((batch) => rejected(...named(batch.length)));
    assert.equal((await deliverer({ db, sink }).drain()).dead, 300);
    assert.equal(outboxDepth(db), 0);
  }
});

/** Drains 500 events of which some are poison that the server does not name. */
async function drainPoison(poison: ReadonlySet<number>, count = 500) {
  using db = outboxOf(numbered(count));
  const bad = new Set([...poison].map((n) => `{"n":${n}}`));
  const { sink, has, sent } = fakeSink((batch) =>
    batch.some((body) => bad.has(body)) ? rejected() : DELIVERED
  );
  const result = await deliverer({ db, sink }).drain();
  assert.deepEqual(has, numbered(count).filter((body) => !bad.has(body)));
  assert.deepEqual(deadBodies(db), numbered(count).filter((body) => bad.has(body)));
  assert.equal(outboxDepth(db), 0);
  assert.equal(result.requests, sent.length);
  return result.requests;
}

const few = (k: number, n: number) => k * Math.log2(n) + k + 6;

Deno.test("drain() finds one poison event among 500 in few requests, wherever it stands", async () => {
  for (const at of [0, 1, 2, 100, 249, 250, 251, 333, 498, 499]) {
    const requests = await drainPoison(new Set([at]));
    assert.ok(requests <= few(1, 500), `${requests} requests for event ${at}`);
  }
});

Deno.test("drain() finds ten poison events among 500 in few requests", async () => {
  const spread = Array.from({ length: 10 }, (_, i) => i * 50 + 7);
  const row = Array.from({ length: 10 }, (_, i) => 245 + i);
  const odd = [0, 3, 99, 100, 101, 250, 251, 400, 498, 499];
  for (const poison of [spread, row, odd]) {
    const requests = await drainPoison(new Set(poison));
    assert.ok(requests <= few(10, 500), `${requests} requests`);
  }
});

Deno.test("drain() asks hardly more than once for each event when all of them are poison", async () => {
  const requests = await drainPoison(new Set(Array(500).keys()));
  assert.ok(requests <= 500 + 60, `${requests} requests`);
});

Deno.test("drain() delivers all but the poison, whichever events are poison", async () => {
  await fc.assert(
    fc.asyncProperty(fc.integer({ min: 1, max: 60 }), fc.array(fc.nat(59)), async (count, poison) => {
      await drainPoison(new Set(poison.filter((n) => n < count)), count);
    }),
    { numRuns: 60 },
  );
});

Deno.test("drain() puts no event in the dead letters that was not rejected alone or by its name", async () => {
  using db = outboxOf(numbered(64));
  // A server that takes no more than three events at once, and says so by rejecting.
  const { sink, has } = fakeSink((batch) => batch.length > 3 ? rejected() : DELIVERED);
  const result = await deliverer({ db, sink }).drain();
  assert.equal(result.dead, 0);
  assert.deepEqual(has, numbered(64));
});

Deno.test("drain() stops its search for poison when the server fails, and loses nothing", async () => {
  using db = outboxOf(numbered(100));
  let broken = true;
  const bad = '{"n":60}';
  const { sink, has } = fakeSink((batch, request) => {
    if (broken && request > 3) return BUSY;
    return batch.includes(bad) ? rejected() : DELIVERED;
  });
  const made = deliverer({ db, sink, maxRetries: 0 });
  assert.equal((await made.drain()).failure?.status, 503);
  broken = false;
  await made.drain();
  assert.deepEqual(has, numbered(100).filter((body) => body !== bad));
  assert.deepEqual(deadBodies(db), [bad]);
});

Deno.test("drain() halves a batch that is too large, and remembers how many bytes the server takes", async () => {
  const alike = (count: number) => Array.from({ length: count }, (_, n) => `{"n":${10_000 + n}}`);
  using db = outboxOf(alike(500));
  const { sink, sent, has } = fakeSink((batch) =>
    batch.join().length > 1000 ? { kind: "too-large", reason: "it answered 413", status: 413 } : DELIVERED
  );
  const made = deliverer({ db, sink });
  const first = await made.drain();
  assert.deepEqual(sent.slice(0, 4).map((batch) => batch.length), [500, 250, 125, 62]);
  assert.deepEqual([first.delivered, first.dead, first.requests], [500, 0, 12]);
  assert.deepEqual(has, alike(500));
  add(db, numbered(500), 1000);
  sent.length = 0;
  await made.drain();
  // Twice as much is tried again, once; events that are smaller go in larger numbers.
  assert.deepEqual(sent.slice(0, 3).map((batch) => batch.length), [161, 84, 76]);
});

Deno.test("drain() halves the number of events where the server says that they are too many", async () => {
  using db = outboxOf(numbered(500));
  const { sink, sent, has } = fakeSink((batch) =>
    batch.length > 100 ? { kind: "too-large", reason: "it answered 422", status: 422 } : DELIVERED
  );
  await deliverer({ db, sink }).drain();
  assert.deepEqual(sent.slice(0, 4).map((batch) => batch.length), [500, 250, 125, 63]);
  assert.deepEqual(has, numbered(500));
});

Deno.test("drain() asks for less at a time where the server takes long, and for more again where it is quick", async () => {
  using db = outboxOf(numbered(2000));
  let nowMs = 0;
  const tookMs = [30_000, 100, 100, 15_000, 100];
  const { sink, sent, has } = fakeSink((_, request) => {
    nowMs += tookMs[request - 1] ?? 100;
    return request === 1 ? { kind: "retry", reason: "no answer", slow: true } : DELIVERED;
  });
  const made = deliverer({ db, sink, monotonicMs: () => nowMs });
  // Half as much after a time-out; and where an answer took long, the rest is left to the next drain.
  const first = await made.drain();
  assert.deepEqual(sent.map((batch) => batch.length), [500, 250, 500, 500]);
  assert.deepEqual(first, { delivered: 1250, dead: 0, requests: 4, eased: true });
  assert.equal(made.pauseMs(), 0);
  const second = await made.drain();
  assert.deepEqual(sent.slice(4).map((batch) => batch.length), [250, 500]);
  assert.deepEqual(second, { delivered: 750, dead: 0, requests: 2 });
  assert.deepEqual(has, numbered(2000));
});

Deno.test("drain() moves an event that alone is too large to the dead letters and goes on", async () => {
  using db = outboxOf(["a", "b".repeat(50), "c"]);
  const { sink, has } = fakeSink((batch) =>
    batch.join("").length > 10 ? { kind: "too-large", reason: "it answered 413", status: 413 } : DELIVERED
  );
  const result = await deliverer({ db, sink }).drain();
  assert.deepEqual([result.delivered, result.dead], [2, 1]);
  assert.deepEqual(has, ["a", "c"]);
  assert.deepEqual(deadBodies(db), ["b".repeat(50)]);
});

Deno.test("drain() does not send what was taken back between two requests", async () => {
  using db = outboxOf(numbered(4));
  const { sink, has } = fakeSink((_, request) => {
    if (request === 1) assert.ok(withdraw(db, ensureBucket(db, BUCKET).id, version(3)));
    return DELIVERED;
  });
  await deliverer({ db, sink, maxBatchSize: 2 }).drain();
  assert.deepEqual(has, numbered(3));
});

Deno.test("drain() does not ask when it is stopped before it began", async () => {
  using db = outboxOf(numbered(2));
  const { sink, sent } = fakeSink(() => DELIVERED);
  await assert.rejects(deliverer({ db, sink }).drain({ signal: AbortSignal.abort() }), {
    name: "AbortError",
  });
  assert.equal(sent.length, 0);
  assert.equal(outboxDepth(db), 2);
});

Deno.test("drain() finishes the request in flight when it is stopped, and sends no other", async () => {
  using db = outboxOf(numbered(4));
  const stop = new AbortController();
  const { sink, sent } = fakeSink(async () => {
    stop.abort();
    await Promise.resolve();
    return DELIVERED;
  });
  const drained = deliverer({ db, sink, maxBatchSize: 2 }).drain({ signal: stop.signal });
  await assert.rejects(drained, { name: "AbortError" });
  assert.deepEqual(sent, [numbered(2)]);
  assert.equal(outboxDepth(db), 2);
});

Deno.test("drain() stops while it waits for a retry", async () => {
  using db = outboxOf(numbered(1));
  const stop = new AbortController();
  const { sink, sent } = fakeSink(() => BUSY);
  const made = createDeliverer({
    db,
    sink,
    random: () => 0.99,
    onWait: () => queueMicrotask(() => stop.abort()),
  });
  await assert.rejects(made.drain({ signal: stop.signal }), { name: "AbortError" });
  assert.equal(sent.length, 1);
  assert.equal(outboxDepth(db), 1);
});

Deno.test("drain() gives the request in flight up on abortSignal and keeps its events", async () => {
  using db = outboxOf(numbered(2));
  const give = new AbortController();
  const sink: Sink = {
    send: (_, { signal } = {}) =>
      new Promise((_, reject) => {
        signal!.addEventListener("abort", () => reject(signal!.reason));
        queueMicrotask(() => give.abort());
      }),
  };
  await assert.rejects(deliverer({ db, sink }).drain({ abortSignal: give.signal }), { name: "AbortError" });
  assert.equal(outboxDepth(db), 2);
});

Deno.test("drain() sends the same entries again when it could not delete them after the answer", async () => {
  const folder = await Deno.makeTempDir();
  try {
    const path = `${folder}/cache.sqlite`;
    const { sink, sent } = fakeSink(() => DELIVERED);
    {
      using db = openDatabase(path);
      add(db, numbered(5));
      const failing = Object.create(db, {
        transaction: {
          value: () => {
            throw new Error("killed");
          },
        },
        all: { value: db.all.bind(db) },
        get: { value: db.get.bind(db) },
        lists: { value: db.lists.bind(db) },
        outboxState: { value: db.outboxState.bind(db) },
      });
      await assert.rejects(deliverer({ db: failing, sink }).drain(), /killed/);
    }
    using db = openDatabase(path);
    await deliverer({ db, sink }).drain();
    assert.deepEqual(sent, [numbered(5), numbered(5)]);
    assert.equal(outboxDepth(db), 0);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});

Deno.test("drain() tells of each request and each wait, without the events' text", async () => {
  using db = outboxOf(numbered(2));
  const told: unknown[] = [];
  const { sink } = fakeSink((_, request) => request === 1 ? BUSY : DELIVERED);
  await deliverer({
    db,
    sink,
    onResult: (batch, { kind }) => told.push([batch.length, kind]),
    onWait: (waitMs, reason, attempt) => told.push([waitMs, reason, attempt]),
  }).drain();
  assert.deepEqual(told, [[2, "retry"], [30_000, "it answered 503", 1], [2, "delivered"]]);
});

Deno.test("drain() asks with one small request, once, whether a server that failed is back", async () => {
  using db = outboxOf(numbered(1000));
  let answer: SendResult = BUSY;
  const { sink, sent } = fakeSink(() => answer);
  const made = deliverer({ db, sink, maxRetries: 3 });
  await made.drain();
  assert.equal(sent.length, 4);
  for (let drains = 0; drains < 5; drains++) {
    sent.length = 0;
    assert.equal((await made.drain()).requests, 1);
    assert.deepEqual(sent.map((batch) => batch.length), [10]);
  }
  sent.length = 0;
  answer = DELIVERED;
  assert.equal((await made.drain()).delivered, 1000);
  assert.deepEqual(sent.map((batch) => batch.length), [10, 500, 490]);
});

Deno.test("drain() keeps all when a server answers 400 to everything, and asks three times", async () => {
  using db = outboxOf(numbered(600));
  const { sink } = fakeSink(() => ({ ...rejected(), status: 400, perhapsAll: true }) as SendResult);
  const result = await deliverer({ db, sink }).drain();
  assert.deepEqual([result.requests, result.delivered, result.dead], [3, 0, 0]);
  assert.match(result.failure!.hint!, /CENTRAL_SERVER_ENDPOINT/);
  assert.equal(outboxDepth(db), 600);
});

Deno.test("drain() finds an event that is answered with 400, wherever it stands", async () => {
  for (const at of [0, 1, 250, 498, 499]) {
    using db = outboxOf(numbered(500));
    const bad = `{"n":${at}}`;
    const { sink, has } = fakeSink((batch) =>
      batch.includes(bad) ? { ...rejected(), status: 400, perhapsAll: true } as SendResult : DELIVERED
    );
    const result = await deliverer({ db, sink }).drain();
    assert.deepEqual([result.dead, has.length, outboxDepth(db)], [1, 499, 0], String(at));
    assert.ok(result.requests <= few(1, 500) + 3, `${result.requests} requests`);
    assert.deepEqual(deadBodies(db), [bad]);
  }
});

Deno.test("drain() gives up an event that a firewall refuses with 403, once others are taken", async () => {
  using db = outboxOf(numbered(300));
  const bad = '{"n":123}';
  const { sink, has } = fakeSink((batch) =>
    batch.includes(bad) ? { ...REFUSED, status: 403, perhapsContent: true } as SendResult : DELIVERED
  );
  const made = deliverer({ db, sink });
  const result = await made.drain();
  assert.deepEqual([result.dead, has.length], [1, 299]);
  assert.deepEqual(deadBodies(db), [bad]);
});

Deno.test("drain() buries nothing when the token is withdrawn in the middle of it", async () => {
  using db = outboxOf(numbered(2000));
  const { sink } = fakeSink((_, request) =>
    request > 2 ? { ...REFUSED, status: 403, perhapsContent: true } as SendResult : DELIVERED
  );
  const result = await deliverer({ db, sink }).drain();
  assert.deepEqual([result.delivered, result.dead, outboxDepth(db)], [1000, 0, 1000]);
  assert.ok(result.requests <= 5);
});

Deno.test("drain() is not held up for ever by an event at which the server fails with 500", async () => {
  using db = outboxOf(numbered(40));
  const bad = '{"n":7}';
  const { sink, has, sent } = fakeSink((batch) =>
    batch.includes(bad) ? { kind: "retry", reason: "it answered 500", status: 500 } : DELIVERED
  );
  const made = deliverer({ db, sink, maxRetries: 1 });
  for (let drains = 0; drains < 2; drains++) {
    await made.drain();
    assert.deepEqual(
      [has.length, deadLetterCount(db)],
      [0, 0],
      "a server that is down looks the same at first",
    );
  }
  sent.length = 0;
  assert.equal((await made.drain()).failure?.status, 500);
  assert.deepEqual([has.length, deadLetterCount(db)], [39, 0]);
  assert.ok(sent.length < 12, `${sent.length} requests`);
  await made.drain();
  add(db, numbered(5), 100);
  assert.equal((await made.drain()).failure?.status, 500);
  add(db, numbered(5), 200);
  assert.equal((await made.drain()).failure, undefined);
  assert.deepEqual(deadBodies(db), [bad]);
  assert.equal(has.length, 49);
});

Deno.test("drain() buries nothing of a server that answers 500 to everything, however long", async () => {
  using db = outboxOf(numbered(40));
  const { sink } = fakeSink(() => ({ kind: "retry", reason: "it answered 500", status: 500 }));
  const made = deliverer({ db, sink, maxRetries: 0 });
  for (let drains = 0; drains < 20; drains++) assert.ok((await made.drain()).requests <= 2);
  assert.equal(outboxDepth(db), 40);
});

Deno.test("drain() sends less at once to a server that takes too long, and more again when it does not", async () => {
  using db = outboxOf(numbered(2000));
  let slow = true;
  const { sink, sent } = fakeSink((batch) =>
    slow && batch.length > 100 ? { kind: "retry", reason: "no answer within 30 s", slow } : DELIVERED
  );
  const made = deliverer({ db, sink, maxBatchSize: 500 });
  let result = await made.drain();
  while (result.failure !== undefined) result = await made.drain();
  assert.equal(outboxDepth(db), 0);
  slow = false;
  add(db, numbered(2000), 5000);
  sent.length = 0;
  await made.drain();
  assert.ok(sent.length <= 7, sent.map((batch) => batch.length).join());
});

Deno.test("drain() gives a slow server as long a rest as it took, and a quick one none", async () => {
  using db = outboxOf(numbered(4));
  let nowMs = 0;
  const took = [100, 3000, 9000, 10];
  const { sink } = fakeSink((_, request) => {
    nowMs += took[request - 1]!;
    return DELIVERED;
  });
  const made = deliverer({ db, sink, maxBatchSize: 1, monotonicMs: () => nowMs });
  await made.drain();
  assert.deepEqual(made.waits, [3000, 9000]);
});

Deno.test("drain() does not ask again for what the server confirmed and the disk could not let go", async () => {
  using db = outboxOf(numbered(5));
  let full = true;
  const failing = Object.create(db, {
    transaction: {
      value: (work: () => void) => {
        if (full) throw new Error("disk is full");
        db.transaction(work);
      },
    },
    all: { value: db.all.bind(db) },
    get: { value: db.get.bind(db) },
    lists: { value: db.lists.bind(db) },
    outboxState: { value: db.outboxState.bind(db) },
    run: { value: db.run.bind(db) },
    tidy: { value: db.tidy.bind(db) },
    cipher: { value: db.cipher },
  });
  const { sink, sent } = fakeSink(() => DELIVERED);
  const made = deliverer({ db: failing, sink });
  for (let drains = 0; drains < 3; drains++) await assert.rejects(made.drain(), /full/);
  assert.equal(sent.length, 1);
  full = false;
  assert.equal((await made.drain()).requests, 0);
  assert.equal(outboxDepth(db), 0);
});

Deno.test("drain() does not send again what was taken back while it waited for a retry", async () => {
  using db = outboxOf(numbered(3));
  const { sink, has } = fakeSink((_, request) => {
    if (request > 1) return DELIVERED;
    assert.ok(withdraw(db, ensureBucket(db, BUCKET).id, version(1)));
    return BUSY;
  });
  await deliverer({ db, sink }).drain();
  assert.deepEqual(has, ['{"n":0}', '{"n":2}']);
});

/** A sink that answers the second request only after `meanwhile`, which runs when the third was read ahead. */
function slowSink(meanwhile: () => void) {
  return fakeSink(async (_, request) => {
    if (request === 2) {
      for (let turn = 0; turn < 20; turn++) await new Promise((resolve) => setTimeout(resolve));
      meanwhile();
    }
    return DELIVERED;
  });
}

Deno.test("drain() reads and takes off while the server works", async () => {
  using db = outboxOf(numbered(9));
  let reads = 0;
  const get = db.get.bind(db);
  db.get = <T>(sql: string, ...values: SqlValue[]) => {
    const row = get<T>(sql, ...values);
    if ((row as { bodies?: unknown } | undefined)?.bodies instanceof Uint8Array) reads++;
    return row;
  };
  const seen: [depth: number, reads: number][] = [];
  const { sink, has } = slowSink(() => seen.push([outboxDepth(db), reads]));
  await deliverer({ db, sink, maxBatchSize: 3 }).drain();
  // When the second is answered, the first is off the outbox and the third is read.
  assert.deepEqual(seen, [[6, 3]]);
  assert.deepEqual(has, numbered(9));
  assert.equal(outboxDepth(db), 0);
});

Deno.test("drain() does not send what was taken back after it was read ahead", async () => {
  using db = outboxOf(numbered(9));
  const { id } = ensureBucket(db, BUCKET);
  const { sink, has } = slowSink(() => assert.equal(withdraw(db, id, version(7)), "unsent"));
  await deliverer({ db, sink, maxBatchSize: 3 }).drain();
  assert.deepEqual(has, numbered(9).toSpliced(7, 1));
});

Deno.test("drain() sends the form that an entry was given after it was read ahead", async () => {
  using db = outboxOf(numbered(9));
  const { id } = ensureBucket(db, BUCKET);
  const { sink, has } = slowSink(() => {
    const [entry] = waitingBetween(db, id, 7, 8);
    db.transaction(() => rewriteEntry(db, entry!, digestOf(7), '{"n":"less"}', 0));
  });
  await deliverer({ db, sink, maxBatchSize: 3 }).drain();
  assert.deepEqual(has, numbered(9).with(7, '{"n":"less"}'));
});

Deno.test("drain() does not send what another program took out after it was read ahead", async () => {
  const folder = await Deno.makeTempDir();
  try {
    using db = openDatabase(`${folder}/cache.sqlite`);
    add(db, numbered(9));
    const { sink, has } = slowSink(() => {
      using other = openDatabase(db.path);
      other.run("DELETE FROM outbox WHERE start_us = 7");
    });
    await deliverer({ db, sink, maxBatchSize: 3 }).drain();
    assert.deepEqual(has, numbered(9).toSpliced(7, 1));
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});

Deno.test("drain() also sends what was added after the end of the queue was read ahead", async () => {
  using db = outboxOf(numbered(6));
  const { sink, has } = slowSink(() => add(db, ['{"late":1}'], 100));
  await deliverer({ db, sink, maxBatchSize: 3 }).drain();
  assert.deepEqual(has, [...numbered(6), '{"late":1}']);
});

Deno.test("drain() keeps in mind what the server took while the disk was full", async () => {
  using db = outboxOf(numbered(12));
  const transaction = db.transaction.bind(db);
  let writes = 0;
  let full = false;
  db.transaction = (work) => {
    writes++;
    if (full) throw new Error("disk is full");
    return transaction(work);
  };
  const { sink, sent } = fakeSink((_, request) => {
    full = request === 3;
    return DELIVERED;
  });
  const made = deliverer({ db, sink, maxBatchSize: 3 });
  await assert.rejects(made.drain(), /full/);
  assert.ok(writes > 2);
  full = false;
  assert.equal((await made.drain()).delivered, 3);
  assert.deepEqual(sent.flat(), numbered(12));
  assert.equal(outboxDepth(db), 0);
});

Deno.test("drain() notes a batch as sent before it leaves, and none that it only read ahead", async () => {
  using db = outboxOf(numbered(9));
  const seqs = db.all<{ seq: number }>("SELECT seq FROM outbox ORDER BY seq").map(({ seq }) => seq);
  const noted: boolean[][] = [];
  const { sink } = slowSink(() => noted.push(seqs.map((seq) => isAttempted(db, seq))));
  await deliverer({ db, sink, maxBatchSize: 3 }).drain();
  assert.deepEqual(noted, [[false, false, false, true, true, true, false, false, false]]);
  assert.deepEqual(db.all("SELECT * FROM attempt"), []);
});

Deno.test("a week's outage costs the server few small requests, and its backlog drains without a storm", async () => {
  using db = outboxOf([]);
  let nowMs = 0;
  let answer: SendResult = BUSY;
  let atOnce = 0;
  let most = 0;
  const { sink, sent } = fakeSink(async () => {
    most = Math.max(most, ++atOnce);
    await Promise.resolve();
    atOnce--;
    return answer;
  });
  let seed = 1;
  const random = () => (seed = (seed * 16807) % 2147483647) / 2147483647;
  const made = deliverer({ db, sink, monotonicMs: () => nowMs, random });
  const TURNS = 7 * 24 * 12;
  for (let turn = 0; turn < TURNS; turn++, nowMs += 300_000) {
    add(db, numbered(15), turn * 15);
    if (made.pauseMs() === 0) await made.drain();
  }
  const asked = sent.splice(0);
  assert.ok(asked.length < TURNS / 1.5, `${asked.length} requests in ${TURNS} turns`);
  assert.ok(asked.slice(4).every((batch) => batch.length <= 10), "all but the first drain's are small");
  assert.equal(outboxDepth(db), TURNS * 15);

  answer = DELIVERED;
  nowMs += 900_000;
  await made.drain();
  assert.equal(outboxDepth(db), 0);
  assert.ok(sent.length <= Math.ceil(TURNS * 15 / 500) + 1, `${sent.length} requests`);
  assert.equal(most, 1, "one request at a time");
});

Deno.test("devices that failed together do not come back together", async () => {
  const pauses: number[] = [];
  for (let device = 0; device < 200; device++) {
    using db = outboxOf(numbered(1));
    const { sink } = fakeSink(() => BUSY);
    const made = createDeliverer({ db, sink, maxRetries: 0, monotonicMs: () => 0 });
    for (let drains = 0; drains < 6; drains++) await made.drain();
    pauses.push(made.pauseMs());
  }
  // Full jitter: spread over the whole 15 minutes, so no tenth of them has more than its share by far.
  const tenths = Array.from(
    { length: 10 },
    (_, n) => pauses.filter((ms) => ms >= n * 90_000 && ms < (n + 1) * 90_000).length,
  );
  assert.ok(tenths.every((count) => count > 2 && count < 50), tenths.join());
});
