import { getLogger } from "@logtape/logtape";
import { Command, CommanderError, Option } from "commander";
import { dirname } from "node:path";
import metadata from "../deno.json" with { type: "json" };
import { run } from "./commands/run.ts";
import { loadSettings, SETTINGS, type Settings } from "./config.ts";
import { AlreadyRunningError, SettingError, StoreError, UserError } from "./errors.ts";
import type { Filter, Sink, Source } from "./event.ts";
import { ExitCode } from "./exit_codes.ts";
import { takeLock } from "./lock.ts";
import { configureLogging } from "./log.ts";
import { deviceIdFile, makePrivateFile, makePrivateFolder, readOrCreateDeviceId } from "./paths.ts";
import { createProgress } from "./progress.ts";
import { listenForStop } from "./signals.ts";
import { parseSince } from "./since.ts";
import { openDatabase, sqliteVersion } from "./store/database.ts";

/** What the program gets from outside and what it is made of. */
export interface ProgramOptions {
  readonly args: readonly string[];
  readonly env: (name: string) => string | undefined;
  /** Ends the process at once. */
  readonly terminate: (code: number) => void;
  readonly source: (settings: Settings, onSkipped: (bucketId: string) => void) => Source;
  readonly filters: (settings: Settings) => Filter[];
  /** Returns `undefined` when no endpoint is set. */
  readonly sink: (settings: Settings, deviceId: string) => Sink | undefined;
}

/** What the command line asks for. */
interface Invocation {
  readonly once: boolean;
  readonly since?: string;
  readonly config?: string;
  /** Settings given as options, by the name of their environment variable. */
  readonly flags: Record<string, string>;
}

/**
 * Runs the program from its arguments to its exit code. Prints what a person has to know to the standard error.
 * @returns the exit code, see {@link ExitCode}
 */
export async function runProgram(options: ProgramOptions): Promise<number> {
  try {
    const invocation = parseArguments(options.args);
    return typeof invocation === "number" ? invocation : await start(invocation, options);
  } catch (error) {
    if (!(error instanceof UserError)) throw error;
    console.error(`lifelog-agent: ${error.message}${error.hint === undefined ? "" : `\n${error.hint}`}`);
    return exitCodeOf(error);
  }
}

function exitCodeOf(error: UserError): ExitCode {
  if (error instanceof SettingError) return ExitCode.Usage;
  if (error instanceof StoreError) return ExitCode.Store;
  if (error instanceof AlreadyRunningError) return ExitCode.AlreadyRunning;
  return ExitCode.Failed;
}

/** Reads the arguments; returns an exit code where they were a question that is answered by now. */
function parseArguments(args: readonly string[]): Invocation | number {
  const program = new Command("lifelog-agent")
    .description("Delivers what ActivityWatch records on this device to a LifeLog server, exactly.")
    .version(versions(), "--version", "print the versions of the agent, Deno and SQLite")
    .helpOption("-h, --help", "print this help")
    .option("--once", "collect and deliver once, then end")
    .option(
      "--since <date>",
      'begin at a date, "30d" ago or with "all" there is (default: 24 hours before the first run)',
    )
    .option("--config <file>", "read the settings from this file")
    .showHelpAfterError("Run lifelog-agent --help for the options")
    .addHelpText(
      "after",
      `\nEach option of a setting is also read from the environment and the settings file, by the name in brackets.`,
    )
    .exitOverride();
  for (const setting of SETTINGS) {
    // A secret in the arguments is in everybody's list of processes.
    if (setting.flag === undefined || setting.secret) continue;
    program.addOption(new Option(`--${setting.flag} <value>`, `${setting.description} [${setting.env}]`));
  }
  try {
    program.parse(args, { from: "user" });
  } catch (error) {
    if (!(error instanceof CommanderError)) throw error;
    return error.exitCode === 0 ? ExitCode.Ok : ExitCode.Usage;
  }
  if (program.args.length > 0) {
    throw new SettingError(`Cannot run the command "${program.args[0]}" as there is none of that name`, {
      hint: "Run lifelog-agent --help for what there is",
    });
  }
  const given = program.opts<Record<string, string | boolean>>();
  const flags: Record<string, string> = {};
  for (const setting of SETTINGS) {
    const value = setting.flag === undefined ? undefined : given[camelCase(setting.flag)];
    if (typeof value === "string") flags[setting.env] = value;
  }
  return {
    once: given.once === true,
    ...(typeof given.since === "string" ? { since: given.since } : {}),
    ...(typeof given.config === "string" ? { config: given.config } : {}),
    flags,
  };
}

async function start(invocation: Invocation, options: ProgramOptions): Promise<number> {
  const { env, terminate } = options;
  const { settings, warnings } = loadSettings({ ...invocation, env });
  const sinceUs = invocation.since === undefined ? undefined : parseSince(invocation.since, Date.now());

  const progress = createProgress(terminalOf());
  await using _logging = await configureLogging({
    level: settings.logLevel,
    file: settings.logFile,
    format: settings.logFormat,
    noColor: (env("NO_COLOR") ?? "") !== "",
    beforeLine: progress.clear,
  });
  const log = getLogger(["lifelog-agent"]);
  for (const warning of warnings) log.warn("{warning}", { warning });

  makePrivateFolder(dirname(settings.cachePath));
  using _lock = takeLock(`${settings.cachePath}.lock`);
  makePrivateFile(settings.cachePath);
  using db = openDatabase(settings.cachePath);
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
  return await run({
    settings,
    deviceId,
    db,
    source: options.source(settings, onSkipped),
    filters: options.filters(settings),
    sink: options.sink(settings, deviceId),
    once: invocation.once,
    sinceUs,
    progress,
    signal: stop.signal,
  });
}

function versions(): string {
  return `lifelog-agent ${metadata.version}\ndeno ${Deno.version.deno}\nsqlite ${sqliteVersion()}`;
}

function terminalOf() {
  if (!Deno.stderr.isTerminal()) return {};
  const encoder = new TextEncoder();
  return {
    write: (text: string) => void Deno.stderr.writeSync(encoder.encode(text)),
    columns: () => Deno.consoleSize().columns,
  };
}

function camelCase(flag: string): string {
  return flag.replace(/-(.)/g, (_, letter: string) => letter.toUpperCase());
}
