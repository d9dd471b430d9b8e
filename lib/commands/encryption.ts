import { dirname } from "node:path";
import { type CacheKeySource, makeCacheKey, readCacheKey } from "../cache_key.ts";
import type { Settings } from "../config/settings.ts";
import { KeyError, SettingError } from "../errors.ts";
import { ExitCode } from "../exit_codes.ts";
import { takeLock } from "../lock.ts";
import { expandHome, makePrivateFolder } from "../paths.ts";
import { guardCacheFiles, makePrivateFile } from "../private_files.ts";
import { createProgress, progressTerminal } from "../progress.ts";
import { type Database, openDatabase, openDatabaseReadOnly } from "../store/database.ts";
import {
  beginOpening,
  beginRotation,
  beginSealing,
  type ConversionProgress,
  type Encryption,
  encryptionOf,
  unlock,
} from "../store/encryption.ts";
import { readableCopies } from "../store/recover.ts";
import type { CommandContext, CommandSpec } from "./command.ts";
import { convertAll } from "./unlock.ts";

/** Turns the encryption of the cache on and off and changes its key. */
export const encryption: CommandSpec = {
  name: "encryption",
  description: "Encrypt the cache, make it readable again, or change its key.",
  commands: [
    {
      name: "status",
      description: "Tell whether the cache is encrypted and whether the key fits.",
      run: status,
    },
    {
      name: "new-key",
      description: "Make a key and write it to a new file that only you can read.",
      arguments: [{ name: "<file>", description: "the file to write" }],
      run: newKey,
    },
    { name: "enable", description: "Encrypt the cache with the key that is set.", run: enable },
    { name: "disable", description: "Make the cache readable again.", run: disable },
    {
      name: "rotate",
      description: "Encrypt the cache with another key than the one that is set.",
      options: [{ flags: "--new-key-file <file>", description: "the file that holds the new key" }],
      run: rotate,
    },
  ],
};

function newKey({ args, env, print }: CommandContext): ExitCode {
  const path = expandHome(args[0]!, { env });
  makePrivateFolder(dirname(path));
  makeCacheKey(path);
  print(`Wrote a new key to "${path}": set CACHE_KEY_FILE to it, and keep a copy in a safe place.`);
  print("Without it nobody can read an encrypted cache, and what waits in it is lost.");
  return ExitCode.Ok;
}

async function status({ loadSettings, print }: CommandContext): Promise<ExitCode> {
  const { cachePath, cacheKey } = (await loadSettings()).settings;
  if (!exists(cachePath)) {
    print(`There is no cache at "${cachePath}" yet`);
    return ExitCode.Ok;
  }
  using db = openDatabaseReadOnly(cachePath);
  const { state, keyVersion, keyMadeAtMs } = encryptionOf(db);
  print(
    {
      off: "The cache is not encrypted",
      on: `The cache is encrypted (key ${keyVersion}, since ${day(keyMadeAtMs)})`,
      sealing: "The cache is being encrypted: this goes on when the agent starts",
      scrubbing: "The cache is encrypted; what was readable before is removed when the agent starts",
      opening: "The cache is being made readable: this goes on when the agent starts",
    }[state],
  );
  if (state !== "on") return ExitCode.Ok;
  unlock(db, cacheKey && readCacheKey(cacheKey));
  print("The key that is set opens it");
  return ExitCode.Ok;
}

function enable(context: CommandContext): Promise<ExitCode> {
  return withCache(context, async (db, { cacheKey }, was, report) => {
    const key = keyOf(cacheKey);
    if (was.state === "on") {
      unlock(db, key);
      context.print("The cache is encrypted already");
      return;
    }
    // What was begun is finished first.
    if (was.state === "opening") await convertAll(db, key, report.options);
    if (was.state === "off" || was.state === "opening") beginSealing(db, key, Date.now());
    report("encrypted", await convertAll(db, key, report.options));
    for (const copy of readableCopies(db.path)) {
      context.print(`Events may still be readable in "${copy}", a damaged cache: delete it when you can`);
    }
  });
}

