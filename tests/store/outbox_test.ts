import assert from "node:assert/strict";
import { retryableSeqs, retryDeadLetters } from "../../lib/store/dead_letters.ts";
import { digestOf } from "../../lib/encode.ts";
import { StoreError } from "../../lib/errors.ts";
import { ensureBucket } from "../../lib/store/cursors.ts";
import { noteAttempt } from "../../lib/store/rules.ts";
import { type Database, openDatabase } from "../../lib/store/database.ts";
import { tagged } from "../../lib/store/ledger.ts";
import {
  addAllToOutbox,
  addToOutbox,
  buryVersion,
  deadLetterCount,
  moveToDeadLetters,
  outboxDepth,
  peekOutbox,
  removeFromOutbox,
  withdraw,
} from "../../lib/store/outbox.ts";
import { textsOf } from "../fakes/entries.ts";

const BUCKET = { id: "aw-watcher-window_x", type: "currentwindow", hostname: "x", created: "" } as const;
const version = (n: number) => ({ startUs: n, digest: digestOf(n), durationSeconds: n / 10 });

/** An outbox with these texts in it. */
function outbox(path: string, bodies: readonly string[]): Database {
  const db = openDatabase(path);
  const { id } = ensureBucket(db, BUCKET);
  db.transaction(() => bodies.forEach((body, n) => addToOutbox(db, id, version(n), body, 7)));
  return db;
}

const bodiesOf = (db: Database, afterSeq = -1, limit = 100, maxBytes = 1e6) =>
  textsOf(peekOutbox(db, afterSeq, limit, maxBytes));

Deno.test("peekOutbox() gives the oldest entries first and no more than the limit", () => {
  using db = outbox(":memory:", ["a", "b", "c", "d"]);
  assert.deepEqual(bodiesOf(db, -1, 3), ["a", "b", "c"]);
  const [first] = peekOutbox(db, -1, 1, 100);
  assert.deepEqual(bodiesOf(db, first!.seq, 2), ["b", "c"]);
});

Deno.test("addAllToOutbox() keeps the order and each event's own version, however many there are", () => {
  for (const count of [0, 1, 19, 20, 21, 40, 47]) {
    const bodies = Array.from({ length: count }, (_, n) => `event ${n}`);
    using db = outbox(":memory:", []);
    const { id } = ensureBucket(db, BUCKET);
    addAllToOutbox(db, id, bodies.map((body, n) => ({ version: tagged(db, id, version(n)), body })), 7);
    assert.deepEqual(bodiesOf(db), bodies);
    for (let n = 0; n < count; n++) {
      assert.ok(withdraw(db, id, version(n)));
      assert.deepEqual(bodiesOf(db), bodies.slice(n + 1));
    }
  }
});

Deno.test("peekOutbox() counts bytes of UTF-8, not characters", () => {
  using db = outbox(":memory:", ["ééééé", "ééééé", "€€€", "😀😀"]);
  // 10, 10, 9 and 8 bytes, and a comma after each.
  assert.deepEqual(bodiesOf(db, -1, 100, 21), ["ééééé"]);
  assert.deepEqual(bodiesOf(db, -1, 100, 22), ["ééééé", "ééééé"]);
  assert.deepEqual(bodiesOf(db, -1, 100, 40).length, 3);
  assert.deepEqual(bodiesOf(db, -1, 100, 41).length, 4);
});

Deno.test("peekOutbox() gives an entry that is larger than the bytes allowed, alone", () => {
  using db = outbox(":memory:", ["x".repeat(1000), "b"]);
  assert.deepEqual(bodiesOf(db, -1, 100, 10), ["x".repeat(1000)]);
});

Deno.test("peekOutbox() gives every text as it was put in, read at once or one by one", () => {
  const texts = ["", ",", "a,b", "é", "日本", '{"a":"\\u0000"}', "😀", " ", "x".repeat(5000)];
  using db = outbox(":memory:", texts);
  assert.deepEqual(bodiesOf(db), texts);
  // An entry of a cache from before there were checksums.
  db.run("UPDATE outbox SET crc = NULL WHERE seq = 4");
  assert.deepEqual(bodiesOf(db), texts);
  db.run("UPDATE outbox SET rules = 1 WHERE seq = 8");
  assert.deepEqual(bodiesOf(db), texts.slice(0, 7));
  db.run("UPDATE outbox SET body = 'E' WHERE seq = 3");
  assert.throws(() => bodiesOf(db), { fault: "corrupt" });
});

Deno.test("removeFromOutbox() removes what was delivered and nothing else", () => {
  using db = outbox(":memory:", ["a", "b", "c"]);
  removeFromOutbox(db, peekOutbox(db, -1, 2, 100));
  assert.deepEqual(bodiesOf(db), ["c"]);
  assert.equal(outboxDepth(db), 1);
});

