import { crc32 } from "node:zlib";
import type { Batch } from "../event.ts";
import type { Database, SqlValue } from "./database.ts";
import { AT_ITS_PLACE, type TaggedVersion } from "./ledger.ts";
import { getMeta, setMeta } from "./meta.ts";
import type { OutboxRow } from "./outbox.ts";
import { WAITING } from "./removal.ts";

const COLUMNS = `o.seq, o.bucket_id AS bucketId, o.start_us AS startUs, o.digest AS tag,
  o.duration AS durationSeconds, o.body, o.crc, o.rules`;
const STALE = `SELECT ${COLUMNS} FROM ${WAITING} o WHERE o.seq > ? AND o.rules <> ? ORDER BY o.seq LIMIT ?`;
const BETWEEN = `SELECT ${COLUMNS} FROM ledger l JOIN ${WAITING} o ON ${AT_ITS_PLACE}
  WHERE l.bucket_id = ? AND l.start_us >= ? AND l.start_us < ?`;
const PASS = "UPDATE outbox SET rules = ? WHERE seq = ?";
const REWRITE = "UPDATE outbox SET body = ?, crc = ?, rules = ? WHERE seq = ?";
const ATTEMPTED = "SELECT 1 AS found FROM attempt WHERE from_seq <= ? AND to_seq >= ? LIMIT 1";
const ATTEMPT = `INSERT INTO attempt VALUES (?, ?)
  ON CONFLICT DO UPDATE SET to_seq = excluded.to_seq WHERE to_seq < excluded.to_seq`;
const UNATTEMPT = "DELETE FROM attempt WHERE from_seq = ? AND to_seq = ?";
const ATTEMPTS_OVER = `DELETE FROM attempt
  WHERE (from_seq >= ? AND to_seq <= ?) OR to_seq < (SELECT coalesce(min(seq), 9e18) FROM ${WAITING})`;
const HEAD = `SELECT rules FROM ${WAITING} ORDER BY seq LIMIT 1`;
const ANY = `SELECT 1 AS found FROM ${WAITING} LIMIT 1`;
const BUCKET = "SELECT id, name, type, created, epoch FROM bucket WHERE id = ?";

/** An entry that waits, with what tells its version. */
export interface WaitingEntry extends OutboxRow, Omit<TaggedVersion, "digest"> {}

interface RulesState {
  readonly fingerprint: string;
  readonly number: number;
  /** Entries that other rules let pass may wait. */
  readonly stale: boolean;
}

function stateOf(db: Database): RulesState | undefined {
  const text = getMeta(db, "privacy_rules");
  return text === undefined ? undefined : JSON.parse(text);
}

/**
 * Takes the privacy rules with this fingerprint for those in force. Where they are others than before, all that waits
 * is from that moment on not sent until it was judged by them, for each entry carries the number of the rules that
 * let it pass: one small write, whatever waits.
 * @returns their number
 */
export function adoptRules(db: Database, fingerprint: string): number {
  return db.transaction(() => {
    const state = stateOf(db);
    if (state?.fingerprint === fingerprint) return state.number;
    const number = (state?.number ?? 0) + 1;
    const stale = db.get(ANY) !== undefined;
    setMeta(db, "privacy_rules", JSON.stringify({ fingerprint, number, stale }));
    return number;
  });
}

/** Notes whether entries may wait that the rules in force have not judged. */
export function setStale(db: Database, stale: boolean): void {
  const state = stateOf(db);
  if (state !== undefined && state.stale !== stale) {
    db.transaction(() => setMeta(db, "privacy_rules", JSON.stringify({ ...state, stale })));
  }
}

/**
 * Tells whether the queue stands still at an entry that the rules in force have not judged, and notes it: a dead
 * letter may have been put back while the last pass over the queue was ending.
 */
export function isHeldByRules(db: Database): boolean {
  const head = db.get<{ rules: number }>(HEAD)?.rules;
  const held = head !== undefined && head !== (stateOf(db)?.number ?? head);
  if (held) setStale(db, true);
  return held;
}

/** Tells whether entries may wait that the rules in force have not judged. */
export function mayBeStale(db: Database): boolean {
  return stateOf(db)?.stale === true;
}

/** The oldest entries after `afterSeq` that the rules of this number have not judged. */
export function staleEntries(db: Database, rules: number, afterSeq: number, limit: number): WaitingEntry[] {
  return db.all<WaitingEntry>(STALE, afterSeq, rules, limit);
}

/** The entries of a bucket that wait and start in [fromUs, toUs). */
export function waitingBetween(db: Database, bucketId: number, fromUs: number, toUs: number): WaitingEntry[] {
  return db.all<WaitingEntry>(BETWEEN, bucketId, fromUs, toUs);
}

/** Notes that the rules of a number let an entry pass as it is. Inside a transaction, as all of these. */
export function passEntry(db: Database, seq: number, rules: number): void {
  db.run(PASS, rules, seq);
}

/** Puts another text in an entry's place in the queue. */
export function rewriteEntry(
  db: Database,
  { seq, bucketId }: WaitingEntry,
  digest: Uint8Array,
  body: string,
  rules: number,
): void {
  const { cipher } = db;
  const values: SqlValue[] = cipher.keyVersion === 0
    ? [body, crc32(body)]
    : [cipher.sealBody({ seq, bucketId }, digest, body), null];
  db.run(REWRITE, ...values, rules, seq);
}

/** The row of a bucket by its number. */
export function bucketById(db: Database, bucketId: number) {
  return db.get<{ id: number; name: string; type: string; created: string; epoch: number }>(BUCKET, bucketId);
}

/** Tells whether an entry may have been sent: the server may have it though nothing confirmed it. */
export function isAttempted(db: Database, seq: number): boolean {
  return db.get(ATTEMPTED, seq, seq) !== undefined;
}

/**
 * Notes, before a request, which entries it may bring the server; tells whether none of them was noted before.
 * @param batch all that the outbox holds from its first entry to its last
 */
export function noteAttempt(db: Database, batch: Batch): boolean {
  const { fromSeq, toSeq } = ends(batch);
  return db.transaction(() => {
    const before = db.get(ATTEMPTED, toSeq, fromSeq);
    db.run(ATTEMPT, fromSeq, toSeq);
    return before === undefined;
  });
}

/** Takes the note back where the server surely has none of them. */
export function forgetAttempt(db: Database, batch: Batch): void {
  const { fromSeq, toSeq } = ends(batch);
  db.transaction(() => db.run(UNATTEMPT, fromSeq, toSeq));
}

/** Forgets the notes that are of no use any more once these entries are off the outbox. Inside that transaction. */
export function endAttempts(db: Database, batch: Batch): void {
  const { fromSeq, toSeq } = ends(batch);
  db.run(ATTEMPTS_OVER, fromSeq, toSeq);
}

function ends(batch: Batch): { fromSeq: number; toSeq: number } {
  return { fromSeq: batch[0]!.seq, toSeq: batch.at(-1)!.seq };
}
