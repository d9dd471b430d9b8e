import { Buffer } from "node:buffer";
import { crc32 } from "node:zlib";
import { SealError, type StoreError } from "../errors.ts";
import type { OutboxEntry } from "../event.ts";
import type { Stored } from "./cipher.ts";
import { corruption, type Database } from "./database.ts";
import { addVersions, AT_ITS_PLACE, tagged, type TaggedVersion, type Version } from "./ledger.ts";
import { deliveredTo, passDelivered, removeEntries, WAITING } from "./removal.ts";
import { endAttempts, isAttempted } from "./rules.ts";

const ADD_MANY =
  "INSERT INTO outbox (seq, bucket_id, start_us, digest, duration, cached_at_ms, rules, body, crc) VALUES";
const COUNT = "UPDATE bucket SET waiting = waiting + ?, waiting_bytes = waiting_bytes + ? WHERE id = ?";
const LAST_SEQ = "SELECT seq FROM sqlite_sequence WHERE name = 'outbox'";
const NEXT_IN_ROW = `SELECT count(*) AS entries, sum(octet_length(body) + 1) AS bytes
  FROM outbox WHERE seq > ? AND seq <= ?`;
const NEXT = `SELECT max(seq) AS untilSeq, sum(octet_length(body) + 1) AS bytes
  FROM (SELECT seq, body FROM outbox WHERE seq > ? ORDER BY seq LIMIT ?)`;
const SIZES = "SELECT seq, octet_length(body) AS bytes FROM outbox WHERE seq > ? ORDER BY seq LIMIT ?";
/** Many at once: to bring rows out of SQLite one by one takes longer than to read them. */
const PEEK_MANY = `SELECT group_concat(seq) AS seqs, group_concat(octet_length(body)) AS sizes,
    group_concat(crc) AS crcs, CAST(group_concat(body) AS BLOB) AS bodies,
    max(rules <> ? OR crc IS NULL OR typeof(body) <> 'text') AS odd
  FROM outbox WHERE seq > ? AND seq <= ?`;
const PEEK =
  "SELECT seq, bucket_id, body, crc, rules FROM outbox WHERE seq > ? AND seq <= ? ORDER BY seq LIMIT ?";
const SIZE = "SELECT bucket_id AS bucketId, octet_length(body) AS bytes FROM outbox WHERE seq = ?";
const WITHDRAW_DEAD =
  "DELETE FROM dead_letter WHERE bucket_id = ? AND start_us = ? AND digest = ? AND duration = ?";
const FIND_VERSION = `SELECT o.seq FROM ledger l JOIN ${WAITING} o ON ${AT_ITS_PLACE}
  WHERE l.bucket_id = ? AND l.start_us = ? AND l.digest = ? AND l.duration = ?`;
const DEPTH = "SELECT coalesce(sum(waiting), 0) AS events FROM bucket";
const OLDEST = `SELECT cached_at_ms AS cachedAtMs, start_us AS startUs FROM ${WAITING} ORDER BY seq LIMIT 1`;
const BURY = `INSERT OR REPLACE INTO dead_letter
    (seq, bucket_id, start_us, digest, duration, cached_at_ms, body, crc, rules, status, reason, dead_at_ms)
  SELECT seq, bucket_id, start_us, digest, duration, cached_at_ms, body, crc, rules, ?, ?, ? FROM outbox WHERE seq = ?`;
const DEAD = "SELECT count(*) AS events FROM dead_letter";

const UTF_8 = new TextEncoder();

/**
 * Appends an event's JSON to the outbox, as the privacy rules of the number `rules` let it pass, and notes its version
 * in the ledger as present in the bucket's epoch. Called inside a transaction.
 * @throws {Error} when the version is known: nothing is taken twice
 */
export function addToOutbox(
  db: Database,
  bucketId: number,
  version: Version,
  body: string,
  nowMs: number,
  rules = 0,
  epoch = 0,
): void {
  addAllToOutbox(db, bucketId, [{ version: tagged(db, bucketId, version), body }], nowMs, rules, epoch);
}

