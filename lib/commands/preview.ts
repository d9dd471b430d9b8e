import { SettingError, SourceError, UserError } from "../errors.ts";
import type { ActivityEvent, Bucket, Filter, Policy, RelatedSource, Source } from "../event.ts";
import { ExitCode } from "../exit_codes.ts";
import { hashKeyFile, readHashKey } from "../paths.ts";
import { listenForStop } from "../signals.ts";
import { readSurroundings } from "../surroundings.ts";
import { HOUR_US, MS_US } from "../time.ts";
import type { CommandContext, CommandSpec } from "./command.ts";

const DEFAULT_HOURS = 3;
const MAX_HOURS = 24 * 31;
const TOO_SHORT = "AW_MIN_DURATION_SECONDS";

/** Shows what would leave the device. The one place that shows titles and URLs: on its user's own terminal. */
export const preview: CommandSpec = {
  name: "preview",
  description:
    "Show what of the last hours would leave this device, before and after the privacy rules; writes nothing.",
  options: [
    { flags: "--hours <count>", description: `how many hours back (default: ${DEFAULT_HOURS})` },
    { flags: "--changed", description: "show only what a rule changes or drops" },
    { flags: "--json", description: "print it for programs" },
  ],
  run: show,
};

/** The fields of an event that the server gets. */
interface Fields {
  readonly app: unknown;
  readonly title: unknown;
  readonly url: unknown;
}

/** One event before and after. */
interface Line {
  readonly bucket: string;
  readonly startUs: number;
  readonly durationSeconds: number;
  readonly before: Fields;
  /** `null`: it does not leave. */
  readonly after: Fields | null;
  readonly rules: readonly string[];
}

async function show(context: CommandContext): Promise<ExitCode> {
  const { options, print } = context;
  const { settings } = await context.loadSettings();
  const hours = readHours(options.hours);
  const key = readHashKey(hashKeyFile(settings.cachePath));
  // Nothing is written: without a key there is none yet, and the hashes shown are examples.
  const policy = context.policy(settings, () => key ?? crypto.getRandomValues(new Uint8Array(32)));
  using stop = listenForStop({ terminate: context.terminate });
  const toUs = Date.now() * MS_US;
  const lines = await readLines({
    source: context.source(settings),
    filters: context.filters(settings),
    policy,
    fromUs: toUs - Math.round(hours * HOUR_US),
    toUs,
    signal: stop.signal,
  });
  const { preset } = settings.privacy;
  const shown = options.changed === true ? lines.filter(({ rules }) => rules.length > 0) : lines;
  if (options.json === true) print(asJson({ preset, hours, lines, shown }));
  else for (const line of asText({ preset, hours, lines, shown })) print(line);
  return ExitCode.Ok;
}

function readHours(given: string | boolean | undefined): number {
  if (given === undefined) return DEFAULT_HOURS;
  const hours = typeof given === "string" && /^\d{1,4}(\.\d{1,3})?$/.test(given) ? Number(given) : NaN;
  if (hours > 0 && hours <= MAX_HOURS) return hours;
  throw new SettingError(
    `Cannot read option --hours as it must be a number up to ${MAX_HOURS}: got "${given}"`,
    { hint: "For example: lifelog-agent preview --hours 12" },
  );
}

interface ReadOptions {
  readonly source: Source & RelatedSource;
  readonly filters: readonly Filter[];
  readonly policy: Policy;
  readonly fromUs: number;
  readonly toUs: number;
  readonly signal: AbortSignal;
}

