import assert from "node:assert/strict";
import { join } from "node:path";
import fc from "fast-check";
import { createDeliverer } from "../../lib/deliverer.ts";
import { digestOf } from "../../lib/encode.ts";
import { ensureBucket } from "../../lib/store/cursors.ts";
import { type Database, openDatabase } from "../../lib/store/database.ts";
import { retryDeadLetters } from "../../lib/store/dead_letters.ts";
import {
  addToOutbox,
  moveToDeadLetters,
  oldestWaiting,
  outboxDepth,
  peekNewest,
  peekOutbox,
  removeFromOutbox,
  withdraw,
} from "../../lib/store/outbox.ts";
import { recordsBetween } from "../../lib/store/records.ts";
import { deliveredTo, sweepDelivered } from "../../lib/store/removal.ts";
import { createRoom } from "../../lib/store/room.ts";
import { isHeldByRules, rewriteEntry, staleEntries, waitingBetween } from "../../lib/store/rules.ts";
import { textsOf } from "../fakes/entries.ts";

const BUCKETS = ["a", "b"].map((id) => ({ id, type: "currentwindow", hostname: "x", created: "" }) as const);
const version = (n: number) => ({ startUs: n, digest: digestOf(n), durationSeconds: 1 });

/** Adds the events of these numbers; every third is of another bucket. */
function add(db: Database, from: number, to: number): void {
  const ids = BUCKETS.map((bucket) => ensureBucket(db, bucket).id);
  db.transaction(() => {
    for (let n = from; n <= to; n++) {
      addToOutbox(db, ids[n % 3 === 0 ? 1 : 0]!, version(n), `text ${n}`, n);
    }
  });
}

function outboxOf(count: number, path = ":memory:"): Database {
  const db = openDatabase(path);
  add(db, 1, count);
  return db;
}

/** Takes the first so many after a place off as the deliverer does. */
function deliver(db: Database, count: number, meanwhile: () => void = () => {}, afterSeq = -1): void {
  const state = db.outboxState();
  const batch = peekOutbox(db, afterSeq, count, 1e9);
  meanwhile();
  removeFromOutbox(db, batch, state);
}

const rowsOf = (db: Database) => db.get<{ n: number }>("SELECT count(*) AS n FROM outbox")!.n;
const waitingOf = (db: Database) => textsOf(peekOutbox(db, -1, 1_000_000, 1e9));
const numbers = (from: number, to: number) =>
  Array.from({ length: to - from + 1 }, (_, n) => `text ${from + n}`);

