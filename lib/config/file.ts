import { parse as parseDotenv } from "dotenv";
import { parse as parseToml } from "smol-toml";
import { SettingError } from "../errors.ts";
import { configFiles, type Env, expandHome } from "../paths.ts";
import { noSuchPrivacySetting, rulesOf } from "./privacy.ts";
import { SETTINGS } from "./settings.ts";

/** Where a settings file is looked for, and how it is read. */
export interface SettingsFileOptions {
  /** The settings file to read; it must exist then. */
  readonly config?: string;
  readonly env: Env;
  readonly os?: typeof Deno.build.os;
  readonly readTextFile?: (path: string) => string;
}

/** What a settings file holds. */
export interface SettingsFile {
  readonly path?: string;
  readonly values: Readonly<Record<string, string>>;
  readonly unknown: readonly string[];
  /** What stands at `privacy.rules`, as it stands there. */
  readonly privacyRules?: unknown;
}

/**
 * Reads the settings file: the named one, or the first that exists at the usual places.
 * @throws {SettingError} when it cannot be read; the message quotes no line of it, among which the token may be
 */
export function readSettingsFile(options: SettingsFileOptions): SettingsFile {
  const { env, os, readTextFile = Deno.readTextFileSync } = options;
  const named = namedFile(options);
  for (const path of named === undefined ? usualFiles(os === undefined ? { env } : { env, os }) : [named]) {
    let text: string;
    try {
      text = readTextFile(path);
    } catch (error) {
      if (named === undefined && error instanceof Deno.errors.NotFound) continue;
      throw new SettingError(
        `Cannot read the settings file "${path}": ${error instanceof Error ? error.message : error}`,
        {
          cause: error,
          hint: "Name a file that exists and that you may read by --config or LIFELOG_CONFIG",
        },
      );
    }
    return { path, ...parseSettingsFile(path, text.replace(/^\uFEFF/, "")) };
  }
  return { values: {}, unknown: [] };
}

/** The settings file that was named, if one was: by `--config`, or else in the environment. */
export function namedFile({ env, config, os }: SettingsFileOptions): string | undefined {
  const named = config ?? (env("LIFELOG_CONFIG")?.trim() || undefined);
  return named === undefined ? undefined : expandHome(named, os === undefined ? { env } : { env, os });
}

/** Without a home folder there are no usual places, and everything may still be set by the environment. */
export function usualFiles(place: { env: Env; os?: typeof Deno.build.os }): string[] {
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
  let privacyRules: unknown;
  for (const [key, value] of Object.entries(parsed)) {
    const name = key.toUpperCase();
    if (key === "privacy") {
      privacyRules = rulesOf(value, path);
      continue;
    }
    if (!SETTINGS.some(({ env }) => env === name)) {
      // Who mistyped it wants something kept that a warning would let leave.
      if (/privacy|rule/i.test(key)) throw noSuchPrivacySetting(key, path);
      unknown.push(key);
    } else if (["string", "number", "boolean", "bigint"].includes(typeof value)) values[name] = String(value);
    else {
      throw new SettingError(
        `Cannot read setting "${key}" in "${path}" as it must be text, a number, true or false`,
      );
    }
  }
  return { values, unknown, ...(privacyRules === undefined ? {} : { privacyRules }) };
}

/** The setting whose name is most like `key`, if any is. */
export function nearest(key: string): string | undefined {
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
