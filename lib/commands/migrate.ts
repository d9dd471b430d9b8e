import { dirname, join } from "node:path";
import { readCacheKey } from "../cache_key.ts";
import { usualFiles } from "../config/file.ts";
import { SettingError, StoreError } from "../errors.ts";
import { ExitCode } from "../exit_codes.ts";
import { takeLock } from "../lock.ts";
import { deviceIdFile, expandHome, makePrivateFolder, readOrCreateDeviceId } from "../paths.ts";
import { guardCacheFiles, makePrivateFile } from "../private_files.ts";
import { isDaemonCache, readDaemonCache, takeOver } from "../store/daemon_cache.ts";
import { openCache } from "../store/recover.ts";
import type { CommandContext, CommandSpec } from "./command.ts";
import { prepareCache } from "./unlock.ts";

const FILE = "local_daemon_cache.sqlite";
const DEFAULT_DEVICE = "default-device-01";

/** Takes over from the Python daemon. */
export const migrate: CommandSpec = {
  name: "migrate",
  description:
    "Take over from the Python daemon, which must be stopped: send what it has not, go on from there.",
  arguments: [{ name: "[file]", description: `its cache (default: ${FILE} beside its settings)` }],
  run,
};

async function run(context: CommandContext): Promise<ExitCode> {
  const { env, print, args } = context;
  const { settings } = await context.loadSettings();
  const { cachePath, cacheKey } = settings;
  makePrivateFolder(dirname(cachePath));
  makePrivateFile(`${cachePath}.lock`);
  using _lock = takeLock(`${cachePath}.lock`);
  const named = args[0] === undefined ? undefined : expandHome(args[0], { env });
  let file = named ??
    find([join(dirname(usualFiles({ env }).at(-1) ?? FILE), FILE), cachePath, `${cachePath}.local_daemon`]);
  if (file === undefined) {
    throw new SettingError("Cannot find a cache of the Python daemon", {
      hint: `Name it: lifelog-agent migrate …/${FILE}`,
    });
  }
  const left = readDaemonCache(file);
  if (Deno.realPathSync(file) === realPath(cachePath)) {
    // The settings name one file for both: the agent's begins in its place.
    file = `${cachePath}.local_daemon`;
    Deno.renameSync(cachePath, file);
  }
  guardCacheFiles(cachePath);
  const key = cacheKey && readCacheKey(cacheKey);
  using db = openCache(cachePath, key === undefined ? {} : { cacheKey: key }).db;
  await prepareCache(db, key);
  const { taken, known, dead } = takeOver(db, left, Date.now());
  const { deviceId } = left;
  if (settings.deviceId === undefined && deviceId !== undefined && deviceId !== DEFAULT_DEVICE) {
    // Its name was in the environment of its service: the server shall see one device.
    readOrCreateDeviceId(deviceIdFile(cachePath), () => deviceId);
  }
  const kept = `${file.replace(/\.(local_daemon|taken-over)$/, "")}.taken-over`;
  Deno.renameSync(file, kept);
  print(
    `Took over ${taken} unsent events of the Python daemon` +
      `${known === 0 ? "" : `; ${known} were taken over before`}` +
      `${dead === 0 ? "" : `; ${dead} that cannot be read are in the dead letters`}`,
  );
  print(`What it has recorded is not collected again. Its cache is kept: remove it when you like\n  ${kept}`);
  return ExitCode.Ok;
}

/** The first of some files that is a cache of the Python daemon. */
function find(paths: readonly string[]): string | undefined {
  return paths.find((path) => {
    try {
      return Deno.statSync(path).isFile && isDaemonCache(path);
    } catch (error) {
      if (error instanceof Deno.errors.NotFound || error instanceof StoreError) return false;
      throw error;
    }
  });
}

function realPath(path: string): string | undefined {
  try {
    return Deno.realPathSync(path);
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return undefined;
    throw error;
  }
}
