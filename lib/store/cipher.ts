import { Buffer } from "node:buffer";
import { createCipheriv, createDecipheriv, createHmac, hkdfSync, randomFillSync } from "node:crypto";
import { KeyError, SealError } from "../errors.ts";
import type { Version } from "./ledger.ts";

const ALGORITHM = "aes-256-gcm";
/** The first byte of all that is sealed: another layout will have another one. */
const LAYOUT = 1;
const NONCE_BYTES = 12;
const TAG_BYTES = 16;
/** Layout, version of the key, nonce. */
const HEAD_BYTES = 1 + 4 + NONCE_BYTES;
const DIGEST_BYTES = 16;

/** What each sealed value is for. Part of what is authenticated, so that none passes for one of another kind. */
const Purpose = { Body: 1, Reason: 2, Version: 3, DataKey: 4 } as const;

/** Text as it stands in a column: itself, or sealed. */
export type Stored = string | Uint8Array;

/** The row that a text belongs to. A sealed text opens nowhere else. */
export interface Place {
  readonly seq: number;
  readonly bucketId: number;
}

/**
 * The one seam between the cache and its encryption: whatever holds an event's content, or a hash of it, passes
 * through here on its way into a column and out of it.
 */
export interface Cipher {
  /** The version of the key, or 0 where nothing is sealed. */
  readonly keyVersion: number;
  /** Puts an event's text in the form of the column `body`; beside it goes the digest of its data. */
  sealBody(place: Place, digest: Uint8Array, body: string): Stored;
  /** @throws {SealError} when it was changed, belongs to another row, or was sealed by another key */
  openBody(place: Place, stored: Stored): string;
  /**
   * The digest that belongs to a body, from what stands beside it: the ledger may have forgotten the version.
   * @throws {SealError} as {@link Cipher.openBody}
   */
  bodyDigest(place: Place, tag: Uint8Array, stored: Stored): Uint8Array;
  /** Puts the reason of a dead letter, which may quote the event, in the form of its column. */
  sealReason(seq: number, reason: string): Stored;
  /** @throws {SealError} as {@link Cipher.openBody} */
  openReason(seq: number, stored: Stored): string;
  /** What stands in the column `digest`: the same for the same version, and no hash of anything that could be guessed. */
  tag(bucketId: number, version: Version): Uint8Array;
  /** What stands in the ledger beside the tag, from which the digest comes back. */
  sealDigest(bucketId: number, version: Version & { readonly tag?: Uint8Array }): Uint8Array | null;
  /**
   * The digest of a ledger's row.
   * @throws {SealError} as {@link Cipher.openBody}
   */
  openDigest(bucketId: number, row: LedgerRow): Uint8Array;
}

/** A version as it stands in the ledger. */
export interface LedgerRow {
  readonly startUs: number;
  readonly tag: Uint8Array;
  readonly durationSeconds: number;
  readonly sealed: Uint8Array | null;
}

/** Leaves everything as it is: a cache that is not encrypted. */
export const PLAIN: Cipher = {
  keyVersion: 0,
  sealBody: (_place, _digest, body) => body,
  openBody: (_place, stored) => plainText(stored),
  bodyDigest: (_place, tag, stored) => (plainText(stored), tag),
  sealReason: (_seq, reason) => reason,
  openReason: (_seq, stored) => plainText(stored),
  tag: (_bucketId, { digest }) => digest,
  sealDigest: () => null,
  openDigest(_bucketId, { tag, sealed }) {
    if (sealed === null) return tag;
    throw new SealError("The ledger's row is sealed and no key was given");
  },
};

function plainText(stored: Stored): string {
  if (typeof stored === "string") return stored;
  throw new SealError("The entry is sealed and no key was given");
}

/** Refuses everything: an encrypted cache before it is unlocked, in which nothing readable may come to stand. */
export const LOCKED: Cipher = {
  keyVersion: -1,
  sealBody: locked,
  openBody: locked,
  bodyDigest: locked,
  sealReason: locked,
  openReason: locked,
  tag: locked,
  sealDigest: locked,
  openDigest: locked,
};

function locked(): never {
  throw new KeyError("Cannot read the cache as it is encrypted and no key is set", {
    hint: "Set CACHE_KEY_FILE to the file with its key; nothing is lost meanwhile",
  });
}

/** A key that seals one cache's rows, and its version. */
export interface DataKey {
  readonly version: number;
  /** 32 random bytes. */
  readonly bytes: Uint8Array;
}

/**
 * Seals with AES-256-GCM under a random 96-bit nonce for each value (safe for 2^32 of them under one key; a device
 * makes some million a year), and tags versions with HMAC-SHA-256. What is authenticated beside the text is what it
 * is for and the row it stands in. A sealed value is: layout, version of the key, nonce, ciphertext, tag of GCM.
 */
