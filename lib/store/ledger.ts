import { SealError } from "../errors.ts";
import type { LedgerRow } from "./cipher.ts";
import type { Database } from "./database.ts";

const ADD =
  `INSERT INTO ledger (bucket_id, start_us, digest, duration, epoch, sealed) VALUES (?, ?, ?, ?, ?, ?)
  ON CONFLICT DO UPDATE SET epoch = excluded.epoch, revised = 0 WHERE epoch <> excluded.epoch OR revised <> 0`;
const ADD_MANY = "INSERT INTO ledger (bucket_id, start_us, digest, duration, epoch, sealed, seq) VALUES";
const KNOWN =
  "SELECT 1 AS known FROM ledger WHERE bucket_id = ? AND start_us = ? AND digest = ? AND duration = ?";
const BETWEEN =
  `SELECT start_us AS startUs, digest AS tag, duration AS durationSeconds, sealed, epoch, revised, dropped
  FROM ledger WHERE bucket_id = ? AND start_us >= ? AND start_us < ?`;
const DROP = `INSERT INTO ledger (bucket_id, start_us, digest, duration, epoch, sealed, dropped)
  VALUES (?, ?, ?, ?, ?, ?, 1) ON CONFLICT DO UPDATE SET dropped = 1`;
const FORGET = "DELETE FROM ledger WHERE bucket_id = ? AND start_us = ? AND digest = ? AND duration = ?";
const REVISED = `UPDATE ledger SET revised = 1
  WHERE bucket_id = ? AND start_us = ? AND digest = ? AND duration = ? AND revised = 0`;
const COUNT_REVISION = "UPDATE bucket SET revisions = revisions + 1 WHERE id = ?";
const NEWEST = "SELECT max(start_us) AS startUs FROM ledger WHERE bucket_id = ? AND start_us <= ?";
const NTH_NEWEST =
  "SELECT start_us AS startUs FROM ledger WHERE bucket_id = ? ORDER BY start_us DESC LIMIT 1 OFFSET ?";
const OLDEST = "SELECT min(start_us) AS startUs FROM ledger WHERE bucket_id = ?";
const NTH_OLDEST =
  "SELECT start_us AS startUs FROM ledger WHERE bucket_id = ? ORDER BY start_us LIMIT 1 OFFSET ?";
const PRUNE = "DELETE FROM ledger WHERE bucket_id = ? AND start_us < ?";

/**
 * Joins a version `l` of the ledger and the entry `o` of the outbox that it waits in. The place that the ledger names is
 * believed only where the entry is of that version: a bit that the disk changed must not lead to another.
 */
export const AT_ITS_PLACE = `o.seq = l.seq AND o.bucket_id = l.bucket_id AND o.start_us = l.start_us
  AND o.digest = l.digest AND o.duration = l.duration`;

/**
 * One version of one event: the same start and data with another duration is another version. ActivityWatch
 * may hold several at once; they are told apart, for the server would.
 */
export interface Version {
  readonly startUs: number;
  /** A hash of the event's data. */
  readonly digest: Uint8Array;
  readonly durationSeconds: number;
}

/** A version and what stands for it in the cache: its digest or, in an encrypted cache, a keyed tag. */
export interface TaggedVersion extends Version {
  readonly tag: Uint8Array;
}

/** A version that was cached before, as it stands in the ledger. */
export interface KnownVersion extends LedgerRow {
  /** The bucket's epoch in which ActivityWatch was last seen to have it. */
  readonly epoch: number;
  /** 1 when ActivityWatch was seen without it after it may have been delivered. */
  readonly revised: number;
  /** 1 when a privacy rule dropped it. */
  readonly dropped: number;
}

/** Puts a version's tag beside it, so that it is made only once. */
export function tagged(db: Database, bucketId: number, version: Version): TaggedVersion {
  const { startUs, digest, durationSeconds } = version;
  return { startUs, digest, durationSeconds, tag: db.cipher.tag(bucketId, version) };
}

/** What tells a version from all others of its bucket, as a text. */
export function keyOf({ startUs, tag, durationSeconds }: Omit<TaggedVersion, "digest">): string {
  // Adding 0 makes one of 0 and -0, as SQLite does.
  return `${startUs} ${(tag as Uint8Array & { toHex(): string }).toHex()} ${durationSeconds + 0}`;
}

/** Tells whether a version was cached before, delivered or not. */
export function isKnown(db: Database, bucketId: number, version: Version): boolean {
  const tag = db.cipher.tag(bucketId, version);
  return db.get(KNOWN, bucketId, version.startUs, tag, version.durationSeconds) !== undefined;
}

