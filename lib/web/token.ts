import { createHash, createHmac, randomBytes, timingSafeEqual } from "node:crypto";
import { dirname, join } from "node:path";
import { StoreError } from "../errors.ts";
import { refuseForeignFile } from "../private_files.ts";

/** The file of the token that opens the dashboard: beside the cache, so that each agent has its own. */
export function webTokenFile(cachePath: string): string {
  return join(dirname(cachePath), "dashboard-token");
}

/**
 * Reads the token that opens the dashboard and the metrics, or makes one and keeps it, for its user's eyes only.
 * Written whole or not at all. Whoever removes the file and restarts the agent has shut all open pages out.
 * @throws {StoreError} when the file cannot be read or written, or holds no token
 */
export function readOrCreateWebToken(path: string): string {
  const hint = "Check that you may read and write it, or remove it: the agent makes a new one when it starts";
  const read = () => Deno.readTextFileSync(path).trim();
  let token: string;
  try {
    refuseForeignFile(path);
    try {
      token = read();
    } catch (error) {
      if (!(error instanceof Deno.errors.NotFound)) throw error;
      const draft = `${path}.${Deno.pid}.new`;
      Deno.writeTextFileSync(draft, `${randomBytes(32).toString("base64url")}\n`, {
        mode: 0o600,
        createNew: true,
      });
      Deno.renameSync(draft, path);
      token = read();
    }
    // It may have been copied here from a backup that forgot whose it is.
    if (Deno.build.os !== "windows") Deno.chmodSync(path, 0o600);
  } catch (error) {
    if (error instanceof StoreError) throw error;
    throw new StoreError(
      `Cannot read the dashboard's token in "${path}": ${error instanceof Error ? error.message : error}`,
      { cause: error, hint },
    );
  }
  if (/^[\w-]{32,}$/.test(token)) return token;
  throw new StoreError(
    `Cannot read the dashboard's token in "${path}" as it must be 32 or more letters and digits`,
    {
      hint,
    },
  );
}

/**
 * What the browser keeps in place of the token: it follows from the token, so that a page stays open over a restart
 * of the agent, and the token does not follow from it.
 */
export function sessionOf(token: string): string {
  return createHmac("sha256", token).update("lifelog-agent session 1").digest("base64url");
}

/** Compares two secrets in a time that tells nothing of where they differ. */
export function sameSecret(a: string, b: string): boolean {
  const hash = (text: string) => createHash("sha256").update(text).digest();
  return timingSafeEqual(hash(a), hash(b));
}
