import { randomBytes } from "node:crypto";
import { crc32 } from "node:zlib";
import { KeyError, SealError, StoreError } from "../errors.ts";
import {
  type Cipher,
  createCipher,
  type DataKey,
  keyVersionOf,
  type LedgerRow,
  PLAIN,
  type Stored,
  unwrapDataKey,
  wrapDataKey,
} from "./cipher.ts";
import { corruption, type Database } from "./database.ts";
import { getMeta, setMeta } from "./meta.ts";

/** Rows changed in one transaction. */
const BATCH_ROWS = 500;

const KEYS = "SELECT version, wrapped, made_at_ms AS madeAtMs FROM data_key ORDER BY version";
const ADD_KEY = "INSERT INTO data_key (version, wrapped, made_at_ms) VALUES (?, ?, ?)";
const REWRAP = "UPDATE data_key SET wrapped = ? WHERE version = ?";
const DROP_KEYS = "DELETE FROM data_key WHERE version < ?";
const TOTAL = `SELECT (SELECT count(*) FROM outbox) + (SELECT count(*) FROM dead_letter) +
  (SELECT count(*) FROM ledger) AS rows`;
const OUTBOX =
  `SELECT seq, bucket_id AS bucketId, start_us AS startUs, digest AS tag, duration AS durationSeconds,
    body, crc FROM outbox WHERE seq > ? ORDER BY seq LIMIT ${BATCH_ROWS}`;
const READABLE = `SELECT 1 AS found FROM outbox WHERE typeof(body) = 'text'
  UNION ALL SELECT 1 FROM dead_letter WHERE typeof(body) = 'text' LIMIT 1`;
const SET_OUTBOX = "UPDATE outbox SET digest = ?, body = ?, crc = ? WHERE seq = ?";
const DEAD =
  `SELECT seq, bucket_id AS bucketId, start_us AS startUs, digest AS tag, duration AS durationSeconds,
    body, crc, reason FROM dead_letter WHERE seq > ? ORDER BY seq LIMIT ${BATCH_ROWS}`;
const SET_DEAD = "UPDATE dead_letter SET digest = ?, body = ?, crc = ?, reason = ? WHERE seq = ?";
const LEDGER_COLUMNS =
  "bucket_id AS bucketId, start_us AS startUs, digest AS tag, duration AS durationSeconds, sealed";
const LEDGER = `SELECT ${LEDGER_COLUMNS} FROM ledger WHERE (bucket_id, start_us) > (?, ?)
  ORDER BY bucket_id, start_us LIMIT ${BATCH_ROWS}`;
const LEDGER_AT = `SELECT ${LEDGER_COLUMNS} FROM ledger WHERE bucket_id = ? AND start_us = ?`;
const SET_LEDGER = `UPDATE ledger SET digest = ?, sealed = ?
  WHERE bucket_id = ? AND start_us = ? AND digest = ? AND duration = ?`;

/**
 * How far the encryption of a cache is. `sealing`, `scrubbing` and `opening` are work that was begun: it is gone on
 * with by {@link convert} before anything else is done with the cache.
 */
export type EncryptionState = "off" | "sealing" | "scrubbing" | "on" | "opening";

/** What {@link encryptionOf} tells. */
export interface Encryption {
  readonly state: EncryptionState;
  /** Whether somebody once turned it off, rather than never on. */
  readonly turnedOff: boolean;
  /** The version of the key that rows are or will be sealed with; 0 for none. */
  readonly keyVersion: number;
  readonly keyMadeAtMs: number;
}

/** How far a conversion has come, in rows. */
export interface ConversionProgress {
  readonly done: number;
  readonly total: number;
  /** Rows that could not be opened and were left as they are. */
  readonly damaged: number;
}

interface KeyRow {
  readonly version: number;
  readonly wrapped: Uint8Array;
  readonly madeAtMs: number;
}

interface EntryRow extends LedgerRow {
  readonly seq: number;
  readonly bucketId: number;
  readonly body: Stored;
  readonly crc: number | null;
  readonly reason?: Stored;
}

/** Tells how far the encryption of a cache is; needs no key. */
export function encryptionOf(db: Database): Encryption {
  const kept = getMeta(db, "encryption");
  const newest = db.all<KeyRow>(KEYS).at(-1);
  return {
    state: (kept ?? "off") as EncryptionState,
    turnedOff: kept === "off",
    keyVersion: newest?.version ?? 0,
    keyMadeAtMs: newest?.madeAtMs ?? 0,
  };
}

/**
 * Opens an encrypted cache for use. One that is not encrypted is left as it is.
 * @throws {KeyError} when the key is missing or another one
 * @throws {StoreError} when a conversion was begun and not finished
 */
