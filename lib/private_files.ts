import { dirname, join } from "node:path";
import { StoreError } from "./errors.ts";

/** What the functions of this file may be told. */
export interface PrivateFileOptions {
  readonly os?: typeof Deno.build.os;
}

/**
 * Looks whether a folder is safe to keep private files in: one that another user owns, or that everybody may write to,
 * lets others put links and files where the agent's are looked for.
 * @throws {StoreError} when it is not
 */
export function checkPrivateFolder(path: string, options: PrivateFileOptions = {}): void {
  if ((options.os ?? Deno.build.os) === "windows") return;
  const hint = "Name files in a folder of your own by LOCAL_CACHE_DB_PATH and LOG_FILE";
  const { mode, uid } = Deno.statSync(path);
  if (mode !== null && (mode & 0o002) !== 0 && (mode & 0o1000) === 0) {
    throw new StoreError(`Cannot keep files in "${path}" as every user of this device may write to it`, {
      hint,
    });
  }
  // Root's folders are shared ones, such as /tmp or /var/lib.
  if (uid !== 0 && uid !== null && uid !== ownUid(path)) {
    throw new StoreError(`Cannot keep files in "${path}" as it belongs to another user`, { hint });
  }
}

/** The user that the program runs as, seen by a file that it makes: asking for it directly needs a permission. */
function ownUid(folder: string): number | null {
  try {
    const file = Deno.makeTempFileSync({ dir: folder, prefix: ".lifelog-" });
    try {
      return Deno.statSync(file).uid;
    } finally {
      Deno.removeSync(file);
    }
  } catch (error) {
    throw new StoreError(`Cannot write to "${folder}": ${error instanceof Error ? error.message : error}`, {
      cause: error,
      hint: "Check that LOCAL_CACHE_DB_PATH and LOG_FILE name files in folders that you may write to",
    });
  }
}

/**
 * Makes an empty file that only its user can read, where there is none, and closes one that others can read. Never
 * through a link: in a shared folder anybody could have put it there, to have another file written to.
 * @throws {StoreError} when there is a link, something else than a file, or another user's file
 */
export function makePrivateFile(path: string, options: PrivateFileOptions = {}): void {
  const { os = Deno.build.os } = options;
  try {
    // With `createNew` a link that is there is an error too, wherever it leads.
    Deno.openSync(path, { createNew: true, write: true, mode: 0o600 }).close();
    return;
  } catch (error) {
    // Who opens it next says what is wrong with it.
    if (!(error instanceof Deno.errors.AlreadyExists)) return;
  }
  refuseForeignFile(path);
  if (os === "windows") return;
  const { mode } = Deno.lstatSync(path);
  if (mode !== null && (mode & 0o077) !== 0) Deno.chmodSync(path, 0o600);
}

/**
 * Refuses what stands where a private file is looked for and is none; nothing standing there is fine.
 * @throws {StoreError} when there is a link, something else than a file, or another user's file
 */
export function refuseForeignFile(path: string): void {
  let found: Deno.FileInfo;
  try {
    found = Deno.lstatSync(path);
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return;
    throw new StoreError(`Cannot look at "${path}": ${error instanceof Error ? error.message : error}`, {
      cause: error,
      hint: "Check that you may read its folder",
    });
  }
  const refuse = (why: string) => {
    throw new StoreError(`Cannot use "${path}" as it is ${why}`, {
      hint: "Move it away, or name the file itself, in a folder of your own",
    });
  };
  if (found.isSymlink) refuse("a link, which somebody else may have put there");
  if (!found.isFile) refuse("no file");
  const folder = Deno.statSync(dirname(path));
  const shared = folder.mode !== null && (folder.mode & 0o022) !== 0;
  if (shared && found.uid !== null && found.uid !== ownUid(dirname(path))) refuse("another user's");
}

/** Refuses a cache of which any part is not the user's own, and closes its parts to others. */
export function guardCacheFiles(cachePath: string): void {
  checkPrivateFolder(dirname(cachePath));
  for (const suffix of ["-wal", "-shm", "-journal", ".mark", ".mark.new"]) {
    refuseForeignFile(cachePath + suffix);
  }
  for (const name of ["device-id", "title-key"]) refuseForeignFile(join(dirname(cachePath), name));
  makePrivateFile(cachePath);
  for (const suffix of ["-wal", "-shm"]) closeToOthers(cachePath + suffix);
}

function closeToOthers(path: string): void {
  try {
    if (Deno.build.os !== "windows" && ((Deno.statSync(path).mode ?? 0) & 0o077) !== 0) {
      Deno.chmodSync(path, 0o600);
    }
  } catch (error) {
    if (!(error instanceof Deno.errors.NotFound)) throw error;
  }
}
