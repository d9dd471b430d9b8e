import * as v from "valibot";
import { SettingError } from "../errors.ts";
import { type DailyTime, DAYS, readDailyTime } from "./daily_time.ts";
import { type Expressions, type Pattern, readPattern } from "./pattern.ts";
import type { UrlPart } from "./reduce_url.ts";

const ACTIONS = ["drop", "redact", "replace", "hash", "url-origin", "url-path", "keep"] as const;

/** What a rule does with the events that it fits. */
export type Action = typeof ACTIONS[number];

/** A rule as it stands in the settings file. All that it says of an event must hold; of a list, any entry. */
export interface RuleText {
  readonly name?: string | undefined;
  readonly app?: string | readonly string[] | undefined;
  readonly title?: string | readonly string[] | undefined;
  readonly url?: string | readonly string[] | undefined;
  readonly domain?: string | readonly string[] | undefined;
  readonly bucket?: string | readonly string[] | undefined;
  readonly time?: string | readonly string[] | undefined;
  readonly days?: string | readonly string[] | undefined;
  readonly afk?: boolean | undefined;
  readonly incognito?: boolean | undefined;
  readonly action: Action;
  /** With `replace`: what stands in the title's place. */
  readonly replacement?: string | undefined;
  /** With `redact`, `replace` and `hash`: what stays of the URL. Default: nothing. */
  readonly keep_url?: "origin" | "path" | undefined;
}

/** A rule, ready to be applied. */
export interface Rule {
  readonly name: string;
  readonly app?: Pattern;
  readonly title?: Pattern;
  readonly url?: Pattern;
  readonly domain?: Pattern;
  readonly bucket?: Pattern;
  readonly during?: DailyTime;
  readonly afk?: boolean;
  readonly incognito?: boolean;
  readonly action: Action;
  readonly replacement: string;
  /** What stays of the URL. */
  readonly urlPart: UrlPart;
}

const text = v.pipe(v.string(), v.nonEmpty());
const list = v.optional(v.union([text, v.pipe(v.array(text), v.minLength(1))]));
const RuleSchema = v.strictObject({
  name: v.optional(v.pipe(v.string(), v.regex(/^\P{Cc}{1,80}$/u))),
  app: list,
  title: list,
  url: list,
  domain: list,
  bucket: list,
  time: list,
  days: list,
  afk: v.optional(v.boolean()),
  incognito: v.optional(v.boolean()),
  action: v.picklist(ACTIONS),
  replacement: v.optional(v.pipe(v.string(), v.regex(/^\P{Cc}{1,200}$/u))),
  keep_url: v.optional(v.picklist(["origin", "path"])),
});
const MUST: Readonly<Record<string, string>> = {
  name: "text of 1 to 80 characters",
  afk: "true or false",
  incognito: "true or false",
  action: `one of ${ACTIONS.join(", ")}`,
  replacement: "text of 1 to 200 characters",
  keep_url: "origin or path",
};
const KEYS = Object.keys(RuleSchema.entries);

/** What {@link readRules} gives. */
export interface RuleSet {
  /** As they stand in the file, to tell one set from another. */
  readonly texts: readonly RuleText[];
  readonly rules: readonly Rule[];
}

/**
 * Reads the rules of a settings file, whole or not at all: a rule that is left out would let leave what its writer
 * wanted to keep.
 *
 * @param value what stands at `privacy.rules`
 * @param from where it stands, for the error
 * @param expressions the engine of regular expressions, if rules may have them
 * @throws {SettingError} naming every rule that cannot be read, the value and what it must be
 * @throws {NoExpressionsError} when a rule has a regular expression and no engine is given
 */
export function readRules(value: unknown, from: string, expressions?: Expressions): RuleSet {
  const problems: string[] = [];
  const texts: RuleText[] = [];
  const rules: Rule[] = [];
  if (!Array.isArray(value)) {
    problems.push(`Cannot read the privacy rules in "${from}" as each must stand under [[privacy.rules]]`);
  } else {
    for (const [index, entry] of value.entries()) {
      const label = labelOf(entry, index);
      const problem = (key: string, why: string, got?: unknown) =>
        problems.push(
          `Cannot read privacy rule ${label} in "${from}": ${key} ${why}${
            got === undefined ? "" : `: got ${JSON.stringify(got, bigints)}`
          }`,
        );
      const result = v.safeParse(RuleSchema, entry);
      if (!result.success) {
        for (const issue of result.issues) explain(issue, entry, problem);
        continue;
      }
      const read = readRule(result.output, `rule ${label}`, problem, expressions);
      texts.push(result.output);
      rules.push(read);
    }
  }
  if (problems.length > 0) {
    throw new SettingError(problems.join("\n"), {
      hint: "Mend or remove the rule: with one that cannot be read, nothing is collected or sent",
    });
  }
  return { texts, rules };
}

