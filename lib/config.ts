import type { LogLevel } from "@logtape/logtape";
import { parse as parseDotenv } from "dotenv";
import { parse as parseToml } from "smol-toml";
import * as v from "valibot";
import { SettingError } from "./errors.ts";
import { configFiles, type Env, expandHome, stateFolder } from "./paths.ts";
import { join } from "node:path";

const PLACEHOLDER_ENDPOINT = "https://your-central-server.example.com/api/v1/ingest";
const PLACEHOLDER_TOKEN = /^(your|change|replace)[-_ ]?.*(token|secret|key|me|here)/i;

/** All that can be set. */
export interface Settings {
  /** The ingestion URL; absent: collect only. */
  readonly endpoint: URL | undefined;
  readonly token: string | undefined;
  /** Absent: generated once and kept. */
  readonly deviceId: string | undefined;
  readonly allowInsecureHttp: boolean;
  readonly collectionIntervalSeconds: number;
  readonly sendIntervalSeconds: number;
  readonly maxBatchSize: number;
  readonly maxBatchBytes: number;
  readonly maxSendRetries: number;
  readonly retryDelaySeconds: number;
  readonly requestTimeoutSeconds: number;
  readonly cachePath: string;
  readonly awUrl: URL;
  /** The device's name as it stands in bucket ids; absent: what ActivityWatch says. */
  readonly awHostname: string | undefined;
  readonly awApiKey: string | undefined;
  readonly bucketIds: {
    readonly window: string | undefined;
    readonly afk: string | undefined;
    readonly web: string | undefined;
  };
  readonly minDurationSeconds: number;
  readonly settleSeconds: number;
  readonly logLevel: LogLevel;
  readonly logFile: string | undefined;
  readonly logFormat: "text" | "json";
}

/** One setting: the single source of `--help`, the README's table and the names in the files. */
export interface Setting {
  /** The environment variable; in lower case the key of a TOML file. */
  readonly env: string;
  /** The option, without its dashes. */
  readonly flag: string;
  /** As it is written, or in words where there is none. */
  readonly default: string;
  readonly description: string;
  /** Never printed, and not to be given as an option, where every process can read it. */
  readonly secret?: boolean;
}

