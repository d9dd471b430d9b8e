import { getRotatingFileSink } from "@logtape/file";
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
import { makePrivateFolder } from "./paths.ts";

const MAX_FILE_BYTES = 5 * 1024 * 1024;
const MAX_FILES = 5;

/** What {@link configureLogging} may be told. */
export interface LogOptions {
  readonly level?: LogLevel;
  /** A file to write to beside the console; rotated. */
  readonly file?: string | undefined;
  /** `json` writes a JSON object a line. Default: `text`. */
  readonly format?: "text" | "json";
  readonly noColor?: boolean;
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
    beforeLine,
    write = writeToStderr,
    isTerminal = Deno.stderr.isTerminal(),
  } = options;
  const plain = format === "json"
    ? getJsonLinesFormatter({ message: "rendered" })
    : textFormatter(getTextFormatter);
  const colored = format === "json" || noColor || !isTerminal ? plain : textFormatter(getAnsiColorFormatter);
  const sinks: Record<string, Sink> = {
    console(record: LogRecord) {
      beforeLine?.();
      write(colored(record));
    },
  };
  if (file !== undefined) sinks.file = openFile(file, plain);
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

function textFormatter(make: typeof getTextFormatter) {
  return make({
    timestamp: (ms) => new Date(ms).toISOString().replace(/\.\d+Z$/, "Z"),
    level: (level) => level.toUpperCase().padEnd(7),
    category: (category) => category.slice(1).join(".") || "agent",
    value: (value) => typeof value === "string" ? value : Deno.inspect(value),
    format: ({ timestamp, level, category, message }) => `${timestamp} ${level} ${category}: ${message}`,
  });
}

function openFile(path: string, formatter: (record: LogRecord) => string): Sink {
  try {
    makePrivateFolder(dirname(path));
    // Made here, so that nobody else can read it from its first line on.
    Deno.openSync(path, { create: true, append: true, mode: 0o600 }).close();
    return getRotatingFileSink(path, {
      formatter,
      maxSize: MAX_FILE_BYTES,
      maxFiles: MAX_FILES,
      bufferSize: 0,
    });
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
