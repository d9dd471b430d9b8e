import assert from "node:assert/strict";
import { join } from "node:path";
import { type LoadedSettings, type LoadOptions, readSettings } from "../../lib/config/load.ts";
import { SETTINGS } from "../../lib/config/settings.ts";

/** Loads settings of a device with these files and variables, and no others. */
function load(
  { files = {}, env = {}, ...options }:
    & { files?: Record<string, string>; env?: Record<string, string> }
    & Partial<
      Pick<LoadOptions, "config" | "flags" | "os">
    >,
): LoadedSettings {
  const variables: Record<string, string> = { HOME: "/home/ada", ...env };
  return readSettings({
    os: "linux",
    env: (name) => variables[name],
    readTextFile: (path) => {
      const text = files[path];
      if (text === undefined) throw new Deno.errors.NotFound(`No such file: ${path}`);
      return text;
    },
    ...options,
  });
}

const ENV_FILE = "/home/ada/.config/lifelog-agent/config.env";
const TOML_FILE = "/home/ada/.config/lifelog-agent/config.toml";
const DAEMON_FILE = "/home/ada/.lifelog/config.env";

Deno.test("with nothing set everything has its default, and nothing is delivered anywhere", () => {
  const { settings, warnings, origins } = load({});
  assert.equal(settings.endpoint, undefined);
  assert.equal(settings.token, undefined);
  assert.equal(settings.deviceId, undefined);
  assert.equal(settings.awUrl.href, "http://127.0.0.1:5600/");
  assert.equal(settings.cachePath, "/home/ada/.local/state/lifelog-agent/cache.sqlite");
  assert.deepEqual(
    [
      settings.collectionIntervalSeconds,
      settings.sendIntervalSeconds,
      settings.maxBatchSize,
      settings.maxSendRetries,
      settings.retryDelaySeconds,
      settings.minDurationSeconds,
      settings.settleSeconds,
      settings.logLevel,
      settings.logFile,
    ],
    [60, 300, 500, 3, 60, 5, 300, "info", undefined],
  );
  assert.deepEqual(warnings, []);
  assert.ok([...origins.values()].every((origin) => origin === "default"));
});

Deno.test("every number that is documented as a default is the default", () => {
  const { settings } = load({});
  const numbers = Object.values(settings).filter((value) => typeof value === "number");
  for (const { env, default: text } of SETTINGS) {
    if (/^\d+$/.test(text) && !env.endsWith("_PORT")) {
      assert.ok(numbers.includes(Number(text)), `${env}: ${text}`);
    }
  }
});

Deno.test("the Python daemon's config.env works as it did, with all its variables", () => {
  const text = `# LifeLog
CENTRAL_SERVER_ENDPOINT="https://lifelog.example.org/api/v1/ingest"
SERVER_AUTH_TOKEN='tok-123'
export DEVICE_ID=laptop 1
COLLECTION_INTERVAL_SECONDS=30
BATCH_SEND_INTERVAL_SECONDS=120   # two minutes
MAX_BATCH_SIZE=50
MAX_SEND_RETRIES=0
RETRY_DELAY_SECONDS=1.5
LOCAL_CACHE_DB_PATH=~/cache/aw.sqlite
AW_HOSTNAME=desk
AW_PORT=5666
AW_WINDOW_BUCKET_ID=aw-watcher-window_{hostname}
AW_AFK_BUCKET_ID=afk
AW_WEB_BROWSER_BUCKET_ID=
AW_MIN_DURATION_SECONDS=0
LOG_LEVEL=warning
LOG_FILE=
`;
  const { settings, warnings, file } = load({ files: { [DAEMON_FILE]: text } });
  assert.equal(file, DAEMON_FILE);
  assert.deepEqual(warnings, []);
  assert.equal(settings.endpoint?.href, "https://lifelog.example.org/api/v1/ingest");
  assert.equal(settings.token, "tok-123");
  assert.equal(settings.deviceId, "laptop 1");
  assert.deepEqual(
    [settings.collectionIntervalSeconds, settings.sendIntervalSeconds, settings.maxBatchSize],
    [30, 120, 50],
  );
  assert.deepEqual([settings.maxSendRetries, settings.retryDelaySeconds], [0, 1.5]);
  assert.equal(settings.cachePath, join("/home/ada", "cache/aw.sqlite"));
  assert.equal(settings.awHostname, "desk");
  assert.equal(settings.awUrl.href, "http://127.0.0.1:5666/");
  assert.deepEqual(settings.bucketIds, {
    window: "aw-watcher-window_{hostname}",
    afk: "afk",
    web: undefined,
  });
  assert.equal(settings.minDurationSeconds, 0);
  assert.equal(settings.logLevel, "warning");
  assert.equal(settings.logFile, undefined);
});

