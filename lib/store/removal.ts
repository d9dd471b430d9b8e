import type { Batch } from "../event.ts";
import type { Database } from "./database.ts";

/** So many delivered entries may be left in the file: some 45 MB of it, which nothing else can use meanwhile. */
const MAX_LEFT = 200_000;
/** How many of them are deleted at a time where there are more: more than a batch, so that they become fewer. */
const SLICE = 1000;
/**
 * More free pages than these (32 MB) are given back while it drains: SQLite looks through all of them for each, so that
 * it takes less than half of the time that it would take at the end of 3 million events.
 */
const MAX_FREE_PAGES = 8192;
/** How many are deleted at a time once a drain has ended: the log beside the file stays at its usual size. */
const SWEEP = 10_000;

const DELIVERED_TO = `coalesce(
  (SELECT to_seq FROM delivered WHERE residue = (3 * to_seq + 7) % 2147483647), 0)`;
/**
 * What waits in the outbox, to be read in its stead: its first entries may be delivered ones that have not been deleted
 * yet. A note that the disk changed counts as none: what it would hide is sent again instead, as the server allows.
 */
export const WAITING = `(SELECT * FROM outbox WHERE seq > ${DELIVERED_TO})`;

const NOTE = `INSERT INTO delivered VALUES (1, ?1, (3 * ?1 + 7) % 2147483647)
  ON CONFLICT DO UPDATE SET to_seq = excluded.to_seq, residue = excluded.residue`;
const FORGET_NOTE = "DELETE FROM delivered";
const TO = `SELECT ${DELIVERED_TO} AS seq`;
const FIRST = "SELECT seq FROM outbox ORDER BY seq LIMIT 1";
const DELETE_ALL = "DELETE FROM outbox";
const DELETE_TO = "DELETE FROM outbox WHERE seq <= ?";
const DELETE_MANY = "DELETE FROM outbox WHERE seq IN (SELECT value FROM json_each(?))";
const SUMS = "SELECT bucket_id AS bucketId, count(*) AS entries, sum(octet_length(body)) AS bytes";
const SUMS_TO = `${SUMS} FROM ${WAITING} WHERE seq <= ? GROUP BY bucket_id`;
/** Most of the time all are of one bucket, and to sum them up by bucket takes as long again. */
const HEAD =
  `SELECT min(bucket_id) AS bucketId, min(bucket_id) <> max(bucket_id) AS mixed, count(*) AS entries,
    sum(octet_length(body)) AS bytes, (SELECT min(seq) FROM outbox) AS first, (SELECT max(seq) FROM outbox) AS last
  FROM ${WAITING} WHERE seq <= ?`;
const SUMS_OF = `${SUMS} FROM outbox WHERE seq IN (SELECT value FROM json_each(?)) GROUP BY bucket_id`;
const COUNT_DOWN = "UPDATE bucket SET waiting = waiting - ?, waiting_bytes = waiting_bytes - ? WHERE id = ?";
const NONE_WAIT = "UPDATE bucket SET waiting = 0, waiting_bytes = 0 WHERE waiting <> 0 OR waiting_bytes <> 0";

interface Sum {
  readonly bucketId: number;
  readonly entries: number;
  readonly bytes: number;
}

/** Up to which place all that stands in the outbox is delivered; 0 where nothing of it is. */
export function deliveredTo(db: Database): number {
  return db.get<{ seq: number }>(TO)!.seq;
}

/**
 * Deletes entries that wait, whichever they are. Inside a transaction.
 * @returns how many of them there were
 */
export function removeEntries(db: Database, seqs: readonly number[]): number {
  const list = JSON.stringify(seqs);
  const sums = db.all<Sum>(SUMS_OF, list);
  if (sums.length === 0) return 0;
  countDown(db, sums);
  return db.run(DELETE_MANY, list);
}

function countDown(db: Database, sums: readonly Sum[]): void {
  for (const { bucketId, entries, bytes } of sums) db.run(COUNT_DOWN, entries, bytes, bucketId);
}

/**
 * Takes the entries at the head of the queue off it by one note, for to delete them costs ten times that. They are
 * deleted with all others once nothing waits, which is quick, or some at a time where many are left.
 * Inside a transaction, and only while no entry was changed or removed since these were read: then they are all that
 * waits up to the last of them where that is as many.
 * @returns whether it was done: not where others wait there, which were put back or left aside
 */
export function passDelivered(db: Database, batch: Batch): boolean {
  const toSeq = batch.at(-1)!.seq;
  const head = db.get<Sum & { mixed: number; first: number; last: number }>(HEAD, toSeq)!;
  if (head.entries !== batch.length) return false;
  if (head.last === toSeq) {
    db.tidy(DELETE_ALL);
    db.run(NONE_WAIT);
    db.run(FORGET_NOTE);
    return true;
  }
  countDown(db, head.mixed === 0 ? [head] : db.all<Sum>(SUMS_TO, toSeq));
  db.run(NOTE, toSeq);
  if (toSeq - head.first >= MAX_LEFT) {
    db.tidy(DELETE_TO, head.first + SLICE - 1);
    const spare = db.freePages() - MAX_FREE_PAGES;
    if (spare > 0) db.shrink(spare);
  }
  return true;
}

/**
 * Deletes delivered entries that are left in the outbox, some at a time.
 * @returns whether there are more
 */
export function sweepDelivered(db: Database): boolean {
  return deliveredTo(db) !== 0 && db.transaction(() => sweep(db, SWEEP));
}

/** Deletes all of them. Inside a transaction. */
export function sweepAll(db: Database): void {
  sweep(db, Infinity);
}

function sweep(db: Database, most: number): boolean {
  const toSeq = deliveredTo(db);
  const first = db.get<{ seq: number }>(FIRST)?.seq ?? Infinity;
  const untilSeq = Math.min(toSeq, first + most - 1);
  db.tidy(DELETE_TO, untilSeq);
  if (untilSeq === toSeq) db.run(FORGET_NOTE);
  return untilSeq < toSeq;
}
