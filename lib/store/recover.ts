import { crc32 } from "node:zlib";
import { KeyError, StoreError } from "../errors.ts";
import type { Bucket } from "../event.ts";
import type { Stored } from "./cipher.ts";
import { ensureBucket } from "./cursors.ts";
import { type Database, openDatabase, openDatabaseReadOnly } from "./database.ts";
import { encryptionOf, type Inheritance, inheritanceOf } from "./encryption.ts";
import { addVersion, isKnown } from "./ledger.ts";
import { type Mark, markFile, readMark, restoredFromUs, restoreMark } from "./mark.ts";
import { getMeta, setMeta } from "./meta.ts";
import { addToOutbox } from "./outbox.ts";

const DAY_MS = 86_400_000;
/** Damaged copies that are kept; the oldest go. */
const MAX_COPIES = 3;

/** What happened to a cache that was damaged or gone, and what was done about it. */
export interface CacheLoss {
  readonly atMs: number;
  /** What was found. */
  readonly finding: string;
  /** Where the damaged file is now; absent when it was gone. */
  readonly copy?: string;
  /** From where on everything is collected again, in microseconds since 1970. */
  readonly againFromUs: number;
  /** How that is known: from the mark, from what of the damaged file could be read, or from the age of the lock. */
  readonly knownBy: "mark" | "damaged file" | "first start";
  /** Waiting events and dead letters that could be read from the damaged file. */
  readonly salvaged: number;
}

/** What {@link openCache} may be told. */
export interface OpenCacheOptions {
  readonly now?: () => number;
  readonly busyTimeoutMs?: number;
  /** What is wrong with the file, where that is known already. */
  readonly damage?: StoreError;
  /** The user's key, where the cache is or shall be encrypted: what is saved of a damaged one is read with it. */
  readonly cacheKey?: Uint8Array;
}

/**
 * Opens the cache for the agent. One that is damaged is put aside, with its copy kept, and made anew from its mark, so
 * that ActivityWatch is read again from the earliest point of which an event may not have been delivered; so is one
 * that is gone though its mark is there. Called by who holds the lock.
 * @throws {StoreError} when it cannot be opened, or is of a newer version
 * @throws {KeyError} when it is damaged and encrypted, and the key is missing or another one; nothing is done then
 */
export function openCache(
  path: string,
  options: OpenCacheOptions = {},
): { readonly db: Database; readonly loss?: CacheLoss } {
  const { now = Date.now } = options;
  const opened = options.damage ?? openSound(path, options);
  if (!(opened instanceof StoreError)) {
    const loss = fillIfEmptied(opened, now());
    return { db: opened, ...(loss === undefined ? {} : { loss }) };
  }
  const heritage = heritageOf(path, options.cacheKey);
  const copy = putAside(path, now());
  const db = openDatabase(path, options);
  using damaged = attempt(() => openDatabaseReadOnly(copy));
  const fill = (from: Database | undefined) =>
    db.transaction((): CacheLoss => {
      const { mark, knownBy } = startOf(path, from, now());
      restoreMark(db, mark);
      heritage?.handOn(db);
      return note(db, {
        atMs: now(),
        finding: opened.message,
        copy,
        againFromUs: restoredFromUs(mark),
        knownBy,
        salvaged: from === undefined ? 0 : salvage(from, db, heritage),
      });
    });
  try {
    return { db, loss: fill(damaged) };
  } catch (error) {
    if (error instanceof StoreError && ["full", "disk", "locked"].includes(error.fault)) {
      db[Symbol.dispose]();
      throw error;
    }
    // Nothing that stands in a damaged file may keep the cache from being made anew.
    return { db, loss: fill(undefined) };
  }
}

/** The keys of a damaged cache; `undefined` when they cannot be read, and nothing sealed can be saved. */
function heritageOf(path: string, cacheKey: Uint8Array | undefined): Inheritance | undefined {
  try {
    using damaged = openDatabaseReadOnly(path);
    return inheritanceOf(damaged, cacheKey);
  } catch (error) {
    if (error instanceof KeyError) throw error;
  }
}

/** Up to this size the whole cache is looked at when it is opened: some 4 ms. A larger one would hold up the start. */
const CHECK_MAX_BYTES = 4 * 1024 * 1024;

/**
 * Opens the cache and looks at the whole of it where that is quick; returns the error where it is damaged. In a larger
 * one damage is found by the check before the first work and each day, or where SQLite or a checksum meets it.
 */
function openSound(path: string, options: OpenCacheOptions): Database | StoreError {
  let db: Database | undefined;
  try {
    db = openDatabase(path, options);
    if (db.usedBytes() <= CHECK_MAX_BYTES) db.check();
    return db;
  } catch (error) {
    db?.[Symbol.dispose]();
    if (error instanceof StoreError && error.fault === "corrupt") return error;
    throw error;
  }
}

