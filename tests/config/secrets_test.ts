import assert from "node:assert/strict";
import { join } from "node:path";
import { readSettings } from "../../lib/config/load.ts";
import { SettingError } from "../../lib/errors.ts";

const ignore = Deno.build.os === "windows";

/** A folder with these files, of these modes, and what is read of the settings in it. */
async function inFolder(
  files: Record<string, [text: string, mode: number]>,
  act: (
    folder: string,
    load: (env: Record<string, string>, config?: string) => ReturnType<typeof readSettings>,
  ) => void,
): Promise<void> {
  const folder = await Deno.makeTempDir({ prefix: "lifelog-secrets-" });
  try {
    for (const [name, [text, mode]] of Object.entries(files)) {
      Deno.writeTextFileSync(join(folder, name), text);
      if (!ignore) Deno.chmodSync(join(folder, name), mode);
    }
    act(folder, (env, config) =>
      readSettings({
        env: (name) => ({ HOME: folder, ...env })[name],
        ...(config === undefined ? {} : { config: join(folder, config) }),
      }));
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

Deno.test("the token is taken from the environment, else from its file, else from the service manager's credential", () =>
  inFolder({ file: ["of-file\n", 0o600], server_auth_token: ["of-credential\n", 0o440] }, (folder, load) => {
    const credential = { CREDENTIALS_DIRECTORY: folder };
    const file = { ...credential, SERVER_AUTH_TOKEN_FILE: join(folder, "file") };
    assert.equal(load({}).settings.token, undefined);
    assert.equal(load(credential).settings.token, "of-credential");
    assert.equal(load(file).settings.token, "of-file");
    assert.equal(load({ ...file, SERVER_AUTH_TOKEN: "of-environment" }).settings.token, "of-environment");
    assert.deepEqual(load(credential).warnings, []);
  }));

Deno.test("the API key and the cache's key are taken from credentials too", () =>
  inFolder({ aw_api_key: ["key\n", 0o400], cache_key: ["x", 0o400] }, (folder, load) => {
    const { settings } = load({ CREDENTIALS_DIRECTORY: folder });
    assert.equal(settings.awApiKey, "key");
    assert.deepEqual(settings.cacheKey, { path: join(folder, "cache_key"), credential: true });
    assert.deepEqual(load({ CREDENTIALS_DIRECTORY: folder, CACHE_KEY: "y" }).settings.cacheKey, {
      text: "y",
    });
  }));

Deno.test({
  name: "a file with a secret that other users can read is warned of, one without a secret is not",
  ignore,
}, () =>
  inFolder({
    token: ["secret", 0o640],
    "open.toml": ['server_auth_token = "secret"', 0o644],
    "closed.toml": ['server_auth_token = "secret"', 0o600],
    "plain.toml": ["max_batch_size = 5", 0o644],
    "client.key": ["", 0o604],
  }, (folder, load) => {
    const warned = (env: Record<string, string>, config?: string) =>
      load(env, config).warnings.map((warning) => warning.replaceAll(`${folder}/`, ""));
    const exposed = (file: string, what: string) =>
      `"${file}" ${what} and other users may read it: run chmod 600 on it`;
    assert.deepEqual(warned({ SERVER_AUTH_TOKEN_FILE: join(folder, "token") }), [
      exposed("token", "holds the token"),
    ]);
    assert.deepEqual(warned({}, "open.toml"), [exposed("open.toml", "holds a secret")]);
    assert.deepEqual(warned({}, "closed.toml"), []);
    assert.deepEqual(warned({}, "plain.toml"), []);
    const identity = {
      SERVER_CLIENT_CERT_FILE: join(folder, "c.pem"),
      SERVER_CLIENT_KEY_FILE: join(folder, "client.key"),
    };
    assert.deepEqual(warned(identity), [exposed("client.key", "holds a private key")]);
  }));

Deno.test("http is refused for other hosts than this one unless it is allowed, and so are pins where there is no https", () =>
  inFolder({}, (_, load) => {
    const endpoint = (text: string) => ({ CENTRAL_SERVER_ENDPOINT: text });
    for (
      const host of [
        "lifelog.example.org",
        "10.0.0.1",
        "127.0.0.1.example.org",
        "localhost.example.org",
        "0.0.0.0",
        "[::2]",
      ]
    ) {
      const url = `http://${host}/ingest`;
      assert.throws(() => load(endpoint(url)), /an https URL/, host);
      assert.equal(
        load({ ...endpoint(url), ALLOW_INSECURE_HTTP: "true" }).settings.endpoint?.protocol,
        "http:",
      );
    }
    for (const host of ["127.0.0.1:1", "localhost", "[::1]:5", "127.1.2.3"]) {
      assert.ok(load(endpoint(`http://${host}/ingest`)).settings.endpoint);
    }
    const SERVER_PINS = `sha256/${"A".repeat(43)}=`;
    assert.deepEqual(
      load({ ...endpoint("https://x/"), SERVER_PINS: `${SERVER_PINS} , ${SERVER_PINS}` }).settings.tls.pins
        .length,
      2,
    );
    assert.throws(() => load({ ...endpoint("http://localhost/"), SERVER_PINS }), SettingError);
    assert.throws(() => load({ SERVER_PINS: "sha1/AAAA" }), /SERVER_PINS/);
    assert.throws(
      () => load({ SERVER_CLIENT_CERT_FILE: "/c.pem" }),
      /"SERVER_CLIENT_KEY_FILE" as it must be set together/,
    );
  }));

Deno.test("an API key is not sent to another device", () =>
  inFolder({}, (_, load) => {
    assert.throws(() => load({ AW_URL: "http://10.0.0.1:5600", AW_API_KEY: "canary-key" }), (error) => {
      assert.ok(error instanceof SettingError && !error.message.includes("canary-key"));
      return true;
    });
  }));

Deno.test("a quote that is not closed does not have the token shown that stands on a line below it", () =>
  inFolder({
    "c.env": ['CENTRAL_SERVER_ENDPOINT="https://x\nSERVER_AUTH_TOKEN=canary-token"\n', 0o600],
  }, (_, load) => {
    assert.throws(() => load({}, "c.env"), (error) => {
      assert.ok(error instanceof SettingError);
      assert.match(error.message, /"CENTRAL_SERVER_ENDPOINT" as it must be on one line.*not shown/);
      assert.ok(!error.message.includes("canary-token"), error.message);
      return true;
    });
  }));
