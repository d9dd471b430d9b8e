import { getLogger } from "@logtape/logtape";
import { dirname } from "node:path";
import metadata from "../../deno.json" with { type: "json" };
import { readCacheKey } from "../cache_key.ts";
import { StoreError } from "../errors.ts";
import { ExitCode } from "../exit_codes.ts";
import { takeLock } from "../lock.ts";
import { configureLogging, createRepeatGate, isJournal } from "../log.ts";
import {
  deviceIdFile,
  hashKeyFile,
  makePrivateFolder,
  readOrCreateDeviceId,
  readOrCreateHashKey,
} from "../paths.ts";
import { guardCacheFiles, makePrivateFile } from "../private_files.ts";
import { createProgress, type Progress, progressTerminal } from "../progress.ts";
import { notifyServiceManager } from "../service/notify.ts";
import { listenForStop } from "../signals.ts";
import { parseSince } from "../since.ts";
import type { Database } from "../store/database.ts";
import { noteStarted, noteStopped } from "../store/health.ts";
import { type CacheLoss, openCache, readableCopies } from "../store/recover.ts";
import { MS_US, sleep } from "../time.ts";
import type { CommandContext, CommandSpec } from "./command.ts";
import { run } from "./run.ts";
import { prepareCache } from "./unlock.ts";

/** How long to wait for a disk that is full or a cache that another program holds, in milliseconds. */
const PATIENCE_MS = 20_000;
/** A cache that is damaged this often in one run is on a disk that fails. */
const MAX_DAMAGES = 3;

/** The agent itself: for good, or with `--once`. */
export const start: CommandSpec = {
  name: "lifelog-agent",
  description: "Delivers what ActivityWatch records on this device to a LifeLog server, exactly.",
  options: [
    { flags: "--once", description: "collect and deliver once, then end" },
    {
      flags: "--since <date>",
      description:
        'begin at a date, "30d" ago or with "all" there is (default: 24 hours before the first run)',
    },
  ],
  run: open,
};

/** Opens all that the agent works with, in the order that keeps a second agent and other users out, and runs it. */
async function open(context: CommandContext): Promise<ExitCode> {
  const { options, env, terminate } = context;
  const { settings, warnings } = await context.loadSettings();
  const sinceUs = typeof options.since === "string" ? parseSince(options.since, Date.now()) : undefined;

  const log = getLogger(["lifelog-agent"]);
  const progress = createProgress({
    terminal: await progressTerminal(),
    say: (line) => log.info("{line}", { line }),
  });
  await using _logging = await configureLogging({
    level: settings.logLevel,
    file: settings.logFile,
    format: settings.logFormat,
    noColor: (env("NO_COLOR") ?? "") !== "",
    journal: isJournal(env),
    beforeLine: progress.clear,
  });
  for (const warning of warnings) log.warn("{warning}", { warning });

  makePrivateFolder(dirname(settings.cachePath));
  makePrivateFile(`${settings.cachePath}.lock`);
  using _lock = takeLock(`${settings.cachePath}.lock`);
  guardCacheFiles(settings.cachePath);
  const deviceId = settings.deviceId ?? readOrCreateDeviceId(deviceIdFile(settings.cachePath));
  const skipped = new Set<string>();
  const onSkipped = (bucket: string) => {
    if (skipped.has(bucket)) return;
    skipped.add(bucket);
    log.info("Bucket {bucket} is another device's: left out", { bucket });
  };
  using stop = listenForStop({
    terminate,
    onStop: (name) => log.info("{name}: stopping; once more to leave at once", { name }),
  });
  const policy = context.policy(settings, () => readOrCreateHashKey(hashKeyFile(settings.cachePath)));
  const cacheKey = settings.cacheKey && readCacheKey(settings.cacheKey);
  using manager = notifyServiceManager({ env, folder: dirname(settings.cachePath) });
  const once = options.once === true;
  const repeats = createRepeatGate({ now: Date.now });
  let damage: StoreError | undefined;
  let damages = 0;
  for (;;) {
    try {
      const cache = openCache(settings.cachePath, {
        ...(damage === undefined ? {} : { damage }),
        ...(cacheKey === undefined ? {} : { cacheKey }),
      });
      using db = cache.db;
      damage = undefined;
      if (cache.loss !== undefined) tellOfLoss(cache.loss);
      manager.ready();
      if (!await prepare(db, cacheKey, progress, stop.signal)) return ExitCode.Ok;
      const code = await run({
        settings,
        deviceId,
        db,
        source: context.source(settings, onSkipped),
        filters: context.filters(settings),
        policy,
        sink: context.sink(settings, deviceId),
        once,
        sinceUs,
        progress,
        env,
        signal: stop.signal,
        onReady: () =>
          note(() =>
            noteStarted(db, { pid: Deno.pid, version: metadata.version, startedMs: Date.now(), once })
          ),
      });
      note(() => noteStopped(db, Date.now()));
      return code;
    } catch (error) {
      if (!(error instanceof StoreError) || stop.signal.aborted) throw error;
      if (error.fault === "corrupt" && ++damages < MAX_DAMAGES) damage = error;
      else if (!once && ["full", "disk", "locked"].includes(error.fault)) {
        // It passes by itself, and a service manager may lose patience with what ends over and over.
        const line = repeats.failed("cache", `${error.message}. ${error.hint}`);
        if (line !== undefined) log.error("{line}", { line });
        damage = undefined;
        if (!await wait(PATIENCE_MS, stop.signal)) return ExitCode.Ok;
      } else throw error;
    }
  }
}