/** Every setting, in the order of the documents. */
export const SETTINGS: readonly Setting[] = [
  {
    env: "CENTRAL_SERVER_ENDPOINT",
    flag: "endpoint",
    default: "none",
    description: "the LifeLog server's ingestion URL; without one, events are collected and kept",
  },
  {
    env: "SERVER_AUTH_TOKEN",
    flag: "token",
    default: "none",
    description: "the server's bearer token",
    secret: true,
  },
  {
    env: "SERVER_AUTH_TOKEN_FILE",
    flag: "token-file",
    default: "none",
    description: "a file that holds the token",
  },
  {
    env: "DEVICE_ID",
    flag: "device-id",
    default: "generated once, kept",
    description: "this device's name at the server",
  },
  {
    env: "ALLOW_INSECURE_HTTP",
    flag: "allow-insecure-http",
    default: "false",
    description: "send over plain http to other hosts than this one: token and titles can be read on the way",
  },
  {
    env: "COLLECTION_INTERVAL_SECONDS",
    flag: "collection-interval",
    default: "60",
    description: "how often ActivityWatch is read, in seconds",
  },
  {
    env: "BATCH_SEND_INTERVAL_SECONDS",
    flag: "send-interval",
    default: "300",
    description: "how often the cache is sent, in seconds",
  },
  {
    env: "MAX_BATCH_SIZE",
    flag: "max-batch-size",
    default: "500",
    description: "events in one request at most",
  },
  {
    env: "MAX_BATCH_BYTES",
    flag: "max-batch-bytes",
    default: "524288",
    description: "bytes of events in one request at most",
  },
  {
    env: "MAX_SEND_RETRIES",
    flag: "max-send-retries",
    default: "3",
    description: "how often a request is tried again within one send",
  },
  {
    env: "RETRY_DELAY_SECONDS",
    flag: "retry-delay",
    default: "60",
    description: "base of the delay between tries, in seconds; it doubles, with jitter",
  },
  {
    env: "REQUEST_TIMEOUT_SECONDS",
    flag: "request-timeout",
    default: "30",
    description: "how long one request may take, in seconds",
  },
  {
    env: "LOCAL_CACHE_DB_PATH",
    flag: "cache",
    default: "cache.sqlite in the state folder",
    description: "the cache",
  },
  { env: "AW_URL", flag: "aw-url", default: "http://127.0.0.1:5600", description: "where ActivityWatch is" },
  {
    env: "AW_PORT",
    flag: "aw-port",
    default: "5600",
    description: "ActivityWatch's port, where AW_URL is not set",
  },
  {
    env: "AW_HOSTNAME",
    flag: "aw-hostname",
    default: "ActivityWatch's own",
    description: "this device's name in bucket ids; localhost or an IP address is where to connect instead",
  },
  {
    env: "AW_API_KEY",
    flag: "aw-api-key",
    default: "none",
    description: "the API key of an aw-server-rust that asks for one",
    secret: true,
  },
  {
    env: "AW_WINDOW_BUCKET_ID",
    flag: "aw-window-bucket",
    default: "found by type",
    description: "the window bucket; {hostname} is replaced",
  },
  {
    env: "AW_AFK_BUCKET_ID",
    flag: "aw-afk-bucket",
    default: "found by type",
    description: "the afk bucket; {hostname} is replaced",
  },
  {
    env: "AW_WEB_BROWSER_BUCKET_ID",
    flag: "aw-web-bucket",
    default: "found by type",
    description: "the web bucket; {hostname} is replaced",
  },
  {
    env: "AW_MIN_DURATION_SECONDS",
    flag: "min-duration",
    default: "5",
    description: "shorter events are dropped, afk events never; 0 keeps all",
  },
  {
    env: "AW_SETTLE_SECONDS",
    flag: "settle",
    default: "300",
    description: "how long after its end the newest event may still grow, in seconds",
  },
  {
    env: "LOG_LEVEL",
    flag: "log-level",
    default: "INFO",
    description: "DEBUG, INFO, WARNING, ERROR or CRITICAL",
  },
  {
    env: "LOG_FILE",
    flag: "log-file",
    default: "console only",
    description: "a file to log to beside the console; rotated",
  },
  { env: "LOG_FORMAT", flag: "log-format", default: "text", description: "text or json" },
];

/** Where a value came from. */
export type Origin = "option" | "environment" | "file" | "default";

/** What {@link loadSettings} needs. */
export interface LoadOptions {
  /** Values given as options, by the name of the variable. */
  readonly flags?: Readonly<Record<string, string>>;
  /** The settings file to read; it must exist then. */
  readonly config?: string;
  readonly env: Env;
  readonly os?: typeof Deno.build.os;
  readonly readTextFile?: (path: string) => string;
}

/** What {@link loadSettings} found. */
export interface LoadedSettings {
  readonly settings: Settings;
  readonly origins: ReadonlyMap<string, Origin>;
  /** What a person should know about the settings though they can be used. */
  readonly warnings: readonly string[];
  /** The settings file that was read, if any. */
  readonly file?: string;
}

/**
 * Reads all settings: options win over the environment, the environment over the settings file, the file over the
 * defaults.
 * @throws {SettingError} when any value cannot be used; the message names every one that is wrong
 */