async function inFolder(work: (path: string) => void | Promise<void>): Promise<void> {
  const folder = await Deno.makeTempDir({ prefix: "lifelog-removal-" });
  try {
    await work(join(folder, "cache.sqlite"));
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

Deno.test("what is delivered is off the queue for everybody though its rows are still there", () => {
  using db = outboxOf(9);
  deliver(db, 4);
  assert.equal(rowsOf(db), 9);
  assert.deepEqual(waitingOf(db), numbers(5, 9));
  assert.equal(outboxDepth(db), 5);
  assert.equal(oldestWaiting(db)?.startUs, 5);
  assert.deepEqual(staleEntries(db, 7, 0, 100).map(({ startUs }) => startUs), [5, 6, 7, 8, 9]);
  assert.deepEqual(waitingBetween(db, 1, 0, 100).map(({ startUs }) => startUs), [5, 7, 8]);
  assert.equal(isHeldByRules(db), false);
  assert.equal(withdraw(db, 1, version(2)), undefined);
  assert.equal(withdraw(db, 1, version(7)), "unsent");
  assert.deepEqual(
    recordsBetween(db, 1, 0, 100, 100).map(({ startUs, fate }) => [startUs, fate]),
    [[1, "delivered"], [2, "delivered"], [4, "delivered"], [5, "waiting"], [7, "delivered"], [8, "waiting"]],
  );
  assert.deepEqual(waitingOf(db), ["text 5", "text 6", "text 8", "text 9"]);
  deliver(db, 4);
  assert.equal(peekNewest(db), undefined);
});

Deno.test("once nothing waits all rows go at once, and the sums are those of an empty queue", () => {
  using db = outboxOf(9);
  deliver(db, 4);
  deliver(db, 2);
  assert.equal(rowsOf(db), 9);
  deliver(db, 3);
  assert.equal(rowsOf(db), 0);
  assert.equal(deliveredTo(db), 0);
  assert.deepEqual(db.all("SELECT 1 FROM bucket WHERE waiting <> 0 OR waiting_bytes <> 0"), []);
  add(db, 10, 11);
  assert.deepEqual(peekOutbox(db, -1, 9, 1e9).map(({ seq }) => seq), [10, 11]);
});

Deno.test("only what was sent leaves the queue, whatever came between the reading and the confirmation", () =>
  inFolder((path) => {
    const put = (db: Database, n: number) => {
      const seqs = db.all<{ seq: number }>("SELECT seq FROM dead_letter WHERE start_us = ?", n);
      assert.equal(retryDeadLetters(db, seqs.map(({ seq }) => seq)), 1);
    };
    const cases: Record<string, [meanwhile: (db: Database) => void, left: string[]]> = {
      "put back at its place": [(db) => put(db, 3), ["text 3", ...numbers(7, 9)]],
      "put back by another program": [(db) => {
        using other = openDatabase(db.path);
        put(other, 3);
      }, ["text 3", ...numbers(7, 9)]],
      "taken back": [(db) => withdraw(db, 1, version(4)), numbers(7, 9)],
      "taken back, and another put back": [(db) => {
        withdraw(db, 1, version(4));
        put(db, 3);
      }, ["text 3", ...numbers(7, 9)]],
      "more added": [(db) => add(db, 10, 11), numbers(7, 11)],
    };
    for (const [name, [meanwhile, left]] of Object.entries(cases)) {
      {
        using db = outboxOf(9, path);
        const seq = db.get<{ seq: number }>("SELECT seq FROM outbox WHERE start_us = 3")!.seq;
        moveToDeadLetters(db, [{ seq, status: 422, reason: "bad" }], 0);
        deliver(db, 1);
        deliver(db, 4, () => meanwhile(db));
        assert.deepEqual(waitingOf(db), left, name);
        assert.equal(outboxDepth(db), left.length, name);
        while (sweepDelivered(db));
        assert.deepEqual(waitingOf(db), left, name);
        assert.equal(rowsOf(db), left.length, name);
      }
      Deno.removeSync(path);
    }
  }));

Deno.test("what was left aside, and what is put back far behind, is sent", () => {
  using db = outboxOf(9);
  const state = db.outboxState();
  const [first] = peekOutbox(db, -1, 1, 1e9);
  removeFromOutbox(db, peekOutbox(db, first!.seq, 3, 1e9), state);
  assert.deepEqual(waitingOf(db), ["text 1", ...numbers(5, 9)]);
  moveToDeadLetters(db, [{ seq: first!.seq, status: 500, reason: "bad" }], 0);
  deliver(db, 3);
  assert.ok(deliveredTo(db) > first!.seq);
  assert.equal(retryDeadLetters(db, [first!.seq]), 1);
  assert.deepEqual(waitingOf(db), ["text 1", "text 8", "text 9"]);
});

Deno.test("a note that the disk changed hides nothing: what it was of is sent again", () => {
  for (const change of ["to_seq = to_seq + 1", "to_seq = to_seq | 1024", "residue = residue + 1"]) {
    using db = outboxOf(9);
    deliver(db, 4);
    db.run("PRAGMA ignore_check_constraints = ON");
    db.run(`UPDATE delivered SET ${change}`);
    assert.deepEqual(waitingOf(db), numbers(1, 9), change);
    deliver(db, 9);
    assert.equal(rowsOf(db), 0);
    assert.equal(outboxDepth(db), 0);
  }
});

Deno.test("after a crash the queue goes on where it was, and the next drain leaves no row", () =>
  inFolder(async (path) => {
    {
      using db = outboxOf(30, path);
      deliver(db, 12);
    }
    using db = openDatabase(path);
    assert.deepEqual(waitingOf(db), numbers(13, 30));
    const sent: string[] = [];
    let answers = 2;
    const sink = {
      send: (batch: Parameters<typeof textsOf>[0]) => {
        if (answers-- === 0) return Promise.resolve({ kind: "retry", reason: "busy" } as const);
        sent.push(...textsOf(batch));
        return Promise.resolve({ kind: "delivered" } as const);
      },
    };
    const deliverer = createDeliverer({ db, sink, maxBatchSize: 5, maxRetries: 0 });
    assert.match((await deliverer.drain()).failure?.reason ?? "", /busy/);
    // Also a drain that fails leaves none that is delivered.
    assert.equal(rowsOf(db), 8);
    answers = Infinity;
    await deliverer.drain();
    assert.deepEqual(sent, numbers(13, 30));
    assert.equal(rowsOf(db), 0);
  }));

Deno.test("a long drain leaves no more than 200,000 delivered rows in the file, and few free pages", () => {
  using db = outboxOf(1);
  db.run(
    `WITH RECURSIVE n (n) AS (SELECT 2 UNION ALL SELECT n + 1 FROM n WHERE n < 350000)
    INSERT INTO outbox SELECT n, 1, n, x'00', 1, 0, printf('%.300c', 'x'), NULL, 0 FROM n`,
  );
  db.run("UPDATE bucket SET waiting = 350000 WHERE id = 1");
  let most = 0;
  let mostFree = 0;
  for (let left = 350_000; left > 0; left -= 500) {
    const state = db.outboxState();
    const from = deliveredTo(db);
    const batch = Array.from({ length: 500 }, (_, n) => ({ seq: from + n + 1, body: new Uint8Array() }));
    removeFromOutbox(db, batch, state);
    assert.equal(outboxDepth(db), left - 500);
    if (left === 500) break;
    mostFree = Math.max(mostFree, db.freePages());
    if (left % 10_000 === 0) most = Math.max(most, deliveredTo(db) - firstRow(db));
  }
  assert.ok(most > 190_000 && most <= 200_000, `${most} rows`);
  assert.ok(mostFree > 8000 && mostFree <= 8192, `${mostFree} free pages`);
  assert.equal(rowsOf(db), 0);
});

const firstRow = (db: Database) => db.get<{ seq: number }>("SELECT min(seq) AS seq FROM outbox")!.seq;

Deno.test("what is delivered makes room before anything that waits is dropped for it", () => {
  using db = openDatabase(":memory:");
  const { id } = ensureBucket(db, BUCKETS[0]!);
  db.transaction(() => {
    for (let n = 0; n < 3000; n++) addToOutbox(db, id, version(n), "x".repeat(1000), 0);
  });
  deliver(db, 2000);
  const dropped: number[] = [];
  createRoom(db, {
    maxBytes: 2 * 1024 * 1024,
    maxAgeMs: Infinity,
    whenFull: "drop-oldest",
    onDropped: (events) => dropped.push(events),
  })();
  assert.deepEqual(dropped, []);
  assert.equal(outboxDepth(db), 1000);
  assert.equal(rowsOf(db), 1000);
});

/** One thing that happens to the outbox; numbers choose among what is there. */
const step = fc.oneof(
  fc.record({ kind: fc.constant("add" as const), count: fc.nat(20) }),
  fc.record({
    kind: fc.constant("deliver" as const),
    aside: fc.constantFrom(0, 0, 0, 1),
    count: fc.integer({ min: 1, max: 8 }),
    meanwhile: fc.array(
      fc.record({ kind: fc.constantFrom("withdraw", "bury", "retry", "rewrite", "add"), at: fc.nat(30) }),
      { maxLength: 2 },
    ),
  }),
  fc.record({
    kind: fc.constantFrom("withdraw" as const, "bury" as const, "retry" as const, "rewrite" as const),
    at: fc.nat(30),
  }),
  fc.record({ kind: fc.constantFrom("restart" as const, "sweep" as const, "stray" as const) }),
);

Deno.test("whatever happens to the outbox in whatever order, it holds what a plain list would", () =>
  inFolder((path) =>
    fc.assert(
      fc.property(fc.array(step, { maxLength: 30 }), (steps) => {
        for (const suffix of ["", "-wal", "-shm"]) {
          try {
            Deno.removeSync(path + suffix);
          } catch { /* it was not there */ }
        }
        let db = openDatabase(path);
        let added = 0;
        let waiting: { seq: number; n: number; text: string }[] = [];
        let dead: typeof waiting = [];
        const bucketOf = (n: number) => n % 3 === 0 ? 2 : 1;
        const addSome = (count: number) => {
          const first = added + 1;
          add(db, first, first + count - 1);
          for (; added < first + count - 1; added++) {
            waiting.push({ seq: added + 1, n: added + 1, text: `text ${added + 1}` });
          }
        };
        const edit = ({ kind, at }: { kind: string; at: number }) => {
          const entry = waiting[at % Math.max(1, waiting.length)];
          if (kind === "add") addSome(at % 4);
          else if (kind === "retry") {
            const back = dead[at % Math.max(1, dead.length)];
            if (back === undefined) return;
            assert.equal(retryDeadLetters(db, [back.seq]), 1);
            dead = dead.filter(({ seq }) => seq !== back.seq);
            waiting = [...waiting, back].sort((a, b) => a.seq - b.seq);
          } else if (entry === undefined) return;
          else if (kind === "rewrite") {
            const [row] = waitingBetween(db, bucketOf(entry.n), entry.n, entry.n + 1);
            entry.text = `less ${entry.n}`;
            db.transaction(() => rewriteEntry(db, row!, digestOf(entry.n), entry.text, 0));
          } else {
            waiting = waiting.filter(({ seq }) => seq !== entry.seq);
            if (kind === "withdraw") {
              assert.ok(db.transaction(() => withdraw(db, bucketOf(entry.n), version(entry.n))));
            } else {
              dead.push(entry);
              moveToDeadLetters(db, [{ seq: entry.seq, status: 422, reason: "bad" }], 0);
            }
          }
        };
        try {
          addSome(0);
          for (const step of steps) {
            switch (step.kind) {
              case "add":
                addSome(step.count);
                break;
              case "deliver": {
                const aside = waiting[step.aside - 1]?.seq ?? -1;
                const batch = new Set(
                  waiting.filter(({ seq }) => seq > aside).slice(0, step.count).map(({ seq }) => seq),
                );
                deliver(db, step.count, () => step.meanwhile.forEach(edit), aside);
                // What was put back meanwhile at a place of the batch's own cannot be in it: it waited already.
                waiting = waiting.filter(({ seq }) => !batch.has(seq));
                break;
              }
              case "stray": {
                // A single one from the end, as is sent to find out whether the server takes any.
                const newest = peekNewest(db);
                if (newest !== undefined) removeFromOutbox(db, [newest]);
                waiting.pop();
                break;
              }
              case "restart":
                db[Symbol.dispose]();
                db = openDatabase(path);
                break;
              case "sweep":
                while (sweepDelivered(db));
                assert.equal(rowsOf(db), waiting.length);
                break;
              default:
                edit(step);
            }
            const there = peekOutbox(db, -1, 1000, 1e9);
            assert.deepEqual(there.map(({ seq }) => seq), waiting.map(({ seq }) => seq));
            assert.deepEqual(textsOf(there), waiting.map(({ text }) => text));
            assert.equal(outboxDepth(db), waiting.length);
            const bytes = db.get<{ bytes: number }>("SELECT sum(waiting_bytes) AS bytes FROM bucket")!.bytes;
            assert.equal(bytes, waiting.reduce((sum, { text }) => sum + text.length, 0));
          }
        } finally {
          db[Symbol.dispose]();
        }
      }),
      { numRuns: 150 },
    )
  ));
