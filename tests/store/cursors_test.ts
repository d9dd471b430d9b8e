import assert from "node:assert/strict";
import fc from "fast-check";
import { cover, coverage, ensureBucket, gaps, type Interval, setReread } from "../../lib/store/cursors.ts";
import { openDatabase } from "../../lib/store/database.ts";
import { bucketStates } from "../../lib/store/health.ts";

const BUCKET = { id: "b", type: "currentwindow", hostname: "h", created: "2026-01-01" } as const;
const interval = fc.tuple(fc.nat(60), fc.integer({ min: 1, max: 20 }))
  .map(([fromUs, length]): Interval => ({ fromUs, toUs: fromUs + length }));
const points = (intervals: readonly Interval[]) => {
  const all = new Set<number>();
  for (const { fromUs, toUs } of intervals) for (let at = fromUs; at < toUs; at++) all.add(at);
  return [...all].sort((a, b) => a - b);
};

Deno.test("cover() and gaps() hold exactly what was covered, in intervals apart from one another", () => {
  fc.assert(fc.property(fc.array(interval, { maxLength: 12 }), interval, (intervals, within) => {
    using db = openDatabase(":memory:");
    const { id } = ensureBucket(db, BUCKET);
    const other = ensureBucket(db, { ...BUCKET, id: "other" });
    for (const one of intervals) cover(db, id, one);
    const covered = coverage(db, id);
    assert.deepEqual(points(covered), points(intervals));
    covered.slice(1).forEach(({ fromUs }, n) => assert.ok(fromUs > covered[n]!.toUs, "Two intervals touch"));
    const open = points([within]).filter((at) => !points(intervals).includes(at));
    assert.deepEqual(points(gaps(covered, within)), open);
    assert.deepEqual(coverage(db, other.id), []);
  }));
});

Deno.test("ensureBucket() knows a bucket again, and begins anew with one that was made anew", () => {
  using db = openDatabase(":memory:");
  const first = ensureBucket(db, BUCKET);
  cover(db, first.id, { fromUs: 0, toUs: 10 });
  setReread(db, first.id, 77, 5);
  assert.deepEqual(ensureBucket(db, BUCKET), { id: first.id, epoch: 0, rereadAtMs: 77, rereadCursorUs: 5 });
  const renewed = ensureBucket(db, { ...BUCKET, created: "2026-02-02" });
  assert.deepEqual(renewed, { id: first.id, epoch: 1, rereadAtMs: 0 });
  assert.deepEqual(coverage(db, first.id), []);
  assert.deepEqual(bucketStates(db).map(({ name }) => name), ["b"]);
});