export function loadSettings(options: LoadOptions): LoadedSettings {
  const { flags = {}, env, readTextFile = Deno.readTextFileSync } = options;
  const place = options.os === undefined ? { env } : { env, os: options.os };
  const problems: string[] = [];
  const warnings: string[] = [];
  const origins = new Map<string, Origin>();
  const file = readSettingsFile(options, readTextFile);
  for (const key of file.unknown) {
    const near = nearest(key);
    warnings.push(
      `"${file.path}" sets "${key}", which is no setting${
        near === undefined ? "" : `: did you mean ${near}?`
      }`,
    );
  }

  /** The value of a setting as text, trimmed; `undefined` when it is empty or nowhere set. */
  function raw(name: string): { text: string; from: string } | undefined {
    const places: [Origin, string | undefined, string][] = [
      ["option", flags[name], "given as an option"],
      ["environment", env(name), "from the environment"],
      ["file", file.values[name], `from "${file.path}"`],
    ];
    for (const [origin, value, from] of places) {
      if (value === undefined) continue;
      origins.set(name, origin);
      const text = value.trim();
      return text === "" ? undefined : { text, from };
    }
    origins.set(name, "default");
    return undefined;
  }

  function problem(name: string, must: string, from: string, text?: string): undefined {
    const got = text === undefined ? "its value is not shown" : `got ${JSON.stringify(text)}`;
    problems.push(`Cannot read setting "${name}" as it must be ${must}: ${got}, ${from}`);
  }

  function read<T>(name: string, must: string, schema: v.GenericSchema<string, T>): T | undefined {
    const value = raw(name);
    if (value === undefined) return undefined;
    const result = v.safeParse(schema, value.text);
    if (result.success) return result.output;
    const secret = SETTINGS.find(({ env }) => env === name)?.secret;
    return problem(name, must, value.from, secret ? undefined : value.text);
  }

  function number(name: string, byDefault: number, least: number, most: number, whole = true): number {
    const pattern = whole ? /^\d{1,15}$/ : /^\d{1,15}(\.\d{1,9})?$/;
    const schema = v.pipe(
      v.string(),
      v.regex(pattern),
      v.transform(Number),
      v.minValue(least),
      v.maxValue(most),
    );
    return read(name, `a ${whole ? "whole " : ""}number from ${least} to ${most}`, schema) ?? byDefault;
  }

  function url(name: string, text: string, from: string): URL | undefined {
    const parsed = URL.canParse(text) ? new URL(text) : undefined;
    if (parsed === undefined || !/^https?:$/.test(parsed.protocol)) {
      return problem(name, "a URL that begins with https:// or http://", from, withoutUserInfo(text));
    }
    if (parsed.username !== "" || parsed.password !== "") {
      return problem(name, "a URL without a user name or a password in it", from);
    }
    return parsed;
  }

  const text = (name: string) =>
    read(name, "text without control characters", v.pipe(v.string(), v.regex(/^\P{Cc}{1,4096}$/u)));
  const path = (name: string) => {
    const value = text(name);
    return value === undefined ? undefined : expandHome(value, place);
  };

  // Delivery.
  const allowInsecureHttp = read(
    "ALLOW_INSECURE_HTTP",
    "true or false",
    v.pipe(
      v.string(),
      v.toLowerCase(),
      v.picklist(["true", "1", "yes", "on", "false", "0", "no", "off"]),
      v.transform((word) => ["true", "1", "yes", "on"].includes(word)),
    ),
  ) ?? false;
  const endpointText = raw("CENTRAL_SERVER_ENDPOINT");
  let endpoint: URL | undefined;
  if (endpointText !== undefined && endpointText.text !== PLACEHOLDER_ENDPOINT) {
    endpoint = url("CENTRAL_SERVER_ENDPOINT", endpointText.text, endpointText.from);
    if (endpoint?.protocol === "http:" && !isLoopback(endpoint) && !allowInsecureHttp) {
      problem(
        "CENTRAL_SERVER_ENDPOINT",
        "an https URL (http is for this device only, unless ALLOW_INSECURE_HTTP is true)",
        endpointText.from,
        endpointText.text,
      );
    }
  }
  let token = text("SERVER_AUTH_TOKEN");
  const tokenFile = path("SERVER_AUTH_TOKEN_FILE");
  if (token === undefined && tokenFile !== undefined) {
    try {
      token = readTextFile(tokenFile).trim() || undefined;
    } catch (error) {
      problem(
        "SERVER_AUTH_TOKEN_FILE",
        `a file that can be read (${reasonOf(error)})`,
        "from its setting",
        tokenFile,
      );
    }
    if (token !== undefined && /\p{Cc}/u.test(token)) {
      problem("SERVER_AUTH_TOKEN_FILE", "a file with one line, the token", "from its setting", tokenFile);
    }
  }
  if (token !== undefined && !/^[\x21-\x7e]+$/.test(token)) {
    problem(
      "SERVER_AUTH_TOKEN",
      "made of ASCII letters, digits and signs, without blanks",
      "from its setting",
    );
  }
  if (token !== undefined && PLACEHOLDER_TOKEN.test(token)) {
    warnings.push("SERVER_AUTH_TOKEN is a placeholder and counts as not set");
    token = undefined;
  }
  const deviceId = read(
    "DEVICE_ID",
    "1 to 200 characters, none of them a control character",
    v.pipe(v.string(), v.regex(/^\P{Cc}{1,200}$/u)),
  );
  if (deviceId === "default-device-01") {
    warnings.push(
      "DEVICE_ID is default-device-01, which other devices may use as well: the server cannot tell them apart",
    );
  }

  // ActivityWatch.
  const port = number("AW_PORT", 5600, 1, 65535);
  const hostname = text("AW_HOSTNAME");
  const address = hostname !== undefined && isAddress(hostname) ? hostname : undefined;
  const awUrlText = raw("AW_URL");
  const awUrl = (awUrlText === undefined ? undefined : url("AW_URL", awUrlText.text, awUrlText.from)) ??
    new URL(`http://${address?.includes(":") ? `[${address}]` : address ?? "127.0.0.1"}:${port}`);
  const awApiKey = text("AW_API_KEY");
  if (awApiKey !== undefined && !isLoopback(awUrl)) {
    problem(
      "AW_API_KEY",
      "left out unless ActivityWatch is on this device (AW_URL names another)",
      "from its setting",
    );
  }

  const level = read(
    "LOG_LEVEL",
    "DEBUG, INFO, WARNING, ERROR or CRITICAL",
    v.pipe(v.string(), v.toUpperCase(), v.picklist(Object.keys(LEVELS) as (keyof typeof LEVELS)[])),
  );
  const logFormat = read(
    "LOG_FORMAT",
    "text or json",
    v.pipe(v.string(), v.toLowerCase(), v.picklist(["text", "json"])),
  );

  const settings: Settings = {
    endpoint,
    token,
    deviceId,
    allowInsecureHttp,
    collectionIntervalSeconds: number("COLLECTION_INTERVAL_SECONDS", 60, 1, 86400),
    sendIntervalSeconds: number("BATCH_SEND_INTERVAL_SECONDS", 300, 1, 86400),
    maxBatchSize: number("MAX_BATCH_SIZE", 500, 1, 10000),
    maxBatchBytes: number("MAX_BATCH_BYTES", 524288, 1024, 16777216),
    maxSendRetries: number("MAX_SEND_RETRIES", 3, 0, 100),
    retryDelaySeconds: number("RETRY_DELAY_SECONDS", 60, 0, 3600, false),
    requestTimeoutSeconds: number("REQUEST_TIMEOUT_SECONDS", 30, 1, 600),
    cachePath: path("LOCAL_CACHE_DB_PATH") ?? join(stateFolder(place), "cache.sqlite"),
    awUrl,
    awHostname: address === undefined ? hostname : undefined,
    awApiKey,
    bucketIds: {
      window: text("AW_WINDOW_BUCKET_ID"),
      afk: text("AW_AFK_BUCKET_ID"),
      web: text("AW_WEB_BROWSER_BUCKET_ID"),
    },
    minDurationSeconds: number("AW_MIN_DURATION_SECONDS", 5, 0, 86400, false),
    settleSeconds: number("AW_SETTLE_SECONDS", 300, 0, 86400),
    logLevel: LEVELS[level ?? "INFO"],
    logFile: path("LOG_FILE"),
    logFormat: logFormat ?? "text",
  };
  if (problems.length > 0) {
    throw new SettingError(problems.join("\n"), {
      hint: "Mend it where it comes from; nothing was collected or sent",
    });
  }
  return { settings, origins, warnings, ...(file.path === undefined ? {} : { file: file.path }) };
}

