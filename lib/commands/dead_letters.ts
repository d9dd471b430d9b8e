import { readCacheKey } from "../cache_key.ts";
import { SealError, SettingError, UserError } from "../errors.ts";
import { ExitCode } from "../exit_codes.ts";
import { type Database, openDatabase, openDatabaseReadOnly } from "../store/database.ts";
import {
  type DeadLetter,
  type DeadLetterFilter,
  dropDeadLetters,
  listDeadLetters,
  readDeadLetter,
  retryDeadLetters,
} from "../store/dead_letters.ts";
import { encryptionOf, unlock } from "../store/encryption.ts";
import { formatTimeUs, MS_US } from "../time.ts";
import type { CommandContext, CommandOption, CommandSpec } from "./command.ts";
import { unlockToRead } from "./unlock.ts";

const FILTERS: readonly CommandOption[] = [
  { flags: "--reason <text>", description: "those whose status or reason contains this" },
  { flags: "--older-than <time>", description: "those given up longer ago than, for example, 12h or 30d" },
];
const IDS = { name: "[ids...]", description: "their numbers, as `list` shows them" };
const ALL: CommandOption = { flags: "--all", description: "all of them" };

/** Looks after the events that the server did not accept. Works beside a running agent. */
export const deadLetters: CommandSpec = {
  name: "dead-letters",
  description: "See, retry, export or drop the events that the server did not accept.",
  commands: [
    {
      name: "list",
      description: "List them, without what is in them.",
      options: [...FILTERS, { flags: "--json", description: "print it for programs" }],
      run: list,
    },
    {
      name: "show",
      description: "Show one with all that is in it.",
      arguments: [{ name: "<id>", description: "its number, as `list` shows it" }],
      run: show,
    },
    {
      name: "retry",
      description: "Put them back in the queue, to be sent with the next turn.",
      arguments: [IDS],
      options: [...FILTERS, ALL],
      run: retry,
    },
    {
      name: "drop",
      description: "Forget them for good.",
      arguments: [IDS],
      options: [...FILTERS, ALL],
      run: drop,
    },
    {
      name: "export",
      description: "Print them with all that is in them, one JSON object a line.",
      options: FILTERS,
      run: exportAll,
    },
  ],
};

async function list(context: CommandContext): Promise<ExitCode> {
  const letters = await reading(context, (db) => listDeadLetters(db, filterOf(context)));
  if (context.options.json === true) {
    context.print(JSON.stringify((letters ?? []).map(toJson), null, 2));
    return ExitCode.Ok;
  }
  if (letters === undefined || letters.length === 0) {
    context.print(
      letters === undefined
        ? await noCache(context)
        : `No dead letters${isFiltered(context) ? " of that kind" : ""}`,
    );
    return ExitCode.Ok;
  }
  const rows = letters.map(({ seq, deadAtMs, bucketName, startUs, status, reason }) => [
    String(seq),
    minute(deadAtMs),
    bucketName,
    minute(startUs / MS_US),
    String(status ?? "-"),
    reason,
  ]);
  const head = ["id", "given up (UTC)", "bucket", "event began (UTC)", "status", "reason"];
  const widths = head.map((cell, n) => Math.max(cell.length, ...rows.map((row) => row[n]!.length)));
  for (const row of [head, ...rows]) {
    context.print(row.map((cell, n) => n === row.length - 1 ? cell : cell.padEnd(widths[n]!)).join("  "));
  }
  return ExitCode.Ok;
}

async function show(context: CommandContext): Promise<ExitCode> {
  const [seq] = idsOf(context);
  const found = await reading(context, (db) => {
    const [letter] = listDeadLetters(db, { seqs: [seq!] });
    return letter && { letter, text: textOf(db, letter) };
  });
  if (found === undefined) throw notThere([seq!]);
  const { letter, text } = found;
  context.print(`id         ${letter.seq}`);
  context.print(`bucket     ${letter.bucketName}`);
  context.print(`collected  ${minute(letter.cachedAtMs)} UTC`);
  context.print(`given up   ${minute(letter.deadAtMs)} UTC`);
  context.print(`status     ${letter.status ?? "none: it was never sent"}`);
  context.print(`reason     ${letter.reason}`);
  context.print(text === undefined ? "(it cannot be read: it was damaged)" : pretty(text));
  return ExitCode.Ok;
}

async function retry(context: CommandContext): Promise<ExitCode> {
  const done = await writing(context, (db, letters) => {
    const back = retryDeadLetters(db, letters.map(({ seq }) => seq));
    const left = letters.length - back;
    context.print(`${count(back, "dead letter")} put back in the queue, to be sent with the next turn`);
    if (left > 0) context.print(`${left} left as they are: they have no form at the server`);
  });
  if (!done) context.print(await noCache(context));
  return ExitCode.Ok;
}