/** Notes a version as cached and as present in the bucket's current epoch. */
export function addVersion(db: Database, bucketId: number, version: Version, epoch: number): void {
  const { cipher } = db;
  db.run(
    ADD,
    bucketId,
    version.startUs,
    cipher.tag(bucketId, version),
    version.durationSeconds,
    epoch,
    cipher.sealDigest(bucketId, version),
  );
}

/** Notes that a privacy rule dropped a version, so that it is not taken for new when it is read again. */
export function dropVersion(db: Database, bucketId: number, version: TaggedVersion, epoch: number): void {
  const { startUs, tag, durationSeconds } = version;
  db.run(DROP, bucketId, startUs, tag, durationSeconds, epoch, db.cipher.sealDigest(bucketId, version));
}

/**
 * Notes versions that are not yet known, many at once.
 * @param firstSeq the first one's place in the outbox, where the others follow it
 * @throws {Error} when one of them is known: nothing is taken twice
 */
export function addVersions(
  db: Database,
  bucketId: number,
  versions: readonly TaggedVersion[],
  epoch: number,
  firstSeq: number,
): void {
  db.insertAll(
    ADD_MANY,
    versions.map((version, n) => [
      bucketId,
      version.startUs,
      version.tag,
      version.durationSeconds,
      epoch,
      db.cipher.sealDigest(bucketId, version),
      firstSeq + n,
    ]),
  );
}

/** All versions that were ever cached and start in [fromUs, toUs), by {@link keyOf}. */
export function versionsBetween(
  db: Database,
  bucketId: number,
  fromUs: number,
  toUs: number,
): Map<string, KnownVersion> {
  return new Map(
    db.all<KnownVersion>(BETWEEN, bucketId, fromUs, toUs).map((row) => [keyOf(row), row]),
  );
}

/**
 * Reads a version from its row; `undefined` when the row is damaged. Such a row still says by its tag that the version
 * is known; who cannot tell what it was of must not take it for deleted.
 */
export function openVersion(db: Database, bucketId: number, row: LedgerRow): Version | undefined {
  try {
    const { startUs, durationSeconds } = row;
    return { startUs, digest: db.cipher.openDigest(bucketId, row), durationSeconds };
  } catch (error) {
    if (!(error instanceof SealError)) throw error;
  }
}

/** Forgets a version that never left the device. */
export function forgetVersion(db: Database, bucketId: number, version: Version): void {
  db.run(FORGET, bucketId, version.startUs, db.cipher.tag(bucketId, version), version.durationSeconds);
}

/** Notes, once, that ActivityWatch changed or deleted a version after it was delivered. */
export function markRevised(db: Database, bucketId: number, version: Version): void {
  const tag = db.cipher.tag(bucketId, version);
  if (db.run(REVISED, bucketId, version.startUs, tag, version.durationSeconds) > 0) {
    countRevision(db, bucketId);
  }
}

/** Counts that ActivityWatch changed or deleted an event that the server has, or may have. */
export function countRevision(db: Database, bucketId: number): void {
  db.run(COUNT_REVISION, bucketId);
}

/** The newest start at or before `atUs`, or `undefined` when nothing is known. */
export function newestKnownStartUs(db: Database, bucketId: number, atUs: number): number | undefined {
  return db.get<{ startUs: number | null }>(NEWEST, bucketId, atUs)?.startUs ?? undefined;
}

/**
 * Forgets the versions that start before `beforeUs`, but always keeps the newest `keep` of them: a clock that
 * jumped ahead and back must not make the agent forget the days that it will read again. After years were collected
 * that is millions of them: about `most` are forgotten at a time, so that no write is a long one.
 * @returns how many were forgotten; call again until it is none
 */
export function pruneLedger(
  db: Database,
  bucketId: number,
  beforeUs: number,
  keep: number,
  most = 20_000,
): number {
  const startUs = (sql: string, ...values: number[]) =>
    db.get<{ startUs: number | null }>(sql, bucketId, ...values)?.startUs ?? undefined;
  const oldestUs = startUs(OLDEST);
  const nthUs = startUs(NTH_NEWEST, keep);
  if (oldestUs === undefined || nthUs === undefined) return 0;
  // Versions of one start go together, however many they are.
  const sliceUs = Math.max(oldestUs + 1, startUs(NTH_OLDEST, most) ?? Infinity);
  return db.run(PRUNE, bucketId, Math.min(beforeUs, nthUs, sliceUs));
}