const LEVELS = {
  DEBUG: "debug",
  INFO: "info",
  WARNING: "warning",
  WARN: "warning",
  ERROR: "error",
  CRITICAL: "fatal",
  FATAL: "fatal",
} as const satisfies Record<string, LogLevel>;

interface SettingsFile {
  readonly path?: string;
  readonly values: Readonly<Record<string, string>>;
  readonly unknown: readonly string[];
}

/** Reads the settings file: the named one, or the first that exists at the usual places. */
function readSettingsFile(options: LoadOptions, readTextFile: (path: string) => string): SettingsFile {
  const { env, config, os } = options;
  const place = os === undefined ? { env } : { env, os };
  const named = config ?? (env("LIFELOG_CONFIG")?.trim() || undefined);
  for (const path of named === undefined ? usualFiles(place) : [expandHome(named, place)]) {
    let text: string;
    try {
      text = readTextFile(path);
    } catch (error) {
      if (named === undefined && error instanceof Deno.errors.NotFound) continue;
      throw new SettingError(`Cannot read the settings file "${path}": ${reasonOf(error)}`, {
        cause: error,
        hint: "Name a file that exists and that you may read by --config or LIFELOG_CONFIG",
      });
    }
    return { path, ...parseSettingsFile(path, text.replace(/^\uFEFF/, "")) };
  }
  return { values: {}, unknown: [] };
}

