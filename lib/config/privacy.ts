import { parse as parseToml } from "smol-toml";
import { SettingError } from "../errors.ts";
import type { Expressions } from "../filters/pattern.ts";
import { readRules, type RuleSet } from "../filters/rule.ts";

/** Where the user's own privacy rules stand. */
export interface OwnRulesOptions {
  /** The settings file, as it was read. */
  readonly file: { readonly path?: string; readonly privacyRules?: unknown };
  /** The value of PRIVACY_RULES_FILE. */
  readonly rulesFile: string | undefined;
  readonly readTextFile: (path: string) => string;
  /** Gets a line for every rule that cannot be read: with one of them, nothing may be sent. */
  readonly problems: string[];
  /** The engine of regular expressions, once it is known that a rule has one. */
  readonly expressions: Expressions | undefined;
}

/** Reads the user's own privacy rules: those of their own file first, then those of the settings file. */
export function readOwnRules(options: OwnRulesOptions): RuleSet {
  const { file, rulesFile, readTextFile, problems, expressions } = options;
  const sets: RuleSet[] = [];
  function add(read: () => unknown, from: string): void {
    try {
      sets.push(readRules(read(), from, expressions));
    } catch (error) {
      if (!(error instanceof SettingError)) throw error;
      problems.push(error.message);
    }
  }
  if (rulesFile !== undefined) add(() => readRulesFile(rulesFile, readTextFile), rulesFile);
  if (file.privacyRules !== undefined) add(() => file.privacyRules, file.path ?? "the settings file");
  return { texts: sets.flatMap(({ texts }) => texts), rules: sets.flatMap(({ rules }) => rules) };
}

/** The rules of a parsed TOML file's table `privacy`, which can hold nothing else. */
export function rulesOf(table: unknown, path: string): unknown {
  if (typeof table !== "object" || table === null) throw noSuchPrivacySetting("privacy", path);
  for (const key of Object.keys(table)) {
    if (key !== "rules") throw noSuchPrivacySetting(`privacy.${key}`, path);
  }
  return (table as { rules?: unknown }).rules ?? [];
}

/** The error for a key that looks as if it were of privacy. */
export function noSuchPrivacySetting(key: string, path: string): SettingError {
  return new SettingError(`Cannot read setting "${key}" in "${path}" as there is none of that name`, {
    hint:
      "What there is for privacy: PRIVACY_PRESET, PRIVACY_RULES_FILE and, in a TOML file, [[privacy.rules]]; nothing was collected or sent",
  });
}

/** Reads a file that holds privacy rules alone, in TOML as in the settings file. The error quotes no line of it. */
function readRulesFile(path: string, readTextFile: (path: string) => string): unknown {
  const fail = (why: string, cause: unknown) =>
    new SettingError(`Cannot read setting "PRIVACY_RULES_FILE" as it must be ${why}: got "${path}"`, {
      cause,
      hint: "Each rule stands under [[privacy.rules]]; without the rules nothing is collected or sent",
    });
  let text: string;
  try {
    text = readTextFile(path).replace(/^\uFEFF/, "");
  } catch (error) {
    throw fail(`a file that can be read (${error instanceof Error ? error.message : error})`, error);
  }
  let parsed: Record<string, unknown>;
  try {
    parsed = parseToml(text);
  } catch (error) {
    const line = (error as { line?: unknown }).line;
    throw fail(`a file of valid TOML${typeof line === "number" ? ` (see line ${line})` : ""}`, undefined);
  }
  for (const key of Object.keys(parsed)) if (key !== "privacy") throw noSuchPrivacySetting(key, path);
  return rulesOf(parsed.privacy ?? {}, path);
}