/** Appends many, in order, as {@link addToOutbox} does. */
export function addAllToOutbox(
  db: Database,
  bucketId: number,
  events: readonly { readonly version: TaggedVersion; readonly body: string }[],
  nowMs: number,
  rules = 0,
  epoch = 0,
): void {
  if (events.length === 0) return;
  const { cipher } = db;
  // Its place in the queue must be known before: the ledger holds it, and what is sealed is bound to it.
  const firstSeq = (db.get<{ seq: number }>(LAST_SEQ)?.seq ?? 0) + 1;
  let bytes = 0;
  const rows = events.map(({ version, body }, n) => {
    const seq = firstSeq + n;
    const stored = cipher.sealBody({ seq, bucketId }, version.digest, body);
    const isText = typeof stored === "string";
    bytes += isText ? Buffer.byteLength(stored) : stored.length;
    const { startUs, tag, durationSeconds } = version;
    const crc = isText ? crc32(stored) : null;
    return [seq, bucketId, startUs, tag, durationSeconds, nowMs, rules, stored, crc] as const;
  });
  addVersions(db, bucketId, events.map(({ version }) => version), epoch, firstSeq);
  db.insertAll(ADD_MANY, rows);
  db.run(COUNT, events.length, bytes, bucketId);
}

/**
 * Reads the oldest entries after `afterSeq`: at most `limit`, and at most `maxBytes` of them unless the first alone is
 * larger. It ends before the first that other privacy rules than those of the number `rules` let pass.
 * @throws {StoreError} of the fault `corrupt` when an entry is not what was put in
 */
export function peekOutbox(
  db: Database,
  afterSeq: number,
  limit: number,
  maxBytes: number,
  rules = 0,
): OutboxEntry[] {
  const fromSeq = Math.max(afterSeq, deliveredTo(db));
  const untilSeq = lastWithin(db, fromSeq, limit, maxBytes);
  if (db.cipher.keyVersion === 0) {
    const many = db.get<PeekedMany>(PEEK_MANY, rules, fromSeq, untilSeq)!;
    if (many.odd === 0) return openMany(db, many);
  }
  const batch: OutboxEntry[] = [];
  for (const [seq, bucketId, body, crc, by] of db.lists<PeekedRow>(PEEK, fromSeq, untilSeq, limit)) {
    if (by !== rules) break;
    batch.push({ seq, body: UTF_8.encode(openEntry(db, { seq, bucketId, body, crc })) });
  }
  return batch;
}

/** Takes apart what was read at once. */
function openMany(db: Database, { seqs, sizes, crcs, bodies }: PeekedMany): OutboxEntry[] {
  const numbers = (list: string): number[] => JSON.parse(`[${list}]`);
  const [sizeOf, crcOf] = [numbers(sizes), numbers(crcs)];
  let at = 0;
  return numbers(seqs).map((seq, n) => {
    const body = bodies.subarray(at, at += sizeOf[n]!);
    at++;
    if (crc32(body) !== crcOf[n]) throw changed(db, seq);
    return { seq, body };
  });
}

/** Reads the newest entry. */
export function peekNewest(db: Database, rules = 0): OutboxEntry | undefined {
  const seq = db.get<{ seq: number | null }>("SELECT max(seq) AS seq FROM outbox")?.seq;
  return typeof seq === "number" ? peekOutbox(db, seq - 1, 1, Infinity, rules)[0] : undefined;
}

/** Entries as they are read at once, their parts with commas between them. */
interface PeekedMany {
  readonly seqs: string;
  readonly sizes: string;
  readonly crcs: string;
  readonly bodies: Uint8Array<ArrayBuffer>;
  /** 0 where each of them is text with a checksum, let pass by the rules in force; `null` where there are none. */
  readonly odd: number | null;
}

/** The columns that are read of an entry to send it. */
type PeekedRow = readonly [seq: number, bucketId: number, body: Stored, crc: number | null, rules: number];

/** An entry of the outbox as it is stored. */
export interface OutboxRow {
  readonly seq: number;
  readonly bucketId: number;
  readonly body: Stored;
  /** Of a body that is not sealed: a seal has its own. */
  readonly crc: number | null;
  /** The number of the privacy rules that let it pass. */
  readonly rules: number;
}

/**
 * Reads the text of an entry.
 * @throws {StoreError} of the fault `corrupt` when the disk changed it: it would be another event at the server
 */
export function openEntry(db: Database, row: Omit<OutboxRow, "rules">): string {
  let body: string;
  try {
    body = db.cipher.openBody(row, row.body);
  } catch (error) {
    if (!(error instanceof SealError)) throw error;
    throw corruption(db.path, `entry ${row.seq} cannot be opened. ${error.message}`, error);
  }
  if (typeof row.body === "string" && row.crc !== null && crc32(body) !== row.crc) {
    throw changed(db, row.seq);
  }
  return body;
}

function changed(db: Database, seq: number): StoreError {
  return corruption(db.path, `the checksum of entry ${seq} is another than its text's`);
}

