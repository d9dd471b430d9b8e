import * as v from "valibot";
import type { CacheKeySource } from "../cache_key.ts";
import { SettingError } from "../errors.ts";
import { isLoopback } from "../loopback.ts";
import { expandHome, stateFolder } from "../paths.ts";
import { dirname, join } from "node:path";
import { type Expressions, loadExpressions, NoExpressionsError } from "../filters/pattern.ts";
import { PRESET_NAMES } from "../filters/presets.ts";
import { nearest, readSettingsFile, type SettingsFileOptions } from "./file.ts";
import { readOwnRules } from "./privacy.ts";
import { LOG_LEVELS, type Origin, SETTINGS, type Settings } from "./settings.ts";

const PLACEHOLDER_ENDPOINT = "https://your-central-server.example.com/api/v1/ingest";
const PLACEHOLDER_TOKEN = /^(your|change|replace)[-_ ]?.*(token|secret|key|me|here)/i;

/** What {@link loadSettings} and {@link readSettings} need. */
export interface LoadOptions extends SettingsFileOptions {
  /** Values given as options, by the name of the variable. */
  readonly flags?: Readonly<Record<string, string>>;
  /** The engine of regular expressions, if privacy rules may have them. */
  readonly expressions?: Expressions;
}

/** What they found. */
export interface LoadedSettings {
  readonly settings: Settings;
  readonly origins: ReadonlyMap<string, Origin>;
  /** What was given, as text, by the name of the variable; secrets too. */
  readonly values: ReadonlyMap<string, string>;
  /** What a person should know about the settings though they can be used. */
  readonly warnings: readonly string[];
  /** The settings file that was read, if any. */
  readonly file?: string;
}

/**
 * Reads all settings, and loads the engine of regular expressions where a privacy rule has one.
 * @throws {SettingError} when any value cannot be used; the message names every one that is wrong
 */
export async function loadSettings(options: LoadOptions): Promise<LoadedSettings> {
  try {
    return readSettings(options);
  } catch (error) {
    if (!(error instanceof NoExpressionsError)) throw error;
    return readSettings({ ...options, expressions: await loadExpressions() });
  }
}

/**
 * Reads all settings: options win over the environment, the environment over the settings file, the file over the
 * defaults.
 * @throws {SettingError} when any value cannot be used; the message names every one that is wrong
 * @throws {NoExpressionsError} when a privacy rule has a regular expression and no engine is given
 */
