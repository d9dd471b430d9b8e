import assert from "node:assert/strict";
import { ensureBucket } from "../../lib/store/cursors.ts";
import { StoreError } from "../../lib/errors.ts";
import { type Database, openDatabase } from "../../lib/store/database.ts";
import {
  bucketStates,
  noteDelivered,
  noteFailure,
  noteOk,
  notePass,
  noteRead,
  readHealth,
  type Side,
  writeNotes,
} from "../../lib/store/health.ts";
import { getMeta } from "../../lib/store/meta.ts";

Deno.test("readHealth() knows nothing of a side that was never at work", () => {
  using db = openDatabase(":memory:");
  assert.deepEqual(readHealth(db, "delivery"), {});
});

Deno.test("noteFailure() keeps when the fault began, counts it, and forgets an earlier wait", () => {
  using db = openDatabase(":memory:");
  noteDelivered(db, 5);
  noteFailure(db, "delivery", { reason: "it answered 503", status: 503 }, 10, 99.4);
  noteFailure(db, "delivery", { reason: "it answered 401", status: 401, hint: "Check it" }, 20);
  assert.deepEqual(readHealth(db, "delivery"), {
    deliveredAtMs: 5,
    failure: { reason: "it answered 401", status: 401, hint: "Check it", sinceMs: 10, atMs: 20, times: 2 },
  });
  assert.deepEqual(readHealth(db, "collection"), {});
});

Deno.test("noteOk() ends a failure and keeps when the server last took an event", () => {
  using db = openDatabase(":memory:");
  noteDelivered(db, 5);
  noteFailure(db, "delivery", { reason: "down" }, 10, 99);
  noteOk(db, "delivery", 30);
  assert.deepEqual(readHealth(db, "delivery"), { okAtMs: 30, deliveredAtMs: 5 });
});

/** What another process reads in the cache. */
function written(db: Database) {
  const health = (side: Side) => JSON.parse(getMeta(db, `${side}_health`) ?? "null");
  const [bucket] = db.all<{ at: number; filled: number | null; end: number | null }>(
    "SELECT read_at_ms AS at, filled_from_us AS filled, newest_end_us AS end FROM bucket",
  );
  return { collection: health("collection"), delivery: health("delivery"), bucket: { ...bucket } };
}

const NOW_MS = 1_800_000_000_000;
const MINUTE_MS = 60_000;

Deno.test("writeNotes() writes what says no more than a later time once in a while, and this process knows it at once", () => {
  using db = openDatabase(":memory:");
  ensureBucket(db, { id: "a", type: "afkstatus", hostname: "x", created: "" });
  const minutes: number[] = [];
  for (let minute = 0; minute <= 31; minute++) {
    const nowMs = NOW_MS + minute * MINUTE_MS;
    const newest = { startUs: 1, endUs: nowMs * 1000 };
    notePass(db, "a", { filledFromUs: 5, newest });
    noteRead(db, "a", nowMs);
    noteOk(db, "collection", nowMs);
    if (minute % 5 === 0) noteOk(db, "delivery", nowMs);
    writeNotes(db, nowMs);
    assert.equal(readHealth(db, "collection").okAtMs, nowMs);
    const [state] = bucketStates(db);
    assert.deepEqual([state?.readAtMs, state?.newestEndUs], [nowMs, newest.endUs]);
    const { bucket, collection } = written(db);
    if (bucket.at === nowMs) minutes.push(minute);
    // What is written is of one moment.
    assert.equal(bucket.end, bucket.at! * 1000);
    assert.equal(collection.okAtMs, bucket.at);
  }
  assert.deepEqual(minutes, [0, 15, 30]);
  writeNotes(db, NOW_MS + 31 * MINUTE_MS, 0);
  assert.equal(written(db).bucket.at, NOW_MS + 31 * MINUTE_MS);
});

Deno.test("writeNotes() writes at once that a fault began, became another or ended, and that a bucket is filled", () => {
  using db = openDatabase(":memory:");
  ensureBucket(db, { id: "a", type: "afkstatus", hostname: "x", created: "" });
  let nowMs = NOW_MS;
  const after = (note: (nowMs: number) => void) => {
    nowMs += 1000;
    note(nowMs);
    writeNotes(db, nowMs);
    return written(db);
  };
  const fail = (reason: string) => (at: number) => noteFailure(db, "collection", { reason }, at);
  after((at) => noteOk(db, "collection", at));
  assert.equal(after((at) => noteOk(db, "collection", at)).collection.okAtMs, NOW_MS + 1000);
  assert.equal(after(fail("it is down")).collection.failure.times, 1);
  assert.equal(after(fail("it is down")).collection.failure.times, 1);
  assert.equal(after(fail("it is slow")).collection.failure.times, 3);
  const { okAtMs, failure } = after((at) => noteOk(db, "collection", at)).collection;
  assert.deepEqual([okAtMs, failure], [nowMs, undefined]);
  assert.equal(after((at) => noteRead(db, "a", at)).bucket.at, nowMs);
  assert.equal(after((at) => noteRead(db, "a", at)).bucket.at, nowMs - 1000);
  assert.equal(after(() => notePass(db, "a", { filledFromUs: 7 })).bucket.filled, 7);
  // The next try is what somebody waits for.
  const wait = (nextTryMs: number) => (at: number) =>
    noteFailure(db, "delivery", { reason: "503" }, at, nextTryMs);
  after(wait(5));
  assert.equal(after(wait(6)).delivery.nextTryAtMs, 6);
});

Deno.test("writeNotes() does not leave out what a full disk did not take, and is not fooled by a clock that is put back", () => {
  using db = openDatabase(":memory:");
  const { transaction } = db;
  noteOk(db, "collection", NOW_MS);
  db.transaction = () => {
    throw new StoreError("full");
  };
  assert.throws(() => writeNotes(db, NOW_MS), StoreError);
  db.transaction = transaction;
  writeNotes(db, NOW_MS);
  assert.equal(written(db).collection.okAtMs, NOW_MS);
  noteOk(db, "collection", NOW_MS - 3_600_000);
  writeNotes(db, NOW_MS - 3_600_000);
  assert.equal(written(db).collection.okAtMs, NOW_MS - 3_600_000);
});