export function unlock(db: Database, userKey: Uint8Array | undefined): void {
  const { state, keyVersion } = encryptionOf(db);
  if (state === "off") {
    db.cipher = PLAIN;
    return;
  }
  const key = keyring(db, userKey).get(keyVersion);
  if (state !== "on" || key === undefined) {
    throw new StoreError("Cannot use the cache as a change of its encryption was begun and not finished", {
      hint: "Run the agent, or lifelog-agent encryption enable or disable, to finish it",
    });
  }
  db.cipher = createCipher(key);
  db.eraseDeleted();
}

/** Begins to encrypt a cache that is not. What was begun is finished by {@link convert}. */
export function beginSealing(db: Database, userKey: Uint8Array, nowMs: number): void {
  db.transaction(() => {
    addKey(db, userKey, 1, nowMs);
    setMeta(db, "encryption", "sealing");
  });
}

/**
 * Begins to change the keys of an encrypted cache: the user's and the ones that rows are sealed with. From here on
 * only the new key opens it, also while the change is under way.
 * @throws {KeyError} when the old key does not open it
 */
export function beginRotation(db: Database, oldKey: Uint8Array, newKey: Uint8Array, nowMs: number): void {
  const keys = keyring(db, oldKey);
  db.transaction(() => {
    for (const key of keys.values()) db.run(REWRAP, wrapDataKey(newKey, key), key.version);
    addKey(db, newKey, Math.max(...keys.keys()) + 1, nowMs);
    setMeta(db, "encryption", "sealing");
  });
}

/**
 * Begins to make an encrypted cache readable again.
 * @throws {KeyError} when the key does not open it
 */
export function beginOpening(db: Database, userKey: Uint8Array): void {
  keyring(db, userKey);
  db.transaction(() => setMeta(db, "encryption", "opening"));
}

function addKey(db: Database, userKey: Uint8Array, version: number, nowMs: number): void {
  db.run(ADD_KEY, version, wrapDataKey(userKey, { version, bytes: randomBytes(32) }), nowMs);
}

/** The keys that rows are sealed with, by version. */
function keyring(db: Database, userKey: Uint8Array | undefined): Map<number, DataKey> {
  if (userKey === undefined) {
    throw new KeyError("Cannot open the cache as it is encrypted and no key is set", {
      hint: "Set CACHE_KEY_FILE to the file with its key; nothing is lost meanwhile",
    });
  }
  try {
    return new Map(
      db.all<KeyRow>(KEYS).map((row) => [row.version, unwrapDataKey(userKey, row.version, row.wrapped)]),
    );
  } catch (error) {
    if (!(error instanceof SealError)) throw error;
    throw new KeyError("Cannot open the cache as it is encrypted with another key than the one that is set", {
      cause: error,
      hint: "Set CACHE_KEY_FILE to the right key (after a rotation the new one); nothing is lost meanwhile",
    });
  }
}

/** What the rows of a damaged cache can be read with, and what is made in its place goes on with. */
export interface Inheritance {
  /** Whether every row of it was sealed: none then that is not is its own. */
  readonly sealed: boolean;
  /** @throws {SealError} when none of its keys sealed the value */
  readonly cipherOf: (stored: Stored) => Cipher;
  /** Gives the new cache the keys of the damaged one, and unlocks it. Called inside a transaction. */
  readonly handOn: (db: Database) => void;
}

/**
 * Reads the keys of a damaged cache.
 * @throws {KeyError} when it is encrypted and the user's key is missing or another one
 */
export function inheritanceOf(damaged: Database, userKey: Uint8Array | undefined): Inheritance {
  const rows = damaged.all<KeyRow>(KEYS);
  const newest = rows.at(-1);
  if (newest === undefined) return { sealed: false, cipherOf: () => PLAIN, handOn: () => {} };
  const ciphers = new Map(
    [...keyring(damaged, userKey).values()].map((key) => [key.version, createCipher(key)]),
  );
  const { state } = encryptionOf(damaged);
  const opening = state === "opening";
  return {
    sealed: state === "on" || state === "scrubbing",
    cipherOf: (stored) => ciphers.get(keyVersionOf(stored)) ?? PLAIN,
    handOn(db) {
      setMeta(db, "encryption", opening ? "off" : "on");
      if (opening) return;
      db.run(ADD_KEY, newest.version, newest.wrapped, newest.madeAtMs);
      db.cipher = ciphers.get(newest.version)!;
      db.eraseDeleted();
    },
  };
}

/**
 * Goes on with what was begun, until the cache is wholly encrypted, or wholly readable, and ready for use. Each step
 * is one transaction of some hundred rows; whoever stops between two, or is killed within one, goes on later from
 * there. When all rows are sealed the file is written anew, so that nothing readable is left in freed pages or in the
 * log.
 *
 * @throws {KeyError} when the key is missing or another one
 * @throws {StoreError} when another program reads in the cache, so that its log cannot be emptied
 */