/**
 * Up to where the entries fit. A look at their sizes reads no body: without it a few large ones would bring hundreds
 * of them into memory for each request. What is stored of a body is never shorter than the body.
 */
function lastWithin(db: Database, afterSeq: number, limit: number, maxBytes: number): number {
  // Most of the time the places are without a gap, and that is told sooner.
  const inRow = db.get<{ entries: number; bytes: number | null }>(NEXT_IN_ROW, afterSeq, afterSeq + limit)!;
  if (inRow.entries === limit && inRow.bytes! <= maxBytes) return afterSeq + limit;
  const next = db.get<{ untilSeq: number | null; bytes: number | null }>(NEXT, afterSeq, limit)!;
  let untilSeq = next.untilSeq ?? afterSeq;
  if ((next.bytes ?? 0) <= maxBytes) return untilSeq;
  untilSeq = afterSeq;
  let left = maxBytes;
  for (const { seq, bytes } of db.all<{ seq: number; bytes: number }>(SIZES, afterSeq, limit)) {
    left -= bytes + 1;
    if (left < 0 && untilSeq > afterSeq) break;
    untilSeq = seq;
  }
  return untilSeq;
}

/**
 * Takes delivered entries off the queue, and no others, in one transaction.
 * @param state what {@link Database.outboxState} was before they were read from the head of the queue: where it still is,
 *   that is quick
 */
export function removeFromOutbox(db: Database, entries: readonly OutboxEntry[], state?: string): void {
  if (entries.length === 0) return;
  db.transaction(() => {
    const passed = state === db.outboxState() && passDelivered(db, entries);
    if (!passed) removeEntries(db, entries.map(({ seq }) => seq));
    endAttempts(db, entries);
  });
}

/**
 * Takes a version back that waits or was given up; tells whether it was never sent, or may be at the server already
 * (its request is under way, or its answer was lost). `undefined` when there was none.
 */
export function withdraw(db: Database, bucketId: number, version: Version): "unsent" | "sent" | undefined {
  const tag = db.cipher.tag(bucketId, version);
  const key = [bucketId, version.startUs, tag, version.durationSeconds] as const;
  const isDead = db.run(WITHDRAW_DEAD, ...key) > 0;
  const waiting = db.get<{ seq: number }>(FIND_VERSION, ...key);
  if (waiting === undefined) return isDead ? "unsent" : undefined;
  const attempted = isAttempted(db, waiting.seq);
  removeEntries(db, [waiting.seq]);
  return attempted ? "sent" : "unsent";
}

/** Counts an entry that was put back in its place. Inside that transaction. */
export function countEntry(db: Database, seq: number): void {
  const { bucketId, bytes } = db.get<{ bucketId: number; bytes: number }>(SIZE, seq)!;
  db.run(COUNT, 1, bytes, bucketId);
}

/** Moves entries to the dead letters, with the server's status and reason, in one transaction. */
export function moveToDeadLetters(
  db: Database,
  entries: readonly { readonly seq: number; readonly status: number; readonly reason: string }[],
  nowMs: number,
): void {
  db.transaction(() => {
    for (const { seq, status, reason } of entries) bury(db, seq, status, reason, nowMs);
  });
}

/** Moves an entry, inside a transaction. A sealed body is bound to its place in the queue, which it keeps among the dead letters: it moves as it is. */
export function bury(db: Database, seq: number, status: number | null, reason: string, nowMs: number): void {
  db.run(BURY, status, db.cipher.sealReason(seq, reason), nowMs, seq);
  removeEntries(db, [seq]);
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
  const { startUs, durationSeconds } = version;
  const tag = db.cipher.tag(bucketId, version);
  for (const { seq } of db.all<{ seq: number }>(FIND_VERSION, bucketId, startUs, tag, durationSeconds)) {
    bury(db, seq, null, reason, nowMs);
  }
}

/** How many events wait to be delivered: exact, and as quick with millions of them as with none. */
export function outboxDepth(db: Database): number {
  return db.get<{ events: number }>(DEPTH)!.events;
}

/** When the entry that waits at the head of the outbox was put there, and when its event began. */
export function oldestWaiting(db: Database): { cachedAtMs: number; startUs: number } | undefined {
  return db.get<{ cachedAtMs: number; startUs: number }>(OLDEST);
}

/** How many events stand in the dead letters. */
export function deadLetterCount(db: Database): number {
  return db.get<{ events: number }>(DEAD)!.events;
}