/** Without a home folder there are no usual places, and everything may still be set by the environment. */
function usualFiles(place: { env: Env; os?: typeof Deno.build.os }): string[] {
  try {
    return configFiles(place);
  } catch (error) {
    if (error instanceof SettingError) return [];
    throw error;
  }
}

function parseSettingsFile(path: string, text: string): Omit<SettingsFile, "path"> {
  let parsed: Record<string, unknown>;
  try {
    parsed = path.toLowerCase().endsWith(".toml") ? parseToml(text) : parseDotenv(text);
  } catch (error) {
    // The parser's message quotes lines of the file, among which the token may be.
    const line = (error as { line?: unknown }).line;
    throw new SettingError(
      `Cannot read the settings file "${path}" as it is no valid TOML${
        typeof line === "number" ? ` (line ${line})` : ""
      }`,
      { hint: "Write each setting as name = value, with text in double quotes" },
    );
  }
  const values: Record<string, string> = {};
  const unknown: string[] = [];
  for (const [key, value] of Object.entries(parsed)) {
    const name = key.toUpperCase();
    if (!SETTINGS.some(({ env }) => env === name)) unknown.push(key);
    else if (["string", "number", "boolean", "bigint"].includes(typeof value)) values[name] = String(value);
    else {
      throw new SettingError(
        `Cannot read setting "${key}" in "${path}" as it must be text, a number, true or false`,
      );
    }
  }
  return { values, unknown };
}

/** The setting whose name is most like `key`, if any is. */
function nearest(key: string): string | undefined {
  const name = key.toUpperCase();
  const [best] = SETTINGS.map(({ env }) => ({ env, distance: editDistance(name, env) }))
    .sort((a, b) => a.distance - b.distance);
  return best !== undefined && best.distance <= 4 ? best.env : undefined;
}

function editDistance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, i) => i);
  for (let i = 1; i <= a.length; i++) {
    const next = [i];
    for (let j = 1; j <= b.length; j++) {
      next.push(Math.min(row[j]! + 1, next[j - 1]! + 1, row[j - 1]! + (a[i - 1] === b[j - 1] ? 0 : 1)));
    }
    row = next;
  }
  return row[b.length]!;
}

/** Tells whether a URL's host is this device. */
export function isLoopback(url: URL): boolean {
  return url.hostname === "localhost" || url.hostname === "[::1]" || /^127(\.\d{1,3}){3}$/.test(url.hostname);
}

function isAddress(text: string): boolean {
  return text.toLowerCase() === "localhost" || /^\d{1,3}(\.\d{1,3}){3}$/.test(text) ||
    /^[0-9a-f]*:[0-9a-f:]+$/i.test(text);
}

function withoutUserInfo(text: string): string {
  return text.replace(/\/\/[^/@]*@/, "//…@");
}

function reasonOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
