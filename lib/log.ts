import {
  configure,
  dispose,
  getAnsiColorFormatter,
  getJsonLinesFormatter,
  getTextFormatter,
  type LogLevel,
  type LogRecord,
  type Sink,
} from "@logtape/logtape";
import { dirname } from "node:path";
import { SettingError } from "./errors.ts";
import { type Env, makePrivateFolder } from "./paths.ts";
import { checkPrivateFolder, makePrivateFile, refuseForeignFile } from "./private_files.ts";

const MAX_FILE_BYTES = 5 * 1024 * 1024;
/** Beside the one that is written to. */
const MAX_FILES = 4;

/** What {@link configureLogging} may be told. */
export interface LogOptions {
  readonly level?: LogLevel;
  /** A file to write to beside the console; rotated. */
  readonly file?: string | undefined;
  /** `json` writes a JSON object a line. Default: `text`. */
  readonly format?: "text" | "json";
  readonly noColor?: boolean;
  /**
   * The console is systemd's journal, which keeps the time and the level itself: lines begin with the level as
   * `<N>` (sd-daemon(3)) and have neither.
   */
  readonly journal?: boolean;
  /** Called before each line on the console. */
  readonly beforeLine?: () => void;
  /** Writes to the console. Default: the standard error. */
  readonly write?: (text: string) => void;
  readonly isTerminal?: boolean;
}

/**
 * Sets up the log: lines on the standard error and, where asked for, in a file of at most 5 MB with four before
 * it, readable by its owner alone. The console never fails the agent: where it is closed, lines are dropped.
 *
 * @returns disposing of it writes out what is buffered
 * @throws {SettingError} when the log file cannot be written
 */
export async function configureLogging(options: LogOptions = {}): Promise<AsyncDisposable> {
  const {
    level = "info",
    file,
    format = "text",
    noColor = false,
    journal = false,
    beforeLine,
    write = writeToStderr,
    isTerminal = Deno.stderr.isTerminal(),
  } = options;
  const plain = format === "json"
    ? getJsonLinesFormatter({ message: "rendered" })
    : textFormatter(getTextFormatter);
  const colored = journal
    ? journalFormatter(format === "json" ? plain : textFormatter(getTextFormatter, journalLine))
    : format === "json" || noColor || !isTerminal
    ? plain
    : textFormatter(getAnsiColorFormatter);
  const sinks: Record<string, Sink> = {
    console(record: LogRecord) {
      beforeLine?.();
      write(colored(record));
    },
  };
  if (file !== undefined) sinks.file = await openFile(file, plain);
  await configure({
    reset: true,
    sinks,
    loggers: [
      { category: ["lifelog-agent"], lowestLevel: level, sinks: Object.keys(sinks) },
      { category: ["logtape", "meta"], lowestLevel: "error", sinks: ["console"] },
    ],
  });
  return { [Symbol.asyncDispose]: dispose };
}

/** The parts of a line, each as text. */
interface Line {
  readonly timestamp: string | null;
  readonly level: string;
  readonly category: string;
  readonly message: string;
}

const wholeLine = ({ timestamp, level, category, message }: Line) =>
  `${timestamp} ${level} ${category}: ${singular(message)}`;
const journalLine = ({ category, message }: Line) => `${category}: ${singular(message)}`;

/** Puts a noun after a lone 1 in the singular: messages are written for many, with their numbers as fields. */
function singular(message: string): string {
  return message.replace(/(?<![\d.,])1 (event|request|bucket|file)s\b/g, "1 $1");
}

/** The levels of syslog(3), which the journal goes by. */
const PRIORITIES: Record<LogLevel, number> = {
  trace: 7,
  debug: 7,
  info: 6,
  warning: 4,
  error: 3,
  fatal: 2,
};

function journalFormatter(format: (record: LogRecord) => string): (record: LogRecord) => string {
  return (record) => `<${PRIORITIES[record.level]}>${format(record).trimEnd().replaceAll("\n", "\n  ")}\n`;
}

/**
 * Tells whether the standard error is systemd's journal: a service that has redirected it has the variable too, but
 * not the stream that it names.
 */
export function isJournal(env: Env, stat: (path: string) => Deno.FileInfo = Deno.statSync): boolean {
  const named = env("JOURNAL_STREAM");
  if (!named) return false;
  try {
    const { dev, ino } = stat("/dev/stderr");
    return named === `${dev}:${ino}`;
  } catch {
    return false;
  }
}

