import type { OutboxEntry } from "../event.ts";
import type { Database } from "./database.ts";
import type { Version } from "./ledger.ts";

const ADD = `INSERT INTO outbox (bucket_id, start_us, digest, duration, cached_at_ms, body)
  VALUES (?, ?, ?, ?, ?, ?)`;
const PEEK = "SELECT seq, body FROM outbox WHERE seq > ? ORDER BY seq LIMIT ?";
const DELETE = "DELETE FROM outbox WHERE seq = ?";
const WITHDRAW = "DELETE FROM outbox WHERE bucket_id = ? AND start_us = ? AND digest = ? AND duration = ?";
const BURY_VERSION = `INSERT OR REPLACE INTO dead_letter
    (seq, bucket_id, start_us, digest, duration, cached_at_ms, body, reason, dead_at_ms)
  SELECT seq, bucket_id, start_us, digest, duration, cached_at_ms, body, ?, ? FROM outbox
  WHERE bucket_id = ? AND start_us = ? AND digest = ? AND duration = ?`;
const DEPTH = "SELECT events FROM depth";
const BURY = `INSERT OR REPLACE INTO dead_letter
    (seq, bucket_id, start_us, digest, duration, cached_at_ms, body, status, reason, dead_at_ms)
  SELECT seq, bucket_id, start_us, digest, duration, cached_at_ms, body, ?, ?, ? FROM outbox WHERE seq = ?`;
const DEAD = "SELECT count(*) AS events FROM dead_letter";

/** Appends an event's JSON to the outbox. Called inside the transaction that also notes it in the ledger. */
export function addToOutbox(
  db: Database,
  bucketId: number,
  version: Version,
  body: string,
  nowMs: number,
): void {
  db.run(ADD, bucketId, version.startUs, version.digest, version.durationSeconds, nowMs, body);
}

/** Reads the oldest entries after `afterSeq`: at most `limit`, and at most `maxBytes` of them unless the first alone is larger. */
export function peekOutbox(db: Database, afterSeq: number, limit: number, maxBytes: number): OutboxEntry[] {
  const batch: OutboxEntry[] = [];
  let bytes = 0;
  for (const { seq, body } of db.all<{ seq: number; body: string }>(PEEK, afterSeq, limit)) {
    // Non-ASCII characters take up to three bytes for each UTF-16 unit.
    bytes += new TextEncoder().encode(body).length + 1;
    if (bytes > maxBytes && batch.length > 0) break;
    batch.push({ seq, body });
  }
  return batch;
}

/** Removes delivered entries in one transaction. */
export function removeFromOutbox(db: Database, entries: readonly OutboxEntry[]): void {
  db.transaction(() => {
    for (const { seq } of entries) db.run(DELETE, seq);
  });
}

/** Takes a version back that is still unsent; tells whether there was one. */
export function withdraw(db: Database, bucketId: number, version: Version): boolean {
  return db.run(WITHDRAW, bucketId, version.startUs, version.digest, version.durationSeconds) > 0;
}

/** Moves entries to the dead letters, with the server's status and reason, in one transaction. */
export function moveToDeadLetters(
  db: Database,
  entries: readonly { readonly seq: number; readonly status: number; readonly reason: string }[],
  nowMs: number,
): void {
  db.transaction(() => {
    for (const { seq, status, reason } of entries) {
      db.run(BURY, status, reason, nowMs, seq);
      db.run(DELETE, seq);
    }
  });
}

/**
 * Moves a version that was just added to the outbox on to the dead letters, because it cannot be put in the
 * server's form. Called inside the transaction that added it.
 */
export function buryVersion(
  db: Database,
  bucketId: number,
  version: Version,
  reason: string,
  nowMs: number,
): void {
  const { startUs, digest, durationSeconds } = version;
  db.run(BURY_VERSION, reason, nowMs, bucketId, startUs, digest, durationSeconds);
  withdraw(db, bucketId, version);
}

/** How many events wait to be delivered: exact, and as quick with millions of them as with none. */
export function outboxDepth(db: Database): number {
  return db.get<{ events: number }>(DEPTH)!.events;
}

/** How many events stand in the dead letters. */
export function deadLetterCount(db: Database): number {
  return db.get<{ events: number }>(DEAD)!.events;
}
