import { dirname, join } from "node:path";
import { SettingError, StoreError } from "./errors.ts";

/** Reads an environment variable. */
export type Env = (name: string) => string | undefined;

/** What the platform's places depend on. */
export interface PlaceOptions {
  readonly env: Env;
  readonly os?: typeof Deno.build.os;
}

const NAME = "lifelog-agent";

function home({ env, os = Deno.build.os }: PlaceOptions): string {
  const folder = env(os === "windows" ? "USERPROFILE" : "HOME");
  if (folder) return folder;
  throw new SettingError("Cannot find the home folder as no HOME is set", {
    hint: "Set HOME, or name the files by LOCAL_CACHE_DB_PATH and LIFELOG_CONFIG",
  });
}

/** The folder of the settings file, by the platform's custom. */
export function configFolder(options: PlaceOptions): string {
  const { env, os = Deno.build.os } = options;
  if (os === "windows") return join(env("APPDATA") || join(home(options), "AppData", "Roaming"), NAME);
  if (os === "darwin") return join(home(options), "Library", "Application Support", NAME);
  return join(env("XDG_CONFIG_HOME") || join(home(options), ".config"), NAME);
}

/** The folder of the cache and of the device id, by the platform's custom. */
export function stateFolder(options: PlaceOptions): string {
  const { env, os = Deno.build.os } = options;
  if (os === "windows") return join(env("LOCALAPPDATA") || join(home(options), "AppData", "Local"), NAME);
  if (os === "darwin") return join(home(options), "Library", "Application Support", NAME);
  return join(env("XDG_STATE_HOME") || join(home(options), ".local", "state"), NAME);
}

/** The file that tells the system's service manager of the agent. */
export function serviceFile(options: PlaceOptions): string {
  const { env, os = Deno.build.os } = options;
  if (os === "windows") return join(stateFolder(options), `${NAME}.task.xml`);
  if (os === "darwin") return join(home(options), "Library", "LaunchAgents", "org.lifelog.agent.plist");
  return join(env("XDG_CONFIG_HOME") || join(home(options), ".config"), "systemd", "user", `${NAME}.service`);
}

/** Where a settings file is looked for, in this order; the last is the Python daemon's place. */
export function configFiles(options: PlaceOptions): string[] {
  const folder = configFolder(options);
  return [
    join(folder, "config.toml"),
    join(folder, "config.env"),
    join(home(options), ".lifelog", "config.env"),
  ];
}

/** Puts the home folder in place of a leading `~`. */
export function expandHome(path: string, options: PlaceOptions): string {
  return /^~(?=[/\\]|$)/.test(path) ? join(home(options), path.slice(1)) : path;
}

/** The file of the device's id: beside the cache, so that the two move together. */
export function deviceIdFile(cachePath: string): string {
  return join(dirname(cachePath), "device-id");
}

/**
 * Makes a folder that only its owner can look into, and those above it, where there is none yet.
 * @throws {StoreError} when it cannot be made
 */
export function makePrivateFolder(path: string): void {
  try {
    Deno.mkdirSync(path, { recursive: true, mode: 0o700 });
  } catch (error) {
    throw new StoreError(
      `Cannot make the folder "${path}": ${error instanceof Error ? error.message : error}`,
      {
        cause: error,
        hint: "Check that LOCAL_CACHE_DB_PATH and LOG_FILE name files in folders that you may write to",
      },
    );
  }
}

/**
 * Reads the device's id, or makes one and keeps it for good. Written whole or not at all.
 * @throws {StoreError} when the file is empty, or cannot be read or written: a device that changes its id is two
 */
export function readOrCreateDeviceId(
  path: string,
  randomUUID: () => string = () => crypto.randomUUID(),
): string {
  const hint = "Mend or remove the file, or set DEVICE_ID";
  const read = () => Deno.readTextFileSync(path).trim();
  try {
    let id: string;
    try {
      id = read();
    } catch (error) {
      if (!(error instanceof Deno.errors.NotFound)) throw error;
      const draft = `${path}.${Deno.pid}.new`;
      // Not through a link that somebody put there before.
      Deno.writeTextFileSync(draft, `${randomUUID()}\n`, { createNew: true, mode: 0o600 });
      Deno.renameSync(draft, path);
      id = read();
    }
    if (id !== "") return id;
  } catch (error) {
    throw new StoreError(
      `Cannot read the device id in "${path}": ${error instanceof Error ? error.message : error}`,
      {
        cause: error,
        hint,
      },
    );
  }
  throw new StoreError(`Cannot read the device id in "${path}" as the file is empty`, { hint });
}

/** The file of the key that titles are hashed with: beside the cache, as the device's id. */
export function hashKeyFile(cachePath: string): string {
  return join(dirname(cachePath), "title-key");
}

/**
 * Reads the device's key for hashing titles, or makes one and keeps it for good. Written whole or not at all.
 * @throws {StoreError} when it cannot be read or written, or is none: with another key the same titles would get
 * other hashes
 */
export function readOrCreateHashKey(path: string): Uint8Array {
  try {
    return readHashKey(path) ?? makeHashKey(path);
  } catch (error) {
    if (error instanceof StoreError) throw error;
    throw new StoreError(`Cannot read the key "${path}": ${error instanceof Error ? error.message : error}`, {
      cause: error,
      hint: "Check that you may read and write it, or use another action than hash in the privacy rules",
    });
  }
}

/** Reads the device's key for hashing titles, or `undefined` where none was made yet. */
export function readHashKey(path: string): Uint8Array | undefined {
  let text: string;
  try {
    text = Deno.readTextFileSync(path).trim();
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return undefined;
    throw error;
  }
  if (/^[0-9a-f]{64}$/.test(text)) return Uint8Array.from(text.match(/../g)!, (byte) => parseInt(byte, 16));
  throw new StoreError(`Cannot read the key "${path}" as it is not 64 hexadecimal digits`, {
    hint: "Restore the file, or remove it to have titles hashed with a new key",
  });
}

function makeHashKey(path: string): Uint8Array {
  const key = crypto.getRandomValues(new Uint8Array(32));
  const draft = `${path}.${Deno.pid}.new`;
  const text = Array.from(key, (byte) => byte.toString(16).padStart(2, "0")).join("");
  Deno.writeTextFileSync(draft, `${text}\n`, { mode: 0o600, createNew: true });
  Deno.renameSync(draft, path);
  return key;
}