Deno.test("a place in the queue is never used again, also after a restart", async () => {
  const folder = await Deno.makeTempDir();
  try {
    let last: number;
    {
      using db = outbox(`${folder}/cache.sqlite`, ["a", "b"]);
      const entries = peekOutbox(db, -1, 2, 100);
      last = entries.at(-1)!.seq;
      removeFromOutbox(db, entries);
    }
    using db = openDatabase(`${folder}/cache.sqlite`);
    addToOutbox(db, ensureBucket(db, BUCKET).id, version(2), "c", 7);
    assert.ok(peekOutbox(db, -1, 1, 100)[0]!.seq > last);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});

Deno.test("withdraw() takes the one version back and says whether it was there", () => {
  using db = outbox(":memory:", ["a", "b"]);
  const { id } = ensureBucket(db, BUCKET);
  assert.equal(withdraw(db, id, { ...version(1), durationSeconds: 99 }), undefined);
  assert.equal(withdraw(db, id, version(1)), "unsent");
  assert.equal(withdraw(db, id, version(1)), undefined);
  assert.deepEqual(bodiesOf(db), ["a"]);
});

Deno.test("withdraw() takes back what was given up as well, for the server does not have it", () => {
  using db = outbox(":memory:", ["a"]);
  const { id } = ensureBucket(db, BUCKET);
  const [entry] = peekOutbox(db, -1, 1, 100);
  moveToDeadLetters(db, [{ seq: entry!.seq, status: 422, reason: "bad" }], 0);
  assert.equal(withdraw(db, id, version(0)), "unsent");
  assert.equal(deadLetterCount(db), 0);
  assert.equal(withdraw(db, id, version(0)), undefined);
});

Deno.test("withdraw() tells what may be at the server already, also after a restart", async () => {
  const folder = await Deno.makeTempDir();
  try {
    {
      using db = outbox(`${folder}/cache.sqlite`, ["a", "b", "c"]);
      noteAttempt(db, peekOutbox(db, -1, 2, 100));
    }
    using db = openDatabase(`${folder}/cache.sqlite`);
    const { id } = ensureBucket(db, BUCKET);
    assert.deepEqual([1, 2].map((n) => withdraw(db, id, version(n))), ["sent", "unsent"]);
    assert.deepEqual(bodiesOf(db), ["a"]);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});

Deno.test("withdraw() takes no other version's entry, also where the disk changed the place that the ledger names", () => {
  using db = outbox(":memory:", ["a", "b"]);
  const { id } = ensureBucket(db, BUCKET);
  const [, second] = peekOutbox(db, -1, 2, 100);
  db.run("UPDATE ledger SET seq = ? WHERE start_us = 0", second!.seq);
  assert.equal(withdraw(db, id, version(0)), undefined);
  assert.deepEqual(bodiesOf(db), ["a", "b"]);
});

Deno.test("addToOutbox() takes nothing twice", () => {
  using db = outbox(":memory:", ["a"]);
  const { id } = ensureBucket(db, BUCKET);
  assert.throws(() => db.transaction(() => addToOutbox(db, id, version(0), "a", 7)), StoreError);
  assert.deepEqual(bodiesOf(db), ["a"]);
  assert.equal(outboxDepth(db), 1);
});

Deno.test("moveToDeadLetters() keeps the text, the status and the reason, and frees the queue", () => {
  using db = outbox(":memory:", ["a", "b", "c"]);
  const [, second] = peekOutbox(db, -1, 2, 100);
  moveToDeadLetters(db, [{ seq: second!.seq, status: 422, reason: "bad" }], 1234);
  assert.deepEqual(bodiesOf(db), ["a", "c"]);
  assert.equal(deadLetterCount(db), 1);
  assert.deepEqual(
    { ...db.get<object>("SELECT seq, body, status, reason, cached_at_ms, dead_at_ms FROM dead_letter") },
    { seq: second!.seq, body: "b", status: 422, reason: "bad", cached_at_ms: 7, dead_at_ms: 1234 },
  );
});

Deno.test("moveToDeadLetters() passes over an entry that was taken back meanwhile", () => {
  using db = outbox(":memory:", ["a"]);
  const [entry] = peekOutbox(db, -1, 1, 100);
  withdraw(db, ensureBucket(db, BUCKET).id, version(0));
  moveToDeadLetters(db, [{ seq: entry!.seq, status: 422, reason: "bad" }], 0);
  assert.equal(deadLetterCount(db), 0);
});

Deno.test("buryVersion() moves a version that has no form at the server out of the queue", () => {
  using db = outbox(":memory:", ["a", "b"]);
  buryVersion(db, ensureBucket(db, BUCKET).id, version(0), "no object", 5);
  assert.deepEqual(bodiesOf(db), ["b"]);
  assert.deepEqual({ ...db.get<object>("SELECT body, status, reason FROM dead_letter") }, {
    body: "a",
    status: null,
    reason: "no object",
  });
});

Deno.test("outboxDepth() tells what a count of the rows does, after every kind of change", () => {
  using db = outbox(":memory:", ["a", "b", "c", "d", "e"]);
  const { id } = ensureBucket(db, BUCKET);
  const check = (expected: number) => {
    assert.equal(outboxDepth(db), expected);
    assert.equal(db.get<{ n: number }>("SELECT count(*) AS n FROM outbox")!.n, expected);
  };
  check(5);
  removeFromOutbox(db, peekOutbox(db, -1, 1, 100));
  check(4);
  withdraw(db, id, version(1));
  check(3);
  buryVersion(db, id, version(2), "no object", 0);
  check(2);
  moveToDeadLetters(db, [{ seq: peekOutbox(db, -1, 1, 100)[0]!.seq, status: 422, reason: "bad" }], 0);
  check(1);
  assert.throws(() =>
    db.transaction(() => {
      addToOutbox(db, id, version(9), "z", 0);
      throw new Error("no space left");
    })
  );
  check(1);
  assert.equal(retryDeadLetters(db, retryableSeqs(db, 10)), 1);
  check(2);
  removeFromOutbox(db, peekOutbox(db, -1, 9, 100), db.outboxState());
  check(0);
});

Deno.test("removeFromOutbox() leaves an entry alone that stands between those that were delivered", () => {
  using db = outbox(":memory:", ["a", "b", "c", "d"]);
  const [first, , third] = peekOutbox(db, -1, 3, 100);
  removeFromOutbox(db, [first!, third!]);
  assert.deepEqual(bodiesOf(db), ["b", "d"]);
});
