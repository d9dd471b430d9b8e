import { SealError } from "../errors.ts";
import type { Stored } from "./cipher.ts";
import type { Database } from "./database.ts";
import { countEntry } from "./outbox.ts";
import { sweepAll } from "./removal.ts";
import { setStale } from "./rules.ts";

const LIST = `SELECT seq, bucket_id AS bucketId, bucket.name AS bucketName, start_us AS startUs,
    cached_at_ms AS cachedAtMs, status, reason, dead_at_ms AS deadAtMs
  FROM dead_letter JOIN bucket ON bucket.id = bucket_id ORDER BY seq`;
const NEWEST = `${LIST} DESC LIMIT ?`;
const RETRYABLE = "SELECT seq FROM dead_letter WHERE status IS NOT NULL ORDER BY seq LIMIT ?";
const BODY = "SELECT bucket_id AS bucketId, body FROM dead_letter WHERE seq = ?";
const RETRY = `INSERT INTO outbox (seq, bucket_id, start_us, digest, duration, cached_at_ms, body, crc, rules)
  SELECT seq, bucket_id, start_us, digest, duration, cached_at_ms, body, crc, rules FROM dead_letter
  WHERE seq = ? AND status IS NOT NULL`;
const DELETE = "DELETE FROM dead_letter WHERE seq = ?";

/** An event that was given up, without its content. */
export interface DeadLetter {
  /** Its place in the queue, by which it is named. */
  readonly seq: number;
  readonly bucketName: string;
  /** The event's start, in microseconds since 1970. */
  readonly startUs: number;
  readonly cachedAtMs: number;
  readonly deadAtMs: number;
  /**
   * What the server answered; `null` for one that has no form at the server, 0 for one that privacy rules hold back as
   * it can no longer be judged. Neither was sent.
   */
  readonly status: number | null;
  readonly reason: string;
}

/** Which dead letters are meant; all of them where nothing is said. */
export interface DeadLetterFilter {
  readonly seqs?: readonly number[];
  /** Text that the reason or the status contains, in any case. */
  readonly reason?: string;
  /** Given up before this time, in milliseconds since 1970. */
  readonly beforeMs?: number;
}

/**
 * Reads the dead letters that a filter means, the oldest first.
 * @throws {KeyError} when the cache is encrypted and locked
 */
export function listDeadLetters(db: Database, filter: DeadLetterFilter = {}): DeadLetter[] {
  const { seqs, reason, beforeMs = Infinity } = filter;
  const wanted = seqs === undefined ? undefined : new Set(seqs);
  const word = reason?.toLowerCase();
  return db.all<DeadLetter & { readonly reason: Stored }>(LIST)
    .filter(({ seq, deadAtMs }) => (wanted?.has(seq) ?? true) && deadAtMs < beforeMs)
    .map((row) => ({ ...row, reason: readReason(db, row) }))
    .filter(({ reason, status }) => word === undefined || `${status} ${reason}`.toLowerCase().includes(word));
}

/** Reads the newest dead letters, the newest first: quick however many there are. */
export function newestDeadLetters(db: Database, limit: number): DeadLetter[] {
  return db.all<DeadLetter & { readonly reason: Stored }>(NEWEST, limit)
    .map((row) => ({ ...row, reason: readReason(db, row) }));
}

/** The numbers of the oldest dead letters that can be sent again. */
export function retryableSeqs(db: Database, limit: number): number[] {
  return db.all<{ seq: number }>(RETRYABLE, limit).map(({ seq }) => seq);
}

/** What was damaged on the disk still is to be seen, retried and dropped. */
function readReason(db: Database, row: { seq: number; reason: Stored }): string {
  try {
    return db.cipher.openReason(row.seq, row.reason);
  } catch (error) {
    if (error instanceof SealError) return "(its reason cannot be read: its seal does not fit)";
    throw error;
  }
}

/**
 * Reads the text of a dead letter, or returns `undefined` when there is none of that number.
 * @throws {SealError} when it was damaged
 */
export function readDeadLetter(db: Database, seq: number): string | undefined {
  const row = db.get<{ bucketId: number; body: Stored }>(BODY, seq);
  return row && db.cipher.openBody({ seq, bucketId: row.bucketId }, row.body);
}

/**
 * Puts dead letters back in the queue, at their old place, in one transaction. What has no form at the server stays.
 * @returns how many were put back
 */
export function retryDeadLetters(db: Database, seqs: readonly number[]): number {
  // Other privacy rules may have let them pass than are in force now.
  setStale(db, true);
  return db.transaction(() => {
    // At its old place one would be taken for delivered.
    sweepAll(db);
    let back = 0;
    for (const seq of seqs) {
      if (db.run(RETRY, seq) === 0) continue;
      countEntry(db, seq);
      db.run(DELETE, seq);
      back++;
    }
    return back;
  });
}

/**
 * Forgets dead letters for good, in one transaction.
 * @returns how many there were
 */
export function dropDeadLetters(db: Database, seqs: readonly number[]): number {
  return db.transaction(() => seqs.reduce((dropped, seq) => dropped + db.run(DELETE, seq), 0));
}
