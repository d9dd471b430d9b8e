import { Buffer } from "node:buffer";
import { randomBytes } from "node:crypto";
import { KeyError } from "./errors.ts";

const KEY_BYTES = 32;

/** Where the cache's key is: its text, or a file with it. */
export type CacheKeySource =
  | { readonly text: string }
  | {
    readonly path: string;
    /** Given by the service manager, which sees to who may read it. */
    readonly credential?: boolean;
  };

/**
 * Reads the user's key.
 * @throws {KeyError} when it cannot be read, is no key, or lies where other users can read it
 */
export function readCacheKey(source: CacheKeySource, os: typeof Deno.build.os = Deno.build.os): Uint8Array {
  if ("text" in source) return parseCacheKey(source.text, "CACHE_KEY");
  const { path, credential = false } = source;
  const from = `the key file "${path}"`;
  let text: string;
  let mode: number;
  try {
    using file = Deno.openSync(path);
    mode = file.statSync().mode ?? 0;
    const bytes = new Uint8Array(4096);
    text = new TextDecoder().decode(bytes.subarray(0, file.readSync(bytes) ?? 0));
  } catch (error) {
    throw new KeyError(`Cannot read ${from}: ${error instanceof Error ? error.message : error}`, {
      cause: error,
      hint: "Set CACHE_KEY_FILE to the file with the cache's key; nothing is lost meanwhile",
    });
  }
  if (!credential && os !== "windows" && (mode & 0o077) !== 0) {
    throw new KeyError(
      `Cannot use ${from} as other users may read or change it (its mode is 0${(mode & 0o777).toString(8)})`,
      { hint: `Run chmod 600 on it; where others may have read it, rotate to a new key` },
    );
  }
  return parseCacheKey(text, from);
}

/** Reads 32 bytes in base64 or in hexadecimal digits. */
function parseCacheKey(text: string, from: string): Uint8Array {
  const trimmed = text.trim();
  const key = /^[0-9a-f]{64}$/i.test(trimmed)
    ? Buffer.from(trimmed, "hex")
    : /^[A-Za-z0-9+/_-]{43}=?$/.test(trimmed)
    ? Buffer.from(trimmed, "base64")
    : undefined;
  if (key?.length === KEY_BYTES) return key;
  throw new KeyError(`Cannot use ${from} as it must hold 32 random bytes in base64 or hexadecimal digits`, {
    hint: "Make one by lifelog-agent encryption new-key FILE",
  });
}

/**
 * Makes a key and writes it to a new file that only its owner can read. A file that is there is never touched: it may
 * be the key of a cache.
 * @throws {KeyError} when the file exists or cannot be written
 */
export function makeCacheKey(path: string): void {
  try {
    using file = Deno.openSync(path, { createNew: true, write: true, mode: 0o600 });
    const bytes = new TextEncoder().encode(`${randomBytes(KEY_BYTES).toString("base64")}\n`);
    for (let at = 0; at < bytes.length;) at += file.writeSync(bytes.subarray(at));
    file.syncSync();
  } catch (error) {
    throw new KeyError(
      `Cannot write a new key to "${path}": ${error instanceof Error ? error.message : error}`,
      {
        cause: error,
        hint: "Name a file that does not exist yet, in a folder that you may write to",
      },
    );
  }
}