async function drop(context: CommandContext): Promise<ExitCode> {
  const done = await writing(context, (db, letters) => {
    const dropped = dropDeadLetters(db, letters.map(({ seq }) => seq));
    context.print(`${count(dropped, "dead letter")} forgotten`);
  });
  if (!done) context.print(await noCache(context));
  return ExitCode.Ok;
}

async function exportAll(context: CommandContext): Promise<ExitCode> {
  await reading(context, (db) => {
    for (const letter of listDeadLetters(db, filterOf(context))) {
      const text = textOf(db, letter);
      context.print(
        JSON.stringify({ ...toJson(letter), event: text === undefined ? null : JSON.parse(text) }),
      );
    }
  });
  return ExitCode.Ok;
}

/** Does `work` on the cache without changing it; `undefined` when there is no cache yet. */
async function reading<T>(
  { loadSettings }: CommandContext,
  work: (db: Database) => T,
): Promise<T | undefined> {
  const { cachePath, cacheKey } = (await loadSettings()).settings;
  if (!exists(cachePath)) return undefined;
  using db = openDatabaseReadOnly(cachePath);
  unlockToRead(db, cacheKey);
  return work(db);
}

/** Does `work` on the dead letters that are meant; tells whether there is a cache. */
async function writing(
  context: CommandContext,
  work: (db: Database, letters: readonly DeadLetter[]) => void,
): Promise<boolean> {
  const { cachePath, cacheKey } = (await context.loadSettings()).settings;
  const filter = filterOf(context);
  if (!isFiltered(context) && context.options.all !== true) {
    throw new SettingError("Cannot tell which dead letters are meant", {
      hint: "Name them by their numbers, by --reason or --older-than, or say --all",
    });
  }
  if (!exists(cachePath)) return false;
  using db = openDatabase(cachePath);
  unlock(db, encryptionOf(db).state === "off" ? undefined : cacheKey && readCacheKey(cacheKey));
  const letters = listDeadLetters(db, filter);
  const missing = filter.seqs?.filter((id) => !letters.some(({ seq }) => seq === id)) ?? [];
  if (missing.length > 0) throw notThere(missing);
  work(db, letters);
  return true;
}

function filterOf(context: CommandContext): DeadLetterFilter {
  const { reason, olderThan } = context.options;
  const seqs = idsOf(context);
  return {
    ...(seqs.length > 0 ? { seqs } : {}),
    ...(typeof reason === "string" ? { reason } : {}),
    ...(typeof olderThan === "string" ? { beforeMs: Date.now() - parseAge(olderThan) } : {}),
  };
}

function isFiltered({ args, options }: CommandContext): boolean {
  return args.length > 0 || options.reason !== undefined || options.olderThan !== undefined;
}

function idsOf({ args }: CommandContext): number[] {
  return args.map((arg) => {
    if (/^\d{1,15}$/.test(arg)) return Number(arg);
    throw new SettingError(`Cannot read the number of a dead letter: got "${arg}"`, {
      hint: "Take it from lifelog-agent dead-letters list",
    });
  });
}

const AGE_UNITS_MS: Record<string, number> = { m: 60_000, h: 3_600_000, d: 86_400_000, w: 604_800_000 };

/** Reads an age such as `90m`, `12h`, `30d` or `2w` as milliseconds. */
function parseAge(text: string): number {
  const [, amount, unit] = /^(\d{1,6})([mhdw])$/.exec(text.trim()) ?? [];
  if (unit !== undefined) return Number(amount) * AGE_UNITS_MS[unit]!;
  throw new SettingError(`Cannot read "--older-than" as it must be an age: got "${text}"`, {
    hint: "Write 90m, 12h, 30d or 2w",
  });
}

function textOf(db: Database, { seq }: DeadLetter): string | undefined {
  try {
    return readDeadLetter(db, seq);
  } catch (error) {
    if (error instanceof SealError) return undefined;
    throw error;
  }
}

function toJson({ seq, bucketName, startUs, cachedAtMs, deadAtMs, status, reason }: DeadLetter) {
  return {
    id: seq,
    bucket: bucketName,
    event_start: formatTimeUs(startUs),
    collected_at: new Date(cachedAtMs).toISOString(),
    given_up_at: new Date(deadAtMs).toISOString(),
    status,
    reason,
  };
}

function notThere(ids: readonly number[]): UserError {
  return new UserError(`There is no dead letter of the number ${ids.join(", ")}`, {
    hint: "See lifelog-agent dead-letters list",
  });
}

async function noCache({ loadSettings }: CommandContext): Promise<string> {
  return `There is no cache at "${(await loadSettings()).settings.cachePath}" yet`;
}

function exists(path: string): boolean {
  try {
    return Deno.statSync(path).isFile;
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return false;
    throw error;
  }
}

function count(number: number, what: string): string {
  return `${number} ${what}${number === 1 ? "" : "s"}`;
}

function minute(ms: number): string {
  return new Date(ms).toISOString().slice(0, 16).replace("T", " ");
}

function pretty(text: string): string {
  try {
    return JSON.stringify(JSON.parse(text), null, 2);
  } catch {
    return text;
  }
}