export function createCipher({ version: keyVersion, bytes }: DataKey): Cipher {
  const sealKey = derive(bytes, "lifelog-agent seal");
  const tagKey = derive(bytes, "lifelog-agent tag");

  function tag(bucketId: number, { startUs, digest, durationSeconds }: Version): Uint8Array {
    // With the start, so that the same title at two times is not seen to be the same.
    const place = words(bucketId, startUs, durationSeconds + 0);
    return createHmac("sha256", tagKey).update(place).update(digest).digest().subarray(0, DIGEST_BYTES);
  }

  const versionAad = (bucketId: number, row: LedgerRow) =>
    Buffer.concat([words(Purpose.Version, bucketId, row.startUs, row.durationSeconds + 0), row.tag]);

  return {
    keyVersion,
    sealBody({ seq, bucketId }, digest, body) {
      const text = Buffer.concat([digest, Buffer.from(body, "utf8")]);
      return seal(sealKey, keyVersion, words(Purpose.Body, seq, bucketId), text);
    },
    openBody({ seq, bucketId }, stored) {
      const text = open(sealKey, keyVersion, words(Purpose.Body, seq, bucketId), stored);
      return text.toString("utf8", DIGEST_BYTES);
    },
    bodyDigest({ seq, bucketId }, _tag, stored) {
      const text = open(sealKey, keyVersion, words(Purpose.Body, seq, bucketId), stored);
      return text.subarray(0, DIGEST_BYTES);
    },
    sealReason: (seq, reason) =>
      seal(sealKey, keyVersion, words(Purpose.Reason, seq), Buffer.from(reason, "utf8")),
    openReason: (seq, stored) =>
      open(sealKey, keyVersion, words(Purpose.Reason, seq), stored).toString("utf8"),
    tag,
    sealDigest(bucketId, version) {
      const row = { ...version, tag: version.tag ?? tag(bucketId, version), sealed: null };
      return seal(sealKey, keyVersion, versionAad(bucketId, row), version.digest);
    },
    openDigest(bucketId, row) {
      if (row.sealed === null) throw new SealError("The ledger's row is not sealed");
      return open(sealKey, keyVersion, versionAad(bucketId, row), row.sealed);
    },
  };
}

/** The version of the key that sealed a value; 0 for what is not sealed. */
export function keyVersionOf(stored: Stored | null): number {
  return stored === null || typeof stored === "string" || stored.length < HEAD_BYTES
    ? 0
    : new DataView(stored.buffer, stored.byteOffset).getUint32(1);
}

/** Seals a data key with the user's key, so that it can be kept in the cache. */
export function wrapDataKey(userKey: Uint8Array, { version, bytes }: DataKey): Uint8Array {
  return seal(derive(userKey, "lifelog-agent wrap"), version, words(Purpose.DataKey, version), bytes);
}

/**
 * Opens a data key.
 * @throws {SealError} when the user's key is another one
 */
export function unwrapDataKey(userKey: Uint8Array, version: number, wrapped: Uint8Array): DataKey {
  const key = derive(userKey, "lifelog-agent wrap");
  return { version, bytes: open(key, version, words(Purpose.DataKey, version), wrapped) };
}

function derive(key: Uint8Array, purpose: string): Buffer {
  return Buffer.from(hkdfSync("sha256", key, new Uint8Array(0), purpose, 32));
}

/** Numbers side by side, eight bytes each: all that is written here is exact in a double. */
function words(...numbers: number[]): Buffer {
  const bytes = Buffer.allocUnsafe(numbers.length * 8);
  numbers.forEach((number, at) => bytes.writeDoubleBE(number, at * 8));
  return bytes;
}

function seal(key: Buffer, version: number, aad: Uint8Array, text: Uint8Array): Uint8Array {
  const sealed = Buffer.allocUnsafe(HEAD_BYTES + text.length + TAG_BYTES);
  sealed[0] = LAYOUT;
  sealed.writeUInt32BE(version, 1);
  const nonce = sealed.subarray(5, HEAD_BYTES);
  randomFillSync(nonce);
  const cipher = createCipheriv(ALGORITHM, key, nonce).setAAD(aad);
  sealed.set(cipher.update(text), HEAD_BYTES);
  cipher.final();
  sealed.set(cipher.getAuthTag(), HEAD_BYTES + text.length);
  return sealed;
}

function open(key: Buffer, version: number, aad: Uint8Array, stored: Stored): Buffer {
  if (typeof stored === "string") {
    throw new SealError("The entry is not sealed though the cache is encrypted");
  }
  if (stored.length < HEAD_BYTES + TAG_BYTES || stored[0] !== LAYOUT) {
    throw new SealError("The entry is not sealed in a way that this version knows");
  }
  if (keyVersionOf(stored) !== version) throw new SealError("The entry was sealed by another key");
  try {
    const decipher = createDecipheriv(ALGORITHM, key, stored.subarray(5, HEAD_BYTES), {
      authTagLength: TAG_BYTES,
    }).setAAD(aad).setAuthTag(stored.subarray(-TAG_BYTES));
    const text = decipher.update(stored.subarray(HEAD_BYTES, -TAG_BYTES));
    decipher.final();
    return text;
  } catch (error) {
    throw new SealError("The entry was changed, or belongs to another place, or was sealed by another key", {
      cause: error,
    });
  }
}
