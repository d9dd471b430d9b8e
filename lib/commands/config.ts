import { dirname } from "node:path";
import { usualFiles } from "../config/file.ts";
import type { LoadedSettings } from "../config/load.ts";
import { SETTINGS } from "../config/settings.ts";
import { settingsTemplate } from "../config/template.ts";
import { SettingError } from "../errors.ts";
import { ExitCode } from "../exit_codes.ts";
import { makePrivateFolder } from "../paths.ts";
import { table } from "../status/words.ts";
import type { CommandContext, CommandSpec } from "./command.ts";

/** What is set, and where each value comes from. */
export const config: CommandSpec = {
  name: "config",
  description: "Show every setting, its value and where it comes from; secrets are not shown.",
  options: [{ flags: "--json", description: "print it for programs" }],
  commands: [
    {
      name: "init",
      description: "Write a settings file with every setting explained; one that exists is left alone.",
      run: init,
    },
    {
      name: "check",
      description: "Look the settings over: exit code 0 good, 1 usable but odd, 2 not usable.",
      run: check,
    },
  ],
  run: show,
};

async function show({ loadSettings, options, print }: CommandContext): Promise<ExitCode> {
  const loaded = await loadSettings();
  const rows = SETTINGS.map(({ env, secret, default: byDefault }) => {
    const origin = loaded.origins.get(env) ?? "default";
    const given = loaded.values.get(env);
    const elsewhere = given === undefined ? secretFrom(loaded, env) : undefined;
    if (elsewhere !== undefined) return { name: env, origin: elsewhere, value: "********" };
    return {
      name: env,
      origin: origin === "option" ? "flag" : origin,
      // How long a secret is tells something about it too.
      value: given === undefined ? inUse(loaded, env) ?? byDefault : secret ? "********" : given,
    };
  });
  const { file, warnings } = loaded;
  if (options.json === true) {
    const settings = Object.fromEntries(rows.map(({ name, ...rest }) => [name, rest]));
    print(JSON.stringify({ schema_version: 1, file: file ?? null, settings, warnings }, null, 2));
    return ExitCode.Ok;
  }
  print(file === undefined ? "Settings file: none" : `Settings file: ${file}`);
  for (const warning of warnings) print(`Warning: ${warning}`);
  print("");
  print(
    table([["Setting", "From", "Value"], ...rows.map(({ name, origin, value }) => [name, origin, value])]),
  );
  return ExitCode.Ok;
}

/** Where a secret comes from that stands in a file of its own. */
function secretFrom({ settings, values }: LoadedSettings, name: string): string | undefined {
  if (name === "SERVER_AUTH_TOKEN" && settings.token !== undefined) {
    return values.has("SERVER_AUTH_TOKEN_FILE") ? "token file" : "credential";
  }
  if (name === "AW_API_KEY" && settings.awApiKey !== undefined) return "credential";
}

/** The value of a setting that was not given and whose default is none that one could write. */
function inUse({ settings }: LoadedSettings, name: string): string | undefined {
  if (name === "LOCAL_CACHE_DB_PATH") return settings.cachePath;
  if (name === "AW_URL") return settings.awUrl.origin;
}

async function check({ loadSettings, print }: CommandContext): Promise<ExitCode> {
  const { file, warnings, settings } = await loadSettings();
  for (const warning of warnings) print(`Warning: ${warning}`);
  const from = file === undefined ? "there is no settings file" : file;
  print(`The settings can be used (${from})`);
  if (settings.endpoint === undefined) {
    print("Without CENTRAL_SERVER_ENDPOINT events are collected and kept, and nothing is delivered");
  }
  return warnings.length === 0 ? ExitCode.Ok : ExitCode.Failed;
}

function init({ env, configPath, print }: CommandContext): ExitCode {
  const place = { env };
  // One that stands elsewhere would no longer be read beside a new one.
  const known = configPath === undefined ? usualFiles(place) : [configPath];
  const existing = known.find(exists);
  const path = known[0];
  if (existing !== undefined || path === undefined) {
    throw new SettingError(
      existing === undefined
        ? "Cannot write a settings file as there is no home folder to put it in"
        : `Cannot write a settings file as there is one: "${existing}"`,
      { hint: "Edit that one, or name another by --config" },
    );
  }
  makePrivateFolder(dirname(path));
  const text = settingsTemplate(path.toLowerCase().endsWith(".toml") ? "toml" : "env");
  try {
    Deno.writeTextFileSync(path, text, { createNew: true, mode: 0o600 });
  } catch (error) {
    throw new SettingError(
      `Cannot write the settings file "${path}": ${error instanceof Error ? error.message : error}`,
      { cause: error, hint: "Name a file in a folder that you may write to by --config" },
    );
  }
  print(`Wrote ${path}: set central_server_endpoint and server_auth_token in it`);
  return ExitCode.Ok;
}

function exists(path: string): boolean {
  try {
    Deno.lstatSync(path);
    return true;
  } catch (error) {
    return !(error instanceof Deno.errors.NotFound);
  }
}
