import assert from "node:assert/strict";
import { digestOf } from "../../lib/encode.ts";
import { StoreError } from "../../lib/errors.ts";
import { ensureBucket } from "../../lib/store/cursors.ts";
import { type Database, openDatabase } from "../../lib/store/database.ts";
import { addToOutbox, outboxDepth, peekOutbox, removeFromOutbox } from "../../lib/store/outbox.ts";
import { createRoom, droppedEvents, type RoomOptions } from "../../lib/store/room.ts";

const BUCKET = { id: "b", type: "afkstatus", hostname: "x", created: "" } as const;
const MB = 1024 * 1024;
const DAY_MS = 86_400_000;
let added = 0;

function add(db: Database, events: number, cachedAtMs = 0): void {
  const { id } = ensureBucket(db, BUCKET);
  db.transaction(() => {
    for (let n = 0; n < events; n++) {
      const version = { startUs: ++added, digest: digestOf(added), durationSeconds: 1 };
      addToOutbox(db, id, version, `${n} ${"x".repeat(1000)}`, cachedAtMs);
    }
  });
}

const room = (db: Database, options: Partial<RoomOptions> = {}) =>
  createRoom(db, { maxBytes: 2 * MB, maxAgeMs: Infinity, whenFull: "pause", now: () => 0, ...options });
const isPause = (error: unknown) => error instanceof StoreError && error.fault === "limit";

Deno.test("room lets a cache grow up to its limit, and pauses there without losing anything", () => {
  using db = openDatabase(":memory:");
  const ensure = room(db);
  add(db, 500);
  assert.doesNotThrow(ensure);
  add(db, 2000);
  assert.throws(ensure, (error) => isPause(error) && /CACHE_MAX_MB/.test((error as StoreError).hint!));
  assert.equal(outboxDepth(db), 2500);
});

Deno.test("room goes on once a part of what waited is delivered, not at the edge already", () => {
  using db = openDatabase(":memory:");
  const ensure = room(db);
  while (db.usedBytes() <= 2 * MB) add(db, 10);
  assert.throws(ensure, isPause);
  removeFromOutbox(db, peekOutbox(db, -1, 20, 1e9));
  assert.ok(db.usedBytes() < 2 * MB);
  assert.throws(ensure, isPause);
  removeFromOutbox(db, peekOutbox(db, -1, 300, 1e9));
  assert.doesNotThrow(ensure);
});

Deno.test("room drops the oldest where that was chosen, says how many, and keeps the newest", () => {
  using db = openDatabase(":memory:");
  const told: [number, number][] = [];
  const ensure = room(db, {
    whenFull: "drop-oldest",
    onDropped: (events, inAll) => told.push([events, inAll]),
  });
  add(db, 4000);
  const newest = peekOutbox(db, 3999, 1, 1e9);
  ensure();
  assert.ok(db.usedBytes() <= 2 * MB);
  const left = outboxDepth(db);
  assert.ok(left > 1000 && left < 2000, String(left));
  assert.deepEqual(told, [[4000 - left, 4000 - left]]);
  assert.equal(droppedEvents(db), 4000 - left);
  assert.deepEqual(peekOutbox(db, 3999, 1, 1e9), newest);
  ensure();
  assert.equal(told.length, 1);
});

Deno.test("room holds the limit of age, by pausing or by dropping", () => {
  using db = openDatabase(":memory:");
  add(db, 600, 0);
  add(db, 5, 9 * DAY_MS);
  const now = () => 10 * DAY_MS;
  assert.doesNotThrow(room(db, { maxAgeMs: 11 * DAY_MS, now }));
  assert.throws(
    room(db, { maxAgeMs: 5 * DAY_MS, now }),
    (error) => isPause(error) && /5 days/.test(String(error)),
  );
  room(db, { maxAgeMs: 5 * DAY_MS, now, whenFull: "drop-oldest" })();
  assert.equal(outboxDepth(db), 5);
});

Deno.test("room never pauses for what does not wait", () => {
  using db = openDatabase(":memory:");
  assert.doesNotThrow(room(db, { maxBytes: 1 }));
});