/** Fills a cache that is new though there is a mark of one before it. */
function fillIfEmptied(db: Database, nowMs: number): CacheLoss | undefined {
  const mark = getMeta(db, "collect_from_us") === undefined ? readMark(markFile(db.path)) : undefined;
  if (mark === undefined) return undefined;
  return db.transaction(() => {
    restoreMark(db, mark);
    return note(db, {
      atMs: nowMs,
      finding: `The cache "${db.path}" is gone or empty though events were collected before`,
      againFromUs: restoredFromUs(mark),
      knownBy: "mark",
      salvaged: 0,
    });
  });
}

function note(db: Database, loss: CacheLoss): CacheLoss {
  setMeta(db, "cache_loss", JSON.stringify(loss));
  return loss;
}

/** Moves the file and the logs beside it to another name. */
function putAside(path: string, nowMs: number): string {
  const stamp = new Date(nowMs).toISOString().replace(/[-:]|\.\d+/g, "");
  let copy = `${path}.damaged-${stamp}`;
  for (let n = 2; exists(copy); n++) copy = `${path}.damaged-${stamp}-${n}`;
  try {
    // The logs first: without them the file would be one of an earlier time, and nobody would see.
    for (const suffix of ["-wal", "-shm", ""]) {
      if (exists(path + suffix)) Deno.renameSync(path + suffix, copy + suffix);
    }
  } catch (error) {
    throw new StoreError(`Cannot put the damaged cache "${path}" aside: ${String(error)}`, {
      cause: error,
      hint: "Check that you may write to its folder, or move the file away",
    });
  }
  forgetOldCopies(path);
  return copy;
}

function forgetOldCopies(path: string): void {
  try {
    for (const copy of copiesOf(path).slice(0, -MAX_COPIES)) {
      for (const suffix of ["", "-wal", "-shm"]) if (exists(copy + suffix)) Deno.removeSync(copy + suffix);
    }
  } catch { /* copies too many are no reason to stop */ }
}

/** The copies of damaged caches, the oldest first. */
function copiesOf(path: string): string[] {
  const slash = Math.max(path.lastIndexOf("/"), path.lastIndexOf("\\"));
  const folder = slash === -1 ? "." : path.slice(0, slash);
  const prefix = `${path.slice(slash + 1)}.damaged-`;
  return [...Deno.readDirSync(folder)].map(({ name }) => name)
    .filter((name) => name.startsWith(prefix) && !/-(wal|shm)$/.test(name)).sort()
    .map((name) => `${folder}/${name}`);
}

/** The copies of damaged caches in which events may stand that can be read without a key. */
export function readableCopies(path: string): string[] {
  const isSealed = (copy: string) => {
    using db = openDatabaseReadOnly(copy);
    return encryptionOf(db).state === "on";
  };
  return (attempt(() => copiesOf(path)) ?? []).filter((copy) => attempt(() => isSealed(copy)) !== true);
}

/** From where on the lost cache has to be made again: by the mark, or else by what can be found out. */
function startOf(
  path: string,
  damaged: Database | undefined,
  nowMs: number,
): { mark: Mark; knownBy: CacheLoss["knownBy"] } {
  const mark = readMark(markFile(path));
  if (mark !== undefined) return { mark, knownBy: "mark" };
  const from = (collectFromUs: number): Mark => ({ collectFromUs, madeAtMs: nowMs, buckets: [] });
  const kept = attempt(() => Number(damaged && getMeta(damaged, "collect_from_us"))) ?? NaN;
  if (Number.isSafeInteger(kept)) return { mark: from(kept), knownBy: "damaged file" };
  // The lock was made at the first start, which collected from 24 hours back.
  const born = attempt(() => Deno.statSync(`${path}.lock`).birthtime) ?? undefined;
  return { mark: from(((born?.getTime() ?? nowMs) - DAY_MS) * 1000), knownBy: "first start" };
}

interface KeptRow {
  readonly seq: number;
  readonly bucket_id: number;
  readonly start_us: number;
  readonly digest: Uint8Array;
  readonly duration: number;
  readonly cached_at_ms: number;
  readonly body: Stored;
  readonly crc: number | null;
  readonly status?: number | null;
  readonly reason?: Stored;
  readonly dead_at_ms?: number;
}

/**
 * Takes over the waiting events and dead letters that can be read and whose checksums or seals hold. Most of them will
 * be collected again as well; but ActivityWatch may no longer have all of them.
 */
