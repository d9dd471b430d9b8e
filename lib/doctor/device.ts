import { basename, dirname, join } from "node:path";
import { readCacheKey } from "../cache_key.ts";
import type { LoadedSettings } from "../config/load.ts";
import { SETTINGS } from "../config/settings.ts";
import { UserError } from "../errors.ts";
import { type Env, serviceFile } from "../paths.ts";
import type { Report } from "../status/report.ts";
import { LOW_BYTES, NO_BYTES } from "../status/verdict.ts";
import { formatBytes, formatCount, formatSpan } from "../status/words.ts";
import { openDatabaseReadOnly } from "../store/database.ts";
import { encryptionOf, unlock } from "../store/encryption.ts";
import { type Check, fail, ok, warn } from "./check.ts";

/** What {@link checkDevice} needs. */
export interface DeviceOptions {
  readonly loaded: LoadedSettings;
  readonly report: Report;
  readonly env: Env;
  readonly os?: typeof Deno.build.os;
}

/** Looks at what is on this device: settings, the agent, how it is started, its files and the disk. */
export function* checkDevice(options: DeviceOptions): Iterable<Check> {
  yield* checkSettings(options);
  yield checkAgent(options.report);
  yield checkService(options);
  yield* checkFiles(options);
  yield* checkEncryption(options);
  yield checkDisk(options);
}

function* checkSettings({ loaded, os = Deno.build.os }: DeviceOptions): Iterable<Check> {
  const { file, warnings, origins } = loaded;
  for (const warning of warnings) yield warn("settings", warning, "Mend it where it is set");
  const given = [...origins.values()].filter((origin) => origin !== "default").length;
  yield ok(
    "settings",
    `The settings can be used: ${given} given, ${file === undefined ? "no settings file" : `from ${file}`}`,
  );
  const secret = SETTINGS.some(({ env, secret }) => secret && origins.get(env) === "file");
  if (file !== undefined && secret && os !== "windows") yield* checkPrivate(file, 0o600);
}

function checkAgent({ running, agent, atMs }: Report): Check {
  if (!running) {
    return warn("agent", "The agent does not run", "Start it: lifelog-agent, or the service that starts it");
  }
  return ok(
    "agent",
    agent === undefined
      ? "The agent runs"
      : `The agent has run for ${formatSpan(atMs - agent.startedMs)} (process ${agent.pid})`,
  );
}

/** Where a package puts the unit, for all users. */
const PACKAGED_UNIT = "/usr/lib/systemd/user/lifelog-agent.service";

function checkService({ env, os = Deno.build.os }: DeviceOptions): Check {
  const own = serviceFile({ env, os });
  const file = [own, ...(os === "linux" ? [PACKAGED_UNIT] : [])].find((path) => exists(path));
  if (file === undefined) {
    return warn(
      "service",
      "Nothing is known to start the agent when you log in",
      "Install the service: lifelog-agent service install",
    );
  }
  const wants = join("default.target.wants", basename(file));
  const enabled = os !== "linux" ||
    [join(dirname(own), wants), join("/etc/systemd/user", wants)].some((path) =>
      exists(path, Deno.lstatSync)
    );
  return enabled ? ok("service", `The agent is started at login by ${file}`) : warn(
    "service",
    `The service is defined in ${file} but does not start at login`,
    "systemctl --user enable --now lifelog-agent",
  );
}

function* checkFiles({ report, os = Deno.build.os }: DeviceOptions): Iterable<Check> {
  const { cache } = report;
  if (!cache.exists) {
    yield ok("cache", `There is no cache yet: it will be ${cache.path}`);
  } else if (cache.problem !== undefined) {
    yield fail("cache", cache.problem.message, cache.problem.hint ?? "Look at the file");
  } else {
    const { events } = report.outbox;
    yield ok(
      "cache",
      `The cache can be read: ${formatBytes(cache.bytes)}, ${formatCount(events, "event")} waiting`,
    );
  }
  for (const path of cache.quarantined) {
    yield warn(
      "cache",
      `A damaged cache was put aside: ${path}`,
      "Keep it if events in it matter; else remove it",
    );
  }
  if (report.deadLetters > 0) {
    yield warn(
      "dead-letters",
      `The server did not accept ${formatCount(report.deadLetters, "event")}`,
      "See why: lifelog-agent dead-letters list",
    );
  }
  if (os === "windows") return;
  if (cache.exists) yield* checkPrivate(cache.path, 0o600);
  yield* checkPrivate(dirname(cache.path), 0o700);
}

/** Whether the key that is set opens an encrypted cache. */
function* checkEncryption({ loaded, report }: DeviceOptions): Iterable<Check> {
  if (!report.cache.exists || report.cache.problem !== undefined) return;
  const { cacheKey } = loaded.settings;
  try {
    using db = openDatabaseReadOnly(report.cache.path);
    const { state } = encryptionOf(db);
    if (state === "off") return;
    unlock(db, cacheKey && readCacheKey(cacheKey));
    yield ok("encryption", "The cache is encrypted, and the key that is set opens it");
  } catch (error) {
    if (!(error instanceof UserError)) throw error;
    yield fail("encryption", error.message, error.hint ?? "Set CACHE_KEY_FILE to the file with its key");
  }
}

/** Whether nobody but its owner can read a file. */
function* checkPrivate(path: string, mode: number): Iterable<Check> {
  try {
    const actual = (Deno.statSync(path).mode ?? 0) & 0o777;
    if ((actual & 0o077) === 0) return;
    // A folder that others use as well is not the agent's to close.
    if (mode === 0o700 && (actual & 0o022) === 0) return;
    yield warn(
      "permissions",
      `Others on this device can read ${path} (mode ${actual.toString(8)})`,
      `chmod ${mode.toString(8)} ${path}`,
    );
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return;
    yield fail(
      "permissions",
      `Cannot look at ${path}: ${error instanceof Error ? error.message : error}`,
      "Run it as the user that the agent runs as",
    );
  }
}

function checkDisk({ report }: DeviceOptions): Check {
  const free = report.cache.freeBytes;
  if (free === undefined) {
    return warn(
      "disk",
      "Cannot tell how much space is free on the disk of the cache",
      `Look at the disk of ${dirname(report.cache.path)} yourself`,
    );
  }
  const message = `${formatBytes(free)} are free on the disk of the cache`;
  if (free < NO_BYTES) return fail("disk", message, "Free some space: events cannot be cached without it");
  if (free < LOW_BYTES) return warn("disk", message, "Free some space before it runs out");
  return ok("disk", message);
}

/** By `lstatSync` a link counts whatever it leads to: systemd's may lead to a place that only it sees. */
function exists(path: string, stat = Deno.statSync): boolean {
  try {
    stat(path);
    return true;
  } catch (error) {
    return !(error instanceof Deno.errors.NotFound);
  }
}