export function readSettings(options: LoadOptions): LoadedSettings {
  const { flags = {}, env, readTextFile = Deno.readTextFileSync, expressions } = options;
  const place = options.os === undefined ? { env } : { env, os: options.os };
  const problems: string[] = [];
  const warnings: string[] = [];
  const origins = new Map<string, Origin>();
  const values = new Map<string, string>();
  const file = readSettingsFile(options);
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
      if (text === "") return undefined;
      // A quote that is not closed swallows the lines below it, and with them maybe the token.
      if (/[\r\n]/.test(text)) return problem(name, "on one line (is a quote not closed?)", from);
      values.set(name, text);
      return { text, from };
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

  /** The file of a secret that the service manager gives, by the setting's name in lower case. */
  function credential(name: string): string | undefined {
    const folder = env("CREDENTIALS_DIRECTORY");
    const file = folder ? join(folder, name.toLowerCase()) : undefined;
    return file !== undefined && isFile(file) ? file : undefined;
  }

  function warnIfExposed(file: string, why: string): void {
    // What the service manager gives is its own affair.
    const inCredentials = dirname(file) === env("CREDENTIALS_DIRECTORY");
    const mode = inCredentials ? undefined : modeOf(file, options.os);
    if (mode === undefined || (mode & 0o077) === 0) return;
    warnings.push(`"${file}" ${why} and other users may read it: run chmod 600 on it`);
  }

  if (file.path !== undefined && SETTINGS.some(({ env, secret }) => secret && file.values[env]?.trim())) {
    warnIfExposed(file.path, "holds a secret");
  }

  // Delivery.
  const flag = (name: string) =>
    read(
      name,
      "true or false",
      v.pipe(
        v.string(),
        v.toLowerCase(),
        v.picklist(["true", "1", "yes", "on", "false", "0", "no", "off"]),
        v.transform((word) => ["true", "1", "yes", "on"].includes(word)),
      ),
    ) ?? false;
  const allowInsecureHttp = flag("ALLOW_INSECURE_HTTP");
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
  const tokenFile = path("SERVER_AUTH_TOKEN_FILE") ?? credential("SERVER_AUTH_TOKEN");
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
    warnIfExposed(tokenFile, "holds the token");
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
  const clientCertFile = path("SERVER_CLIENT_CERT_FILE");
  const clientKeyFile = path("SERVER_CLIENT_KEY_FILE");
  if ((clientCertFile === undefined) !== (clientKeyFile === undefined)) {
    const [missing, given] = ["SERVER_CLIENT_KEY_FILE", "SERVER_CLIENT_CERT_FILE"];
    const [name, other] = clientKeyFile === undefined ? [missing, given] : [given, missing];
    problem(name, `set together with ${other}`, "nowhere set", "");
  }
  if (clientKeyFile !== undefined) warnIfExposed(clientKeyFile, "holds a private key");
  const pins = read(
    "SERVER_PINS",
    "sha256/ and 44 characters of base64, several with commas between them",
    v.pipe(
      v.string(),
      v.transform((text) => text.split(/\s*,\s*/)),
      v.array(v.pipe(v.string(), v.regex(/^sha256\/[A-Za-z0-9+/]{43}=$/))),
      v.transform((pins) => pins.map((pin) => pin.slice("sha256/".length))),
    ),
  ) ?? [];
  if (pins.length > 0 && endpoint !== undefined && endpoint.protocol !== "https:") {
    problem("SERVER_PINS", "left out where CENTRAL_SERVER_ENDPOINT is no https URL", "from its setting");
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
  const awApiKeyFile = credential("AW_API_KEY");
  let awApiKey = text("AW_API_KEY");
  if (awApiKey === undefined && awApiKeyFile !== undefined) {
    try {
      awApiKey = readTextFile(awApiKeyFile).trim() || undefined;
    } catch (error) {
      problem("AW_API_KEY", `readable as a credential (${reasonOf(error)})`, "from the service manager");
    }
  }
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
    v.pipe(v.string(), v.toUpperCase(), v.picklist(Object.keys(LOG_LEVELS) as (keyof typeof LOG_LEVELS)[])),
  );
  const logFormat = read(
    "LOG_FORMAT",
    "text or json",
    v.pipe(v.string(), v.toLowerCase(), v.picklist(["text", "json"])),
  );

  function cacheKeySource(): CacheKeySource | undefined {
    const key = text("CACHE_KEY");
    if (key !== undefined) return { text: key };
    const file = path("CACHE_KEY_FILE");
    if (file !== undefined) return { path: file };
    const given = credential("CACHE_KEY");
    return given === undefined ? undefined : { path: given, credential: true };
  }

  const preset = read(
    "PRIVACY_PRESET",
    `one of ${PRESET_NAMES.join(", ")}`,
    v.pipe(v.string(), v.toLowerCase(), v.picklist(PRESET_NAMES)),
  );

  const settings: Settings = {
    endpoint,
    token,
    deviceId,
    allowInsecureHttp,
    tls: { caFile: path("SERVER_CA_FILE"), clientCertFile, clientKeyFile, pins },
    collectionIntervalSeconds: number("COLLECTION_INTERVAL_SECONDS", 60, 1, 86400),
    sendIntervalSeconds: number("BATCH_SEND_INTERVAL_SECONDS", 300, 1, 86400),
    maxBatchSize: number("MAX_BATCH_SIZE", 500, 1, 10000),
    maxBatchBytes: number("MAX_BATCH_BYTES", 524288, 1024, 16777216),
    maxSendRetries: number("MAX_SEND_RETRIES", 3, 0, 100),
    retryDelaySeconds: number("RETRY_DELAY_SECONDS", 60, 0, 3600, false),
    requestTimeoutSeconds: number("REQUEST_TIMEOUT_SECONDS", 30, 1, 600),
    compressRequests: flag("COMPRESS_REQUESTS"),
    cachePath: path("LOCAL_CACHE_DB_PATH") ?? join(stateFolder(place), "cache.sqlite"),
    cacheMaxMb: number("CACHE_MAX_MB", 1024, 1, 1_048_576),
    cacheMaxAgeDays: number("CACHE_MAX_AGE_DAYS", 0, 0, 36_500),
    cacheWhenFull: read(
      "CACHE_WHEN_FULL",
      "pause or drop-oldest",
      v.pipe(v.string(), v.toLowerCase(), v.picklist(["pause", "drop-oldest"])),
    ) ?? "pause",
    cacheKey: cacheKeySource(),
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
    healthPort: number("HEALTH_PORT", 0, 0, 65535) || undefined,
    logLevel: LOG_LEVELS[level ?? "INFO"],
    logFile: path("LOG_FILE"),
    logFormat: logFormat ?? "text",
    privacy: {
      preset: preset ?? "standard",
      own: readOwnRules({ file, rulesFile: path("PRIVACY_RULES_FILE"), readTextFile, problems, expressions }),
    },
  };
  if (problems.length > 0) {
    throw new SettingError(problems.join("\n"), {
      hint: "Mend it where it comes from; nothing was collected or sent",
    });
  }
  return { settings, origins, values, warnings, ...(file.path === undefined ? {} : { file: file.path }) };
}

function isAddress(text: string): boolean {
  return text.toLowerCase() === "localhost" || /^\d{1,3}(\.\d{1,3}){3}$/.test(text) ||
    /^[0-9a-f]*:[0-9a-f:]+$/i.test(text);
}

function withoutUserInfo(text: string): string {
  return text.replace(/\/\/[^/@]*@/, "//…@");
}

function isFile(path: string): boolean {
  try {
    return Deno.statSync(path).isFile;
  } catch {
    return false;
  }
}

/** The permissions of a file; `undefined` where they say nothing. */
function modeOf(path: string, os: typeof Deno.build.os = Deno.build.os): number | undefined {
  try {
    return os === "windows" ? undefined : Deno.statSync(path).mode ?? undefined;
  } catch {
    return undefined;
  }
}

function reasonOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