/** Judges the events as the collector would. */
async function readLines(options: ReadOptions): Promise<Line[]> {
  const { source, filters, policy, fromUs, toUs, signal } = options;
  const lines: Line[] = [];
  try {
    const buckets = await source.buckets({ signal });
    for (const bucket of buckets) {
      for await (const { events } of source.pages(bucket, fromUs, toUs, { signal })) {
        const around = await readSurroundings(bucket, events, {
          policy,
          related: source,
          buckets,
          nowUs: toUs,
          signal,
        });
        for (const event of events) {
          const kept = filters.reduce<ActivityEvent | undefined>(
            (e, filter) => e && filter(e, bucket),
            event,
          );
          const verdict = kept === undefined
            ? { event: undefined, rules: [TOO_SHORT] }
            : policy.judge(kept, bucket, around);
          lines.push({
            bucket: bucket.id,
            startUs: event.startUs,
            durationSeconds: event.durationSeconds,
            before: fieldsOf(event, bucket),
            after: verdict.event === undefined ? null : fieldsOf(verdict.event, bucket),
            rules: verdict.rules,
          });
        }
      }
    }
  } catch (error) {
    if (!(error instanceof SourceError)) throw error;
    throw new UserError(error.message, {
      cause: error,
      hint: "Check that ActivityWatch is running, and AW_URL",
    });
  }
  return lines;
}

function fieldsOf({ data }: ActivityEvent, { type }: Bucket): Fields {
  const { app = null, title = null, url = null, status = null } = Object(data);
  return type === "afkstatus"
    ? { app: null, title: status, url: null }
    : { app: type === "currentwindow" ? app : null, title, url };
}

interface Shown {
  readonly preset: string;
  readonly hours: number;
  readonly lines: readonly Line[];
  readonly shown: readonly Line[];
}

function asJson({ preset, hours, shown }: Shown): string {
  const events = shown.map(({ startUs, durationSeconds, ...rest }) => ({
    start: new Date(startUs / MS_US).toISOString(),
    duration_seconds: durationSeconds,
    ...rest,
  }));
  return printable(JSON.stringify({ schema_version: 1, preset, hours, events }, null, 2), /[\x7f-\x9f]/g);
}

function* asText({ preset, hours, lines, shown }: Shown): Iterable<string> {
  for (const [bucket, own] of Map.groupBy(shown, ({ bucket }) => bucket)) {
    yield printable(bucket);
    for (const { startUs, durationSeconds, before, after, rules } of own) {
      const head = `  ${clockOf(startUs)} ${`${Math.round(durationSeconds)} s`.padStart(8)}  `;
      const rule = rules.length === 0 ? "" : `   [${rules.join(", ")}]`;
      if (after === null) yield `${head}x  ${wordsOf(before)}${rule}`;
      else if (rules.length === 0) yield `${head}=  ${wordsOf(before)}`;
      else {
        yield `${head}-  ${wordsOf(before)}`;
        yield `${" ".repeat(head.length)}+  ${wordsOf(after)}${rule}`;
      }
    }
    yield "";
  }
  const dropped = lines.filter(({ after }) => after === null).length;
  const changed = lines.filter(({ after, rules }) => after !== null && rules.length > 0).length;
  const same = lines.length - dropped - changed;
  yield `${lines.length} events of the last ${hours} h with the preset ${preset}: ${same} as they are (=), ${changed} changed (- +), ${dropped} dropped (x)`;
}

function wordsOf({ app, title, url }: Fields): string {
  const words = [app, title, url].filter((value) => value !== null && value !== undefined && value !== "")
    .map((value) => typeof value === "string" ? value : JSON.stringify(value));
  return words.length === 0 ? "(nothing but its time)" : words.map((text) => printable(text)).join(" | ");
}

/** A title is any web page's choice: what would move the cursor or turn the line around is shown as its number. */
function printable(
  text: string,
  unsafe = /[\p{Cc}\p{Zl}\p{Zp}\u202a-\u202e\u2066-\u2069\u200e\u200f]/gu,
): string {
  return text.replace(unsafe, (sign) => `\\u${sign.charCodeAt(0).toString(16).padStart(4, "0")}`);
}

/** The start in local time. */
function clockOf(startUs: number): string {
  const date = new Date(Math.floor(startUs / MS_US));
  const pad = (n: number) => String(n).padStart(2, "0");
  const day = `${pad(date.getMonth() + 1)}-${pad(date.getDate())}`;
  return `${day} ${pad(date.getHours())}:${pad(date.getMinutes())}:${pad(date.getSeconds())}`;
}