function disable(context: CommandContext): Promise<ExitCode> {
  return withCache(context, async (db, { cacheKey }, was, report) => {
    if (was.state === "off") {
      context.print("The cache is not encrypted");
      return;
    }
    const key = keyOf(cacheKey);
    if (was.state !== "opening") {
      // What was begun is finished first: rows under two keys are not made readable at once.
      if (was.state !== "on") await convertAll(db, key, report.options);
      beginOpening(db, key);
    }
    report("made readable", await convertAll(db, key, report.options));
    context.print(
      "Remove CACHE_KEY_FILE or CACHE_KEY from the settings: with a key set the agent does not start",
    );
  });
}

function rotate(context: CommandContext): Promise<ExitCode> {
  const { options, env, print } = context;
  if (typeof options.newKeyFile !== "string") {
    throw new SettingError("Cannot change the key as no new one is named", {
      hint: "Make one by lifelog-agent encryption new-key FILE, then give it by --new-key-file FILE",
    });
  }
  const path = expandHome(options.newKeyFile, { env });
  return withCache(context, async (db, { cacheKey }, was, report) => {
    const newKey = readCacheKey({ path });
    if (was.state === "off" || was.state === "opening") {
      throw new KeyError("Cannot change the key as the cache is not encrypted", {
        hint: "Run lifelog-agent encryption enable",
      });
    }
    // A rotation that was broken off is gone on with: from its first moment only the new key fits.
    const begun = was.state === "on" ? undefined : await tryConvert(db, newKey, report);
    if (begun !== undefined) report("encrypted", begun);
    else {
      const oldKey = keyOf(cacheKey);
      if (was.state !== "on") await convertAll(db, oldKey, report.options);
      beginRotation(db, oldKey, newKey, Date.now());
      report("encrypted", await convertAll(db, newKey, report.options));
    }
    print(`Set CACHE_KEY_FILE to "${path}" now: the old key no longer opens the cache`);
  });
}

async function tryConvert(
  db: Database,
  key: Uint8Array,
  report: Report,
): Promise<ConversionProgress | undefined> {
  try {
    return await convertAll(db, key, report.options);
  } catch (error) {
    if (error instanceof KeyError) return undefined;
    throw error;
  }
}

interface Report {
  (done: string, progress: ConversionProgress): void;
  readonly options: { readonly onProgress: (progress: ConversionProgress) => void };
}

/** Opens the cache with nobody else at work on it. */
async function withCache(
  { loadSettings, print }: CommandContext,
  work: (db: Database, settings: Settings, was: Encryption, report: Report) => Promise<void>,
): Promise<ExitCode> {
  const { settings } = await loadSettings();
  makePrivateFolder(dirname(settings.cachePath));
  makePrivateFile(`${settings.cachePath}.lock`);
  using _lock = takeLock(`${settings.cachePath}.lock`);
  guardCacheFiles(settings.cachePath);
  using db = openDatabase(settings.cachePath);
  const progress = createProgress({ terminal: await progressTerminal(), say: (line) => console.error(line) });
  const onProgress = ({ done, total }: ConversionProgress) =>
    progress.report({ task: "Changing the cache", done, total, noun: "rows" });
  const report = Object.assign((done: string, { total, damaged }: ConversionProgress) => {
    progress.end();
    print(`The cache is ${done}: ${total.toLocaleString("en")} rows`);
    if (damaged > 0) print(`${damaged} of them were damaged before and cannot be read with any key`);
  }, { options: { onProgress } });
  await work(db, settings, encryptionOf(db), report);
  return ExitCode.Ok;
}

function keyOf(source: CacheKeySource | undefined): Uint8Array {
  if (source !== undefined) return readCacheKey(source);
  throw new KeyError("Cannot encrypt or open the cache as no key is set", {
    hint: "Make one by lifelog-agent encryption new-key FILE and set CACHE_KEY_FILE to it",
  });
}

function exists(path: string): boolean {
  try {
    return Deno.statSync(path).isFile;
  } catch {
    return false;
  }
}

function day(ms: number): string {
  return new Date(ms).toISOString().slice(0, 10);
}