export function* convert(
  db: Database,
  userKey: Uint8Array | undefined,
): Generator<ConversionProgress, ConversionProgress> {
  const { state, keyVersion } = encryptionOf(db);
  const progress = { done: 0, total: 0, damaged: 0 };
  if (state === "off" || state === "on") return progress;
  const keys = keyring(db, userKey);
  const sealing = state !== "opening";
  const ciphers = new Map([...keys.values()].map((key) => [key.version, createCipher(key)]));
  const target = sealing ? ciphers.get(keyVersion)! : PLAIN;
  if (state !== "scrubbing") {
    db.eraseDeleted();
    progress.total = db.get<{ rows: number }>(TOTAL)!.rows;
    const conversion = { db, target, from: (version: number) => ciphers.get(version) ?? PLAIN, progress };
    for (let done = false; !done;) {
      yield* convertEntries(conversion, OUTBOX);
      yield* convertEntries(conversion, DEAD);
      yield* convertLedger(conversion);
      done = db.transaction(() => {
        // A dead letter that is put back in the queue meanwhile may have come behind where this already was.
        if (sealing && db.get(READABLE) !== undefined) return false;
        db.run(DROP_KEYS, sealing ? keyVersion : keyVersion + 1);
        setMeta(db, "encryption", sealing ? "scrubbing" : "off");
        return true;
      });
    }
  }
  if (sealing) {
    if (!db.scrub(["outbox", "dead_letter", "ledger"])) {
      throw new StoreError("Cannot empty the cache's log as another program reads in the cache", {
        hint: "End what else has the cache open, then start again: it goes on from here",
      });
    }
    db.transaction(() => setMeta(db, "encryption", "on"));
  }
  db.cipher = target;
  return progress;
}

interface Conversion {
  readonly db: Database;
  readonly target: Cipher;
  readonly from: (version: number) => Cipher;
  readonly progress: { done: number; total: number; damaged: number };
}

/** Converts the outbox or the dead letters, in the order of their places. */
function* convertEntries(
  { db, target, from, progress }: Conversion,
  select: typeof OUTBOX | typeof DEAD,
): Generator<ConversionProgress> {
  for (let afterSeq = -1;;) {
    const rows = db.all<EntryRow>(select, afterSeq);
    if (rows.length === 0) return;
    db.transaction(() => {
      for (const row of rows) {
        const { seq, bucketId, body, reason, tag } = row;
        try {
          if (keyVersionOf(body) === target.keyVersion) continue;
          const cipher = from(keyVersionOf(body));
          const digest = cipher.bodyDigest(row, tag, body);
          const text = cipher.openBody(row, body);
          if (typeof body === "string" && row.crc !== null && crc32(body) !== row.crc) {
            throw corruption(db.path, `the checksum of entry ${seq} is another than its text's`);
          }
          const stored = target.sealBody(row, digest, text);
          // What is sealed has a checksum of its own in its seal.
          const crc = typeof stored === "string" ? crc32(stored) : null;
          const newTag = target.tag(bucketId, { ...row, digest });
          if (reason === undefined) db.run(SET_OUTBOX, newTag, stored, crc, seq);
          else {
            const words = from(keyVersionOf(reason)).openReason(seq, reason);
            db.run(SET_DEAD, newTag, stored, crc, target.sealReason(seq, words), seq);
          }
        } catch (error) {
          if (!(error instanceof SealError)) throw error;
          progress.damaged++;
        }
      }
    });
    afterSeq = rows.at(-1)!.seq;
    progress.done += rows.length;
    yield { ...progress };
  }
}

/** Converts the ledger, bucket by bucket in the order of starts; those of one start are never torn apart. */
function* convertLedger({ db, target, from, progress }: Conversion): Generator<ConversionProgress> {
  let after: { bucketId: number; startUs: number } = { bucketId: -1, startUs: 0 };
  for (;;) {
    let rows = db.all<LedgerRow & { bucketId: number }>(LEDGER, after.bucketId, after.startUs);
    const last = rows.at(-1);
    if (last === undefined) return;
    if (rows.length === BATCH_ROWS) {
      const whole = rows.filter((row) => row.bucketId !== last.bucketId || row.startUs !== last.startUs);
      rows = whole.length > 0 ? whole : db.all(LEDGER_AT, last.bucketId, last.startUs);
    }
    db.transaction(() => {
      for (const row of rows) {
        const { bucketId, startUs, tag, durationSeconds, sealed } = row;
        if (keyVersionOf(sealed) === target.keyVersion) continue;
        try {
          const digest = from(keyVersionOf(sealed)).openDigest(bucketId, row);
          const newTag = target.tag(bucketId, { startUs, digest, durationSeconds });
          const newSealed = target.sealDigest(bucketId, { startUs, digest, durationSeconds, tag: newTag });
          db.run(SET_LEDGER, newTag, newSealed, bucketId, startUs, tag, durationSeconds);
        } catch (error) {
          if (!(error instanceof SealError)) throw error;
          progress.damaged++;
        }
      }
    });
    after = rows.at(-1)!;
    progress.done += rows.length;
    yield { ...progress };
  }
}