Deno.test("options win over the environment, the environment over the file, the file over the defaults", () => {
  const given = { files: { [ENV_FILE]: "MAX_BATCH_SIZE=1\nDEVICE_ID=file\nAW_PORT=5601\n" } };
  const { settings, origins } = load({
    ...given,
    env: { MAX_BATCH_SIZE: "2", DEVICE_ID: "env" },
    flags: { MAX_BATCH_SIZE: "3" },
  });
  assert.deepEqual([settings.maxBatchSize, settings.deviceId, settings.awUrl.port], [3, "env", "5601"]);
  assert.deepEqual(
    ["MAX_BATCH_SIZE", "DEVICE_ID", "AW_PORT", "LOG_LEVEL"].map((name) => origins.get(name)),
    ["option", "environment", "file", "default"],
  );
  // An empty value is one: it takes the file's away.
  assert.equal(load({ ...given, env: { DEVICE_ID: "" } }).settings.deviceId, undefined);
});

Deno.test("the first settings file that exists is read, and the one that is named before all", () => {
  const files = {
    [TOML_FILE]: 'device_id = "toml"',
    [ENV_FILE]: "DEVICE_ID=env",
    [DAEMON_FILE]: "DEVICE_ID=daemon",
  };
  assert.equal(load({ files }).settings.deviceId, "toml");
  assert.equal(
    load({ files: { [ENV_FILE]: "DEVICE_ID=env", [DAEMON_FILE]: "DEVICE_ID=daemon" } }).settings.deviceId,
    "env",
  );
  const named = { "/etc/own.env": "DEVICE_ID=own" };
  assert.equal(load({ files: { ...files, ...named }, config: "/etc/own.env" }).settings.deviceId, "own");
  assert.equal(
    load({ files: { ...files, ...named }, env: { LIFELOG_CONFIG: "/etc/own.env" } }).settings.deviceId,
    "own",
  );
  assert.throws(() => load({ files, config: "/nowhere.env" }), {
    name: "SettingError",
    message: /nowhere\.env/,
  });
});

Deno.test("a TOML file takes text, numbers and booleans, in either case, and is refused without its lines", () => {
  const { settings } = load({
    files: {
      [TOML_FILE]:
        'device_id = "t"\nMAX_BATCH_SIZE = 7\nallow_insecure_http = true\nretry_delay_seconds = 0.5\n',
    },
  });
  assert.deepEqual(
    [settings.deviceId, settings.maxBatchSize, settings.allowInsecureHttp, settings.retryDelaySeconds],
    ["t", 7, true, 0.5],
  );
  assert.throws(() => load({ files: { [TOML_FILE]: 'server_auth_token = "SECRET\n' } }), (error: Error) => {
    assert.equal(error.name, "SettingError");
    assert.ok(!Deno.inspect(error).includes("SECRET"), Deno.inspect(error));
    return true;
  });
  assert.throws(() => load({ files: { [TOML_FILE]: "max_batch_size = [1]" } }), /must be text, a number/);
});

Deno.test("what is no setting is said, with the one that may be meant", () => {
  const { warnings } = load({ files: { [ENV_FILE]: "MAX_BATCH_SIZ=5\nSOMETHING_ELSE_ENTIRELY=1\n" } });
  assert.equal(warnings.length, 2);
  assert.match(warnings[0]!, /"MAX_BATCH_SIZ".*did you mean MAX_BATCH_SIZE\?/);
  assert.ok(!warnings[1]!.includes("did you mean"), warnings[1]);
});

Deno.test("every wrong value is refused at once, with its name, its value, its place and what it must be", () => {
  const wrong: Record<string, string> = {
    CENTRAL_SERVER_ENDPOINT: "lifelog.example.org",
    MAX_BATCH_SIZE: "0",
    MAX_BATCH_BYTES: "1e6",
    MAX_SEND_RETRIES: "-1",
    RETRY_DELAY_SECONDS: "soon",
    COLLECTION_INTERVAL_SECONDS: "0",
    BATCH_SEND_INTERVAL_SECONDS: "90000",
    REQUEST_TIMEOUT_SECONDS: "1.5",
    AW_PORT: "65536",
    AW_URL: "ftp://127.0.0.1",
    AW_MIN_DURATION_SECONDS: "NaN",
    AW_SETTLE_SECONDS: "∞",
    ALLOW_INSECURE_HTTP: "maybe",
    LOG_LEVEL: "LOUD",
    LOG_FORMAT: "xml",
    DEVICE_ID: "x".repeat(201),
    PRIVACY_PRESET: "none of them",
  };
  assert.throws(() => load({ env: wrong }), (error: Error & { hint: string }) => {
    assert.equal(error.name, "SettingError");
    const lines = error.message.split("\n");
    assert.equal(lines.length, Object.keys(wrong).length, error.message);
    for (const [name, value] of Object.entries(wrong)) {
      const line = lines.find((line) => line.includes(`"${name}"`));
      assert.ok(line?.includes(JSON.stringify(value)), `${name}: ${line}`);
      assert.match(line!, /^Cannot read setting "\w+" as it must be .+: got .+, from the environment$/);
    }
    assert.ok(error.hint.length > 0);
    return true;
  });
});