function textFormatter(make: typeof getTextFormatter, line: (parts: Line) => string = wholeLine) {
  return make({
    timestamp: (ms) => new Date(ms).toISOString().replace(/\.\d+Z$/, "Z"),
    level: (level) => level.toUpperCase().padEnd(7),
    category: (category) => category.slice(1).join(".") || "agent",
    value: (value) => typeof value === "string" ? value : Deno.inspect(value),
    format: line,
  });
}

async function openFile(path: string, formatter: (record: LogRecord) => string): Promise<Sink> {
  const { getRotatingFileSink } = await import("@logtape/file");
  try {
    makePrivateFolder(dirname(path));
    checkPrivateFolder(dirname(path));
    // Made here, so that nobody else can read it from its first line on; so are those before it, which are moved.
    for (let n = 0; n <= MAX_FILES; n++) refuseForeignFile(n === 0 ? path : `${path}.${n}`);
    makePrivateFile(path);
    Deno.openSync(path, { append: true }).close();
    const rotating = getRotatingFileSink(path, {
      formatter,
      maxSize: MAX_FILE_BYTES,
      maxFiles: MAX_FILES,
      bufferSize: 0,
    });
    return Deno.build.os === "windows" ? rotating : keptPrivate(rotating, path);
  } catch (error) {
    throw new SettingError(
      `Cannot write the log file "${path}": ${error instanceof Error ? error.message : error}`,
      {
        cause: error,
        hint: "Set LOG_FILE to a file that you may write to, or leave it empty for the console only",
      },
    );
  }
}

/** A rotation makes a new file, which the library gives to whom the umask says. */
function keptPrivate(sink: Sink & Disposable, path: string): Sink & Disposable {
  let inode = Deno.statSync(path).ino;
  return Object.assign((record: LogRecord) => {
    sink(record);
    const { ino } = Deno.statSync(path);
    if (ino === inode) return;
    inode = ino;
    Deno.chmodSync(path, 0o600);
  }, { [Symbol.dispose]: () => sink[Symbol.dispose]() });
}

function writeToStderr(text: string): void {
  const bytes = new TextEncoder().encode(text);
  try {
    for (let at = 0; at < bytes.length;) at += Deno.stderr.writeSync(bytes.subarray(at));
  } catch { /* the terminal has gone: there is nobody to tell */ }
}

/** Keeps a fault that lasts from being logged at every turn. */
export interface RepeatGate {
  /** Notes a failure; returns the line to log, or `undefined` when it was said already. */
  failed(key: string, message: string): string | undefined;
  /** Notes that it works; returns the line to log when it had failed before. */
  recovered(key: string): string | undefined;
}

/** What {@link createRepeatGate} may be told. */
export interface RepeatGateOptions {
  readonly now?: () => number;
  /** How often a fault that lasts is said again, in milliseconds. Default: one hour. */
  readonly everyMs?: number;
}

/** Makes a gate: a failure is said when it begins or changes, then once an hour with its count, and when it ends. */
export function createRepeatGate(options: RepeatGateOptions = {}): RepeatGate {
  const { now = Date.now, everyMs = 3_600_000 } = options;
  const faults = new Map<string, { message: string; sinceMs: number; saidMs: number; times: number }>();
  return {
    failed(key, message) {
      const fault = faults.get(key);
      const nowMs = now();
      if (fault === undefined || fault.message !== message) {
        faults.set(key, {
          message,
          sinceMs: fault?.sinceMs ?? nowMs,
          saidMs: nowMs,
          times: (fault?.times ?? 0) + 1,
        });
        return message;
      }
      fault.times++;
      // A clock that was put back must not silence it for as long.
      if (nowMs >= fault.saidMs && nowMs - fault.saidMs < everyMs) return undefined;
      fault.saidMs = nowMs;
      return `${message} (still failing, ${fault.times} times since ${shortTime(fault.sinceMs)})`;
    },
    recovered(key) {
      const fault = faults.get(key);
      if (fault === undefined) return undefined;
      faults.delete(key);
      return `Works again after ${fault.times} ${fault.times === 1 ? "failure" : "failures"} since ${
        shortTime(fault.sinceMs)
      }: ${fault.message}`;
    },
  };
}

function shortTime(ms: number): string {
  return `${new Date(ms).toISOString().slice(0, 16)}Z`;
}