/** Waits; tells whether it may go on then. */
async function wait(ms: number, signal: AbortSignal): Promise<boolean> {
  try {
    await sleep(ms, { signal });
    return true;
  } catch {
    return false;
  }
}

/** Says loudly what became of a cache that was damaged or gone. */
function tellOfLoss({ finding, copy, againFromUs, knownBy, salvaged }: CacheLoss): void {
  const from = new Date(againFromUs / MS_US).toISOString().slice(0, 16).replace("T", " ");
  getLogger(["lifelog-agent"]).error(
    "{finding}. {copy}Everything since {from} UTC is collected again from ActivityWatch{kept}; what the server has already it keeps once{doubt}",
    {
      finding,
      copy: copy === undefined ? "" : `The damaged file is kept as "${copy}". `,
      from,
      kept: salvaged === 0 ? "" : `, and ${salvaged} events were saved from the damaged file`,
      doubt: knownBy === "mark" ? "" : ". What was collected before that by --since: run it once more",
    },
  );
}

/** A full disk is no reason not to run: what is noted is only for the eye. */
function note(what: () => void): void {
  try {
    what();
  } catch { /* it is told of where it holds up the events themselves */ }
}

/** Unlocks the cache and finishes what was begun of its encryption; tells whether it may be used now. */
async function prepare(
  db: Database,
  key: Uint8Array | undefined,
  progress: Progress,
  signal: AbortSignal,
): Promise<boolean> {
  const log = getLogger(["lifelog-agent"]);
  const verbOf = (state: string) =>
    state === "opening" ? "Making the cache readable" : "Encrypting the cache";
  try {
    const { converted } = await prepareCache(db, key, {
      signal,
      onProgress: ({ done, total }, state) =>
        progress.report({ task: verbOf(state), done, total, noun: "rows" }),
    });
    progress.end();
    if (converted !== undefined) {
      const { total, damaged } = converted;
      log.info("The encryption of the cache was changed: {total} rows", { total });
      for (const copy of key === undefined ? [] : readableCopies(db.path)) {
        log.warn("Events may still be readable in {copy}, a damaged cache: delete it when you can", { copy });
      }
      if (damaged > 0) log.warn("{damaged} rows of the cache are damaged and cannot be read", { damaged });
    }
    return true;
  } catch (error) {
    if (!signal.aborted) throw error;
    log.info("Stopped; the change of the cache's encryption goes on at the next start");
    return false;
  }
}