Deno.test("a wrong secret is refused without its value", () => {
  for (
    const env of [{ SERVER_AUTH_TOKEN: "two words" }, { SERVER_AUTH_TOKEN: "tökén" }, {
      SERVER_AUTH_TOKEN: "a\u0007b",
    }]
  ) {
    assert.throws(() => load({ env }), (error: Error) => {
      assert.match(error.message, /"SERVER_AUTH_TOKEN"/);
      assert.ok(!error.message.includes(env.SERVER_AUTH_TOKEN), error.message);
      return true;
    });
  }
  assert.throws(
    () => load({ env: { CENTRAL_SERVER_ENDPOINT: "https://user:pass@lifelog.example.org/" } }),
    (error: Error) => {
      assert.ok(!error.message.includes("pass@"), error.message);
      return true;
    },
  );
});

Deno.test("the placeholders count as not set", () => {
  const { settings, warnings } = load({
    env: {
      CENTRAL_SERVER_ENDPOINT: "https://your-central-server.example.com/api/v1/ingest",
      SERVER_AUTH_TOKEN: "your-secret-token-here",
    },
  });
  assert.deepEqual([settings.endpoint, settings.token], [undefined, undefined]);
  assert.match(warnings.join("\n"), /SERVER_AUTH_TOKEN is a placeholder/);
});

Deno.test("plain http goes to this device only, unless it is allowed", () => {
  for (const host of ["127.0.0.1:8000", "localhost", "[::1]:8000", "127.1.2.3"]) {
    assert.equal(
      load({ env: { CENTRAL_SERVER_ENDPOINT: `http://${host}/` } }).settings.endpoint?.protocol,
      "http:",
    );
  }
  for (
    const host of ["lifelog.example.org", "192.168.1.2", "127.0.0.1.example.org", "localhost.example.org"]
  ) {
    const env = { CENTRAL_SERVER_ENDPOINT: `http://${host}/` };
    assert.throws(() => load({ env }), /must be an https URL/, host);
    assert.ok(load({ env: { ...env, ALLOW_INSECURE_HTTP: "yes" } }).settings.endpoint);
  }
});

Deno.test("AW_HOSTNAME names the device, or where to connect where it is an address", () => {
  const of = (env: Record<string, string>) => {
    const { awUrl, awHostname } = load({ env }).settings;
    return [awUrl.href, awHostname];
  };
  assert.deepEqual(of({ AW_HOSTNAME: "desk" }), ["http://127.0.0.1:5600/", "desk"]);
  assert.deepEqual(of({ AW_HOSTNAME: "localhost" }), ["http://localhost:5600/", undefined]);
  assert.deepEqual(of({ AW_HOSTNAME: "127.0.0.1", AW_PORT: "5666" }), ["http://127.0.0.1:5666/", undefined]);
  assert.deepEqual(of({ AW_HOSTNAME: "::1" }), ["http://[::1]:5600/", undefined]);
  assert.deepEqual(of({ AW_HOSTNAME: "desk", AW_URL: "http://127.0.0.1:9/" }), [
    "http://127.0.0.1:9/",
    "desk",
  ]);
});

Deno.test("the token is read from its file, without the line's end, and must be one line", () => {
  const env = { SERVER_AUTH_TOKEN_FILE: "/run/token" };
  assert.equal(load({ env, files: { "/run/token": "tok\n" } }).settings.token, "tok");
  assert.equal(
    load({ env: { ...env, SERVER_AUTH_TOKEN: "own" }, files: { "/run/token": "tok\n" } }).settings.token,
    "own",
  );
  assert.throws(() => load({ env, files: { "/run/token": "a\nb\n" } }), /one line, the token/);
  assert.throws(() => load({ env }), /SERVER_AUTH_TOKEN_FILE.*can be read/);
});
