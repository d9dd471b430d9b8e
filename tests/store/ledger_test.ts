import assert from "node:assert/strict";
import { digestOf } from "../../lib/encode.ts";
import { ensureBucket } from "../../lib/store/cursors.ts";
import { type Database, openDatabase } from "../../lib/store/database.ts";
import { addVersions, pruneLedger, tagged } from "../../lib/store/ledger.ts";

const BUCKET = { id: "aw-watcher-window_x", type: "currentwindow", hostname: "x", created: "" } as const;

function ledger(starts: readonly number[]): { db: Database; id: number } {
  const db = openDatabase(":memory:");
  const { id } = ensureBucket(db, BUCKET);
  const versions = starts.map((startUs, n) => ({ startUs, digest: digestOf(n), durationSeconds: n }));
  db.transaction(() => addVersions(db, id, versions.map((version) => tagged(db, id, version)), 0, 1));
  return { db, id };
}

function startsOf(db: Database): number[] {
  return db.all<{ start_us: number }>("SELECT start_us FROM ledger ORDER BY start_us").map((row) =>
    row.start_us
  );
}

Deno.test("pruneLedger() forgets what is old, a few at a time, and nothing else", () => {
  const { db, id } = ledger(Array.from({ length: 100 }, (_, n) => n));
  using _db = db;
  const forgotten: number[] = [];
  for (let count; (count = pruneLedger(db, id, 60, 20, 25)) > 0;) forgotten.push(count);
  assert.deepEqual(forgotten, [25, 25, 10]);
  assert.deepEqual(startsOf(db), Array.from({ length: 40 }, (_, n) => 60 + n));
});

Deno.test("pruneLedger() keeps the newest, however old they are", () => {
  const { db, id } = ledger(Array.from({ length: 100 }, (_, n) => n));
  using _db = db;
  while (pruneLedger(db, id, 1_000, 20, 7) > 0);
  assert.deepEqual(startsOf(db), Array.from({ length: 21 }, (_, n) => 79 + n));
});

Deno.test("pruneLedger() comes to its end where more versions than it forgets at a time have one start", () => {
  const { db, id } = ledger([...Array<number>(50).fill(3), ...Array<number>(5).fill(9)]);
  using _db = db;
  while (pruneLedger(db, id, 5, 2, 10) > 0);
  assert.deepEqual(startsOf(db), Array(5).fill(9));
});
