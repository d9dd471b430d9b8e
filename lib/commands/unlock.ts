import { type CacheKeySource, readCacheKey } from "../cache_key.ts";
import { KeyError } from "../errors.ts";
import type { Database } from "../store/database.ts";
import {
  beginSealing,
  type ConversionProgress,
  convert,
  encryptionOf,
  type EncryptionState,
  unlock,
} from "../store/encryption.ts";

/** What {@link prepareCache} may be told. */
export interface PrepareOptions {
  readonly onProgress?: (progress: ConversionProgress, state: EncryptionState) => void;
  readonly signal?: AbortSignal;
  readonly now?: () => number;
}

/** What {@link prepareCache} did. */
export interface Preparation {
  /** Absent when nothing was to be converted. */
  readonly converted?: ConversionProgress;
}

/**
 * Makes the cache ready for the agent: unlocks it, finishes a change of its encryption that was begun, and encrypts
 * one that is not where a key is set, so that nothing is written in the clear that was meant to be sealed.
 *
 * @throws {KeyError} when the key is missing or another one, or one is set though encryption was turned off
 */
export async function prepareCache(
  db: Database,
  key: Uint8Array | undefined,
  options: PrepareOptions = {},
): Promise<Preparation> {
  const { state, turnedOff } = encryptionOf(db);
  if (state === "off") {
    if (key === undefined) return {};
    // Whoever can write the file could have said so: nothing is written in the clear while a key is set.
    if (turnedOff) {
      throw new KeyError("Cannot use the cache as its encryption was turned off though a key is set", {
        hint: "Remove CACHE_KEY_FILE or CACHE_KEY from the settings, or run lifelog-agent encryption enable",
      });
    }
    beginSealing(db, key, (options.now ?? Date.now)());
  }
  if (state === "on") {
    unlock(db, key);
    return {};
  }
  return { converted: await convertAll(db, key, options) };
}

/** Runs a conversion to its end, with a rest for others after each step. */
export async function convertAll(
  db: Database,
  key: Uint8Array | undefined,
  { onProgress, signal }: PrepareOptions = {},
): Promise<ConversionProgress> {
  const { state } = encryptionOf(db);
  const steps = convert(db, key);
  for (;;) {
    const step = steps.next();
    onProgress?.(step.value, state);
    if (step.done) return step.value;
    await new Promise((resolve) => setTimeout(resolve, 0));
    signal?.throwIfAborted();
  }
}

/** Unlocks the cache for a command that only looks into it, maybe beside a running agent. Changes nothing. */
export function unlockToRead(db: Database, source: CacheKeySource | undefined): void {
  unlock(db, encryptionOf(db).state === "off" ? undefined : source && readCacheKey(source));
}
