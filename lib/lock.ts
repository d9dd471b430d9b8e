import { AlreadyRunningError, StoreError } from "./errors.ts";

/**
 * Takes the lock that keeps a second agent from the same cache. The operating system holds it and lets go of it
 * when the process ends, however it ends, so a killed agent leaves nothing behind that must be cleaned up.
 *
 * @param path the lock's file; made where there is none, and never removed (removing it would let two hold it)
 * @returns the held lock; disposing of it lets go
 * @throws {AlreadyRunningError} when another process holds it
 * @throws {StoreError} when the file cannot be opened
 */
export function takeLock(path: string): Disposable {
  let file: Deno.FsFile;
  try {
    file = Deno.openSync(path, { create: true, read: true, write: true, mode: 0o600 });
  } catch (error) {
    throw new StoreError(
      `Cannot open the lock "${path}": ${error instanceof Error ? error.message : error}`,
      {
        cause: error,
        hint: "Check that LOCAL_CACHE_DB_PATH names a file in a folder that you may write to",
      },
    );
  }
  if (!tryLock(file)) {
    file.close();
    throw new AlreadyRunningError(`Another lifelog-agent already works on this cache (it holds "${path}")`, {
      hint: "Stop that agent first, or give this one a cache of its own by LOCAL_CACHE_DB_PATH",
    });
  }
  return {
    [Symbol.dispose]() {
      // To close it is not enough where another process is being started at this moment and holds it open as well.
      file.unlockSync();
      file.close();
    },
  };
}

/** Who asks whether it is held holds it for an instant: that is no other agent. */
function tryLock(file: Deno.FsFile): boolean {
  for (let tries = 0; !file.tryLockSync(true); tries++) {
    if (tries === 3) return false;
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 20);
  }
  return true;
}

/** Tells whether an agent holds the lock, without taking it from one that is about to. */
export function isLocked(path: string): boolean {
  let file: Deno.FsFile;
  try {
    file = Deno.openSync(path, { read: true });
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return false;
    throw new StoreError(
      `Cannot look at the lock "${path}": ${error instanceof Error ? error.message : error}`,
      {
        cause: error,
        hint: "Run it as the user that the agent runs as",
      },
    );
  }
  using _file = file;
  return !file.tryLockSync(false);
}