function labelOf(entry: unknown, index: number): string {
  const name = (entry as { name?: unknown } | null)?.name;
  return typeof name === "string" && /^\P{Cc}{1,80}$/u.test(name)
    ? `${index + 1} (${name})`
    : String(index + 1);
}

const bigints = (_key: string, value: unknown) => typeof value === "bigint" ? String(value) : value;

function explain(
  issue: v.BaseIssue<unknown>,
  entry: unknown,
  problem: (key: string, why: string, got?: unknown) => void,
): void {
  const key = issue.path?.[0]?.key;
  if (typeof key !== "string") return problem("it", `must stand under [[privacy.rules]]`);
  if (!KEYS.includes(key)) {
    return problem(`"${key}"`, `is nothing that a rule can say (it can say ${KEYS.join(", ")})`);
  }
  const got = (entry as Record<string, unknown>)[key];
  if (got === undefined) return problem(`"${key}"`, "is missing");
  problem(`"${key}"`, `must be ${MUST[key] ?? "text, or a list of texts"}`, got);
}

function readRule(
  raw: RuleText,
  name: string,
  problem: (key: string, why: string, got?: unknown) => void,
  expressions: Expressions | undefined,
): Rule {
  function patterns(
    key: "app" | "title" | "url" | "domain" | "bucket",
    read: (source: string, expressions?: Expressions) => Pattern,
  ): Pattern | undefined {
    const sources = raw[key];
    if (sources === undefined) return undefined;
    const any = [sources].flat().flatMap((source) => {
      try {
        return [read(source, expressions)];
      } catch (error) {
        if (!(error instanceof SyntaxError)) throw error;
        problem(`"${key}"`, `cannot be used as ${error.message}`, source);
        return [];
      }
    });
    return (text) => any.some((pattern) => pattern(text));
  }

  function during(): DailyTime | undefined {
    if (raw.time === undefined && raw.days === undefined) return undefined;
    const times = [raw.time ?? []].flat().flatMap((time) => {
      try {
        return [readDailyTime(time)];
      } catch (error) {
        if (!(error instanceof SyntaxError)) throw error;
        problem('"time"', `cannot be used as ${error.message}`, time);
        return [];
      }
    });
    const days = [raw.days ?? []].flat().flatMap((day) => {
      const known = DAYS.find((known) => known === day.toLowerCase());
      if (known === undefined) problem('"days"', `must be of ${DAYS.join(", ")}`, day);
      return known ?? [];
    });
    return { times, days };
  }

  const { action, replacement, keep_url } = raw;
  if ((action === "replace") !== (replacement !== undefined)) {
    problem('"replacement"', action === "replace" ? "is missing" : 'belongs to action = "replace"');
  }
  if (keep_url !== undefined && !["redact", "replace", "hash"].includes(action)) {
    problem('"keep_url"', "belongs to the actions redact, replace and hash");
  }
  const daily = during();
  const conditions = {
    app: patterns("app", readPattern),
    title: patterns("title", readPattern),
    url: patterns("url", readPattern),
    domain: patterns("domain", readDomain),
    bucket: patterns("bucket", readPattern),
    during: daily,
    afk: raw.afk,
    incognito: raw.incognito,
  };
  return {
    name: raw.name === undefined ? name : `rule "${raw.name}"`,
    ...Object.fromEntries(Object.entries(conditions).filter(([, value]) => value !== undefined)),
    action,
    replacement: replacement ?? "[redacted]",
    urlPart: urlPartOf(action, keep_url),
  };
}

function urlPartOf(action: Action, keepUrl: "origin" | "path" | undefined): UrlPart {
  switch (action) {
    case "keep":
      return "full";
    case "url-path":
      return "path";
    case "url-origin":
      return "origin";
    default:
      return keepUrl ?? "none";
  }
}

/** A domain without a star stands for itself and all below it. */
function readDomain(source: string, expressions?: Expressions): Pattern {
  if (source.startsWith("/") || /[*?]/.test(source)) return readPattern(source, expressions);
  const name = source.trim().toLowerCase().replace(/^\.|\.$/g, "");
  const ascii = URL.parse(`http://${name}`)?.hostname;
  if (!ascii || /[/:@#\s]/.test(name)) throw new SyntaxError("it is no domain such as example.org");
  return (host) => [name, ascii].some((wanted) => host === wanted || host.endsWith(`.${wanted}`));
}
