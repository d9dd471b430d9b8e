import type { Database } from "./database.ts";
import { AT_ITS_PLACE, keyOf } from "./ledger.ts";
import { WAITING } from "./removal.ts";

const BUCKETS = "SELECT id, name, type, created FROM bucket ORDER BY name";
const RECORDS = `SELECT start_us AS startUs, digest AS tag, duration AS durationSeconds, revised, dropped,
    EXISTS (SELECT 1 FROM ${WAITING} o WHERE ${AT_ITS_PLACE}) AS waiting,
    EXISTS (SELECT 1 FROM dead_letter d WHERE d.bucket_id = l.bucket_id AND d.start_us = l.start_us
      AND d.digest = l.digest AND d.duration = l.duration) AS dead
  FROM ledger l WHERE bucket_id = ? AND start_us >= ? AND start_us < ?
  ORDER BY start_us LIMIT ?`;

/** What became of an event that was collected; `kept` is what the privacy rules keep on the device. */
export type Fate = "delivered" | "waiting" | "dead" | "kept";

/** A version of an event that was collected, and what became of it. Holds nothing of its content. */
export interface DeliveryRecord {
  /** As `keyOf` of the ledger makes it. */
  readonly key: string;
  readonly startUs: number;
  readonly durationSeconds: number;
  readonly fate: Fate;
  /** ActivityWatch has it no longer: it was changed or deleted there. */
  readonly revised: boolean;
}

/** A bucket as the cache knows it, by its name. */
export interface KnownBucket {
  readonly rowId: number;
  readonly id: string;
  readonly type: string;
  readonly created: string;
}

/** Every bucket that was ever collected from. */
export function knownBuckets(db: Database): KnownBucket[] {
  return db.all<{ id: number; name: string; type: string; created: string }>(BUCKETS)
    .map(({ id, name, type, created }) => ({ rowId: id, id: name, type, created }));
}

/**
 * What was collected of a bucket with a start in [fromUs, toUs), in order, at most `limit`. Quick however large the
 * cache is: it goes by indexes alone.
 */
export function recordsBetween(
  db: Database,
  rowId: number,
  fromUs: number,
  toUs: number,
  limit: number,
): DeliveryRecord[] {
  type Row = {
    startUs: number;
    tag: Uint8Array;
    durationSeconds: number;
    revised: number;
    dropped: number;
    waiting: number;
    dead: number;
  };
  return db.all<Row>(RECORDS, rowId, fromUs, toUs, limit).map((row) => ({
    key: keyOf(row),
    startUs: row.startUs,
    durationSeconds: row.durationSeconds,
    fate: row.waiting ? "waiting" : row.dead ? "dead" : row.dropped ? "kept" : "delivered",
    revised: row.revised === 1,
  }));
}
