import type { WhenFull } from "../store/room.ts";
import type { LogLevel } from "@logtape/logtape";
import type { CacheKeySource } from "../cache_key.ts";
import type { PresetName } from "../filters/presets.ts";
import type { RuleSet } from "../filters/rule.ts";

/** All that can be set. */
export interface Settings {
  /** The ingestion URL; absent: collect only. */
  readonly endpoint: URL | undefined;
  readonly token: string | undefined;
  /** Absent: generated once and kept. */
  readonly deviceId: string | undefined;
  readonly allowInsecureHttp: boolean;
  /** How the server is known, and how it knows this device, beside the token. */
  readonly tls: {
    readonly caFile: string | undefined;
    readonly clientCertFile: string | undefined;
    readonly clientKeyFile: string | undefined;
    /** SHA-256 hashes of public keys in base64. */
    readonly pins: readonly string[];
  };
  readonly collectionIntervalSeconds: number;
  readonly sendIntervalSeconds: number;
  readonly maxBatchSize: number;
  readonly maxBatchBytes: number;
  readonly maxSendRetries: number;
  readonly retryDelaySeconds: number;
  readonly requestTimeoutSeconds: number;
  readonly compressRequests: boolean;
  readonly cachePath: string;
  readonly cacheMaxMb: number;
  /** 0 for no limit. */
  readonly cacheMaxAgeDays: number;
  readonly cacheWhenFull: WhenFull;
  /** Where the key of an encrypted cache is; read when the cache is opened. */
  readonly cacheKey: CacheKeySource | undefined;
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
  /** The port of health, metrics and dashboard on 127.0.0.1; absent: none. */
  readonly healthPort: number | undefined;
  readonly logLevel: LogLevel;
  readonly logFile: string | undefined;
  readonly logFormat: "text" | "json";
  /** What may leave the device. */
  readonly privacy: { readonly preset: PresetName; readonly own: RuleSet };
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
  /** What a shell offers as its value; where there is none, the person knows it. */
  readonly choices?: readonly string[];
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
    choices: ["true", "false"],
  },
  {
    env: "SERVER_CA_FILE",
    flag: "ca-file",
    default: "none",
    description: "a PEM file of certificate authorities to trust beside the usual ones",
  },
  {
    env: "SERVER_CLIENT_CERT_FILE",
    flag: "client-cert-file",
    default: "none",
    description: "a PEM file of the certificate by which the server knows this device (mTLS)",
  },
  {
    env: "SERVER_CLIENT_KEY_FILE",
    flag: "client-key-file",
    default: "none",
    description: "a PEM file of that certificate's key",
  },
  {
    env: "SERVER_PINS",
    flag: "pins",
    default: "none",
    description: "sha256/… of the server's public key, several with commas; other keys are refused",
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
    env: "COMPRESS_REQUESTS",
    flag: "compress-requests",
    default: "false",
    description: "compress requests with gzip, which the LifeLog server itself does not decode",
  },
  {
    env: "LOCAL_CACHE_DB_PATH",
    flag: "cache",
    default: "cache.sqlite in the state folder",
    description: "the cache",
  },
  {
    env: "CACHE_MAX_MB",
    flag: "cache-max-mb",
    default: "1024",
    description: "how large the cache may become in an endless outage, in megabytes",
  },
  {
    env: "CACHE_MAX_AGE_DAYS",
    flag: "cache-max-age",
    default: "no limit",
    description: "how long an event may wait, in days",
  },
  {
    env: "CACHE_WHEN_FULL",
    flag: "cache-when-full",
    default: "pause",
    description: "at a limit: pause collection, or drop-oldest to lose the oldest that wait for good",
    choices: ["pause", "drop-oldest"],
  },
  {
    env: "CACHE_KEY_FILE",
    flag: "cache-key-file",
    default: "none",
    description: "a file, readable by you alone, with the key that the cache is encrypted with",
  },
  {
    env: "CACHE_KEY",
    flag: "cache-key",
    default: "none",
    description: "that key itself: 32 random bytes in base64 or hexadecimal",
    secret: true,
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
    env: "HEALTH_PORT",
    flag: "health-port",
    default: "0",
    description: "the port of health, metrics and dashboard, on 127.0.0.1 alone; 0 for none",
  },
  {
    env: "PRIVACY_PRESET",
    flag: "privacy-preset",
    default: "standard",
    description: "what may leave this device: full, standard, work or minimal (see Privacy)",
    choices: ["full", "standard", "work", "minimal"],
  },
  {
    env: "PRIVACY_RULES_FILE",
    flag: "privacy-rules",
    default: "none",
    description: "a TOML file with privacy rules of your own",
  },
  {
    env: "LOG_LEVEL",
    flag: "log-level",
    default: "INFO",
    description: "DEBUG, INFO, WARNING, ERROR or CRITICAL",
    choices: ["DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"],
  },
  {
    env: "LOG_FILE",
    flag: "log-file",
    default: "console only",
    description: "a file to log to beside the console; rotated",
  },
  {
    env: "LOG_FORMAT",
    flag: "log-format",
    default: "text",
    description: "text or json",
    choices: ["text", "json"],
  },
];

/** Where a value came from. */
export type Origin = "option" | "environment" | "file" | "default";

/** The words of LOG_LEVEL, the Python daemon's, and what LogTape calls them. */
export const LOG_LEVELS = {
  DEBUG: "debug",
  INFO: "info",
  WARNING: "warning",
  WARN: "warning",
  ERROR: "error",
  CRITICAL: "fatal",
  FATAL: "fatal",
} as const satisfies Record<string, LogLevel>;
