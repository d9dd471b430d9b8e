import assert from "node:assert/strict";
import { join } from "node:path";
import { readSettings } from "../../lib/config/load.ts";
import { SETTINGS } from "../../lib/config/settings.ts";
import { settingsTemplate } from "../../lib/config/template.ts";
import { Program } from "./program.ts";

Deno.test("config shows every setting with its value and origin, and no secret", async () => {
  await using program = new Program();
  const file = join(program.folder, "c.toml");
  Deno.writeTextFileSync(file, 'max_batch_size = 7\naw_api_key = "canary-key"\nnonsense = 1\n', {
    mode: 0o600,
  });
  const { code, text } = await program.run("config", "--config", file, "--send-interval", "120");
  assert.equal(code, 0);
  assert.match(text, new RegExp(`^Settings file: ${file.replaceAll("\\", "\\\\")}\nWarning: .*"nonsense"`));
  assert.match(text, /\nMAX_BATCH_SIZE +file +7\n/);
  assert.match(text, /\nBATCH_SEND_INTERVAL_SECONDS +flag +120\n/);
  assert.match(text, /\nAW_PORT +default +5600\n/);
  assert.match(text, /\nSERVER_AUTH_TOKEN +environment +\*{8}\n/);
  assert.match(text, /\nAW_API_KEY +file +\*{8}\n/);
  assert.match(text, /\nLOCAL_CACHE_DB_PATH +environment .*cache\.sqlite\n/);
  assert.doesNotMatch(text, /canary/);
  const json = JSON.parse((await program.run("config", "--config", file, "--json")).text);
  assert.deepEqual(Object.keys(json.settings), SETTINGS.map(({ env }) => env));
  assert.deepEqual(json.settings.MAX_BATCH_SIZE, { origin: "file", value: "7" });
  assert.deepEqual(json.settings.SERVER_AUTH_TOKEN, { origin: "environment", value: "********" });
  assert.equal(json.warnings.length, 1);
});

Deno.test("config tells of a secret that stands in a file of its own", async () => {
  await using program = new Program();
  const file = join(program.folder, "token");
  Deno.writeTextFileSync(file, "canary-secret\n", { mode: 0o600 });
  delete program.env.SERVER_AUTH_TOKEN;
  program.env.SERVER_AUTH_TOKEN_FILE = file;
  const { text } = await program.run("config");
  assert.match(text, /\nSERVER_AUTH_TOKEN +token file +\*{8}\n/);
  assert.doesNotMatch(text, /canary/);
});

Deno.test("config init writes a file for its owner alone, and never over another", async () => {
  await using program = new Program();
  const { code, text } = await program.run("config", "init");
  assert.equal(code, 0);
  const path = /^Wrote (.+):/.exec(text)![1]!;
  if (Deno.build.os !== "windows") assert.equal(Deno.statSync(path).mode! & 0o777, 0o600);
  Deno.writeTextFileSync(path, "max_batch_size = 3\n");
  assert.equal((await program.run("config", "init")).code, 2);
  assert.equal(Deno.readTextFileSync(path), "max_batch_size = 3\n");
  assert.equal((await program.run("config", "check")).code, 0);
});

Deno.test("config init leaves the Python daemon's file in force", async () => {
  await using program = new Program();
  Deno.mkdirSync(join(program.folder, ".lifelog"));
  Deno.writeTextFileSync(join(program.folder, ".lifelog", "config.env"), "MAX_BATCH_SIZE=3\n");
  assert.equal((await program.run("config", "init")).code, 2);
  const other = join(program.folder, "deep", "other.env");
  assert.equal((await program.run("config", "init", "--config", other)).code, 0);
  assert.match(Deno.readTextFileSync(other), /^# MAX_BATCH_SIZE=500$/m);
});

Deno.test("config check tells what is odd and what cannot be used", async () => {
  await using program = new Program();
  assert.equal((await program.run("config", "check")).code, 0);
  program.env.DEVICE_ID = "default-device-01";
  const odd = await program.run("config", "check");
  assert.equal(odd.code, 1);
  assert.match(odd.text, /^Warning: DEVICE_ID/);
  program.env.MAX_BATCH_SIZE = "0";
  assert.equal((await program.run("config", "check")).code, 2);
});

Deno.test("the settings file that config init writes says the defaults, in both forms", () => {
  const env = (name: string) => ({ HOME: "/h", USERPROFILE: "/h" } as Record<string, string>)[name];
  const byDefault = readSettings({
    env,
    readTextFile: () => {
      throw new Deno.errors.NotFound();
    },
  });
  for (const format of ["toml", "env"] as const) {
    const text = settingsTemplate(format);
    const load = (text: string) => readSettings({ env, config: `/c.${format}`, readTextFile: () => text });
    assert.deepEqual(load(text).settings, byDefault.settings);
    const live = load(text.replaceAll(/^# ((?:[a-z_]+ = |[A-Z_]+=).*)$/gm, "$1"));
    assert.deepEqual(live.warnings, []);
    assert.deepEqual({ ...live.settings, endpoint: undefined }, byDefault.settings);
    const origins = SETTINGS.map(({ env }) => live.origins.get(env) ?? "default");
    // Every setting stands in the file; the port is not looked at where the address is set.
    assert.ok(origins.every((origin) => origin === "file"), origins.join());
  }
});
