import type { Bucket } from "../event.ts";
import type { Database } from "./database.ts";

const FIND = "SELECT id, created, epoch, reread_at_ms, reread_cursor_us FROM bucket WHERE name = ?";
const ADD = "INSERT INTO bucket (name, type, created) VALUES (?, ?, ?)";
const RENEW =
  "UPDATE bucket SET created = ?, epoch = epoch + 1, reread_at_ms = 0, reread_cursor_us = NULL WHERE id = ?";
const UNCOVER = "DELETE FROM coverage WHERE bucket_id = ?";
const REREAD = "UPDATE bucket SET reread_at_ms = ?, reread_cursor_us = ? WHERE id = ?";
const INTERVALS =
  "SELECT from_us AS fromUs, to_us AS toUs FROM coverage WHERE bucket_id = ? ORDER BY from_us";
const DROP_INTERVALS = "DELETE FROM coverage WHERE bucket_id = ? AND from_us >= ? AND from_us <= ?";
// The binding gives numbers as floats, in which the sum would be rounded.
const ADD_INTERVAL = `INSERT INTO coverage (bucket_id, from_us, to_us, residue)
  SELECT id, from_us, to_us, (id + 3 * from_us + 7 * to_us) % 2147483647
  FROM (SELECT CAST(? AS INTEGER) AS id, CAST(? AS INTEGER) AS from_us, CAST(? AS INTEGER) AS to_us)`;

/** A bucket as the cache knows it. */
export interface BucketRow {
  readonly id: number;
  readonly epoch: number;
  /** When its recent past was last read again, in milliseconds since 1970; 0 for never. */
  readonly rereadAtMs: number;
  /** How far collection had got after that, in microseconds since 1970. */
  readonly rereadCursorUs?: number;
}

/** An interval [fromUs, toUs) of event starts, in microseconds since 1970. */
export interface Interval {
  readonly fromUs: number;
  readonly toUs: number;
}

/**
 * Finds or makes the row of a bucket. One that was deleted and made anew on the server (its `created` is
 * another) gets a new epoch: what is missing in it now was not deleted by its user, and all of it is read anew, for
 * it may have been filled with another past.
 */
export function ensureBucket(db: Database, bucket: Bucket): BucketRow {
  const find = () =>
    db.get<{
      id: number;
      created: string;
      epoch: number;
      reread_at_ms: number;
      reread_cursor_us: number | null;
    }>(FIND, bucket.id);
  let row = find();
  if (row === undefined) {
    db.run(ADD, bucket.id, bucket.type, bucket.created);
    row = find()!;
  } else if (row.created !== bucket.created) {
    const { id } = row;
    db.transaction(() => {
      db.run(RENEW, bucket.created, id);
      db.run(UNCOVER, id);
    });
    row = find()!;
  }
  const { id, epoch, reread_at_ms: rereadAtMs, reread_cursor_us: rereadCursorUs } = row;
  return { id, epoch, rereadAtMs, ...(rereadCursorUs === null ? {} : { rereadCursorUs }) };
}

/** Notes when the recent past of a bucket was last read again, and how far collection had got after that. */
export function setReread(db: Database, bucketId: number, atMs: number, cursorUs: number): void {
  db.run(REREAD, atMs, cursorUs, bucketId);
}

/** The intervals that have been collected, in order, apart from one another. */
export function coverage(db: Database, bucketId: number): Interval[] {
  return db.all<{ fromUs: number; toUs: number }>(INTERVALS, bucketId);
}

/** Adds an interval to the coverage; those that it touches become one with it. */
export function cover(db: Database, bucketId: number, interval: Interval): void {
  let { fromUs, toUs } = interval;
  for (const known of coverage(db, bucketId)) {
    if (known.toUs < fromUs || known.fromUs > toUs) continue;
    fromUs = Math.min(fromUs, known.fromUs);
    toUs = Math.max(toUs, known.toUs);
  }
  db.run(DROP_INTERVALS, bucketId, fromUs, toUs);
  db.run(ADD_INTERVAL, bucketId, fromUs, toUs);
}

/**
 * The intervals inside `within` that are not yet covered, in order.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * import { gaps } from "./cursors.ts";
 *
 * assert.deepEqual(gaps([{ fromUs: 10, toUs: 20 }], { fromUs: 0, toUs: 30 }), [
 *   { fromUs: 0, toUs: 10 },
 *   { fromUs: 20, toUs: 30 },
 * ]);
 * ```
 */
export function gaps(covered: readonly Interval[], within: Interval): Interval[] {
  const found: Interval[] = [];
  let fromUs = within.fromUs;
  for (const interval of covered) {
    if (interval.toUs <= fromUs) continue;
    if (interval.fromUs >= within.toUs) break;
    if (interval.fromUs > fromUs) found.push({ fromUs, toUs: interval.fromUs });
    fromUs = interval.toUs;
  }
  if (fromUs < within.toUs) found.push({ fromUs, toUs: within.toUs });
  return found;
}