function salvage(damaged: Database, db: Database, heritage: Inheritance | undefined): number {
  const names = new Map<number, Bucket>();
  const rows = attempt(() =>
    damaged.all<{ id: number; name: string; type: Bucket["type"]; created: string }>(
      "SELECT id, name, type, created FROM bucket",
    )
  );
  for (const { id, name, type, created } of rows ?? []) {
    names.set(id, { id: name, type, created, hostname: "" });
  }
  let taken = 0;
  let lastSeq = attempt(() => damaged.get<{ seq: number }>(LAST_SEQ)?.seq) ?? 0;
  if (!Number.isSafeInteger(lastSeq) || lastSeq > MAX_SEQ) lastSeq = 0;
  // Dead letters keep their place in the queue, to which their seals are bound; the waiting events come after them.
  for (const table of ["dead_letter", "outbox"] as const) {
    // The note of what is delivered is not believed here: what it would leave out is only sent again.
    for (const row of readable(damaged, table)) {
      const bucket = names.get(row.bucket_id);
      const opened = bucket && isSound(row) ? attempt(() => openRow(row, heritage)) : undefined;
      if (bucket === undefined || opened === undefined) continue;
      const { id, epoch } = ensureBucket(db, bucket);
      const { body, digest, reason } = opened;
      const version = { startUs: row.start_us, digest, durationSeconds: row.duration };
      // From a damaged tree the same row may come twice.
      if (isKnown(db, id, version)) continue;
      if (table === "outbox") addToOutbox(db, id, version, body, row.cached_at_ms, 0, epoch);
      else {
        addVersion(db, id, version, epoch);
        const { seq, start_us, duration, cached_at_ms, status = null, dead_at_ms = 0 } = row;
        const stored = db.cipher.sealBody({ seq, bucketId: id }, digest, body);
        const crc = typeof stored === "string" ? crc32(stored) : null;
        const tag = db.cipher.tag(id, version);
        const words = db.cipher.sealReason(seq, reason);
        db.run(
          ADD_DEAD,
          seq,
          id,
          start_us,
          tag,
          duration,
          cached_at_ms,
          stored,
          crc,
          status,
          words,
          dead_at_ms,
        );
      }
      lastSeq = Math.max(lastSeq, row.seq);
      taken++;
    }
    // A place in the queue is never used again, also not one of the lost cache.
    if (table === "dead_letter") db.run(GO_ON_AFTER, lastSeq);
  }
  return taken;
}

const LAST_SEQ = "SELECT seq FROM sqlite_sequence WHERE name = 'outbox'";
/** In a new cache nothing was ever queued, so that there is no such row yet. */
const GO_ON_AFTER = "INSERT INTO sqlite_sequence (name, seq) VALUES ('outbox', ?)";

/** Far beyond any place in a queue: one such would leave no place for those that come after. */
const MAX_SEQ = 2 ** 48;

/** In a damaged row a column may hold what its table would never take. */
function isSound(row: KeptRow): boolean {
  const { seq, start_us, cached_at_ms, duration, digest, status = null, dead_at_ms = 0 } = row;
  return seq > 0 && seq < MAX_SEQ && [start_us, cached_at_ms, dead_at_ms].every(Number.isSafeInteger) &&
    Number.isFinite(duration) && digest instanceof Uint8Array && digest.length === 16 &&
    (status === null || Number.isSafeInteger(status));
}

const ADD_DEAD = `INSERT OR REPLACE INTO dead_letter
    (seq, bucket_id, start_us, digest, duration, cached_at_ms, body, crc, status, reason, dead_at_ms)
  VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`;

/** What a row holds; `undefined`, or an error, when it is not what was put in. */
function openRow(
  row: KeptRow,
  heritage: Inheritance | undefined,
): { body: string; digest: Uint8Array; reason: string } | undefined {
  const { seq, body, digest, reason = "" } = row;
  const place = { seq, bucketId: row.bucket_id };
  const read = (stored: Stored) =>
    typeof stored === "string" ? stored : heritage!.cipherOf(stored).openReason(seq, stored);
  if (typeof body === "string") {
    // Who can write the file could plant it.
    if (heritage?.sealed) return undefined;
    return row.crc === crc32(body) ? { body, digest, reason: read(reason) } : undefined;
  }
  const cipher = heritage!.cipherOf(body);
  return {
    body: cipher.openBody(place, body),
    digest: cipher.bodyDigest(place, digest, body),
    reason: read(reason),
  };
}

/** The rows that can be read: from the front up to the first page that cannot, then from the back. */
function* readable(damaged: Database, table: "outbox" | "dead_letter"): Iterable<KeptRow> {
  const next = (where: string, seq: number) =>
    attempt(() => damaged.get<KeptRow>(`SELECT * FROM ${table} WHERE seq ${where} LIMIT 1`, seq));
  // In a damaged tree the row that is found may be another than was asked for: it would be found without an end.
  let first = -1;
  for (let row; (row = next("> ? ORDER BY seq", first)) !== undefined && row.seq > first; first = row.seq) {
    yield row;
  }
  let last = Number.MAX_SAFE_INTEGER;
  for (let row; (row = next("< ? ORDER BY seq DESC", last)) !== undefined && row.seq < last; last = row.seq) {
    if (row.seq <= first) return;
    yield row;
  }
}

function attempt<T>(work: () => T): T | undefined {
  try {
    return work();
  } catch {
    return undefined;
  }
}

function exists(path: string): boolean {
  return attempt(() => Deno.lstatSync(path)) !== undefined;
}
