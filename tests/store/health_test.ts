import assert from "node:assert/strict";
import { ensureBucket } from "../../lib/store/cursors.ts";
import { openDatabase } from "../../lib/store/database.ts";
import { noteDelivered, noteFailure, noteOk, noteRead, readHealth } from "../../lib/store/health.ts";

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

Deno.test("noteRead() notes when each bucket was read", () => {
  using db = openDatabase(":memory:");
  for (const id of ["a", "b"]) {
    ensureBucket(db, { id, type: "afkstatus", hostname: "x", created: "" });
  }
  noteRead(db, ["b"], 77);
  assert.deepEqual(
    db.all<{ name: string; at: number }>("SELECT name, read_at_ms AS at FROM bucket ORDER BY name")
      .map(({ at }) => at),
    [0, 77],
  );
});
