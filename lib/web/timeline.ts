import { digestOf } from "../encode.ts";
import { SourceError } from "../errors.ts";
import type { ActivityEvent, Bucket, BucketType, Filter, Policy, Source, Surroundings } from "../event.ts";
import { coverage, type Interval } from "../store/cursors.ts";
import type { Database } from "../store/database.ts";
import { keyOf, tagged } from "../store/ledger.ts";
import { type DeliveryRecord, type KnownBucket, knownBuckets, recordsBetween } from "../store/records.ts";
import { MINUTE_US, MS_US } from "../time.ts";

/** Events of one bucket and one day that are shown at most. */
const MAX_EVENTS = 20_000;
/** Today and the days before it that are shown: fewer than the ledger keeps. */
const SHOWN_DAYS = 7;
/** No page asks ActivityWatch more often than this, in milliseconds, however many are open. */
const FRESH_MS = 15_000;
/** How far back the newest events are read again, and how often the whole day is. */
const TAIL_US = 15 * MINUTE_US;
const WHOLE_MS = 15 * 60_000;
/** How long what was read is kept after the last look, in milliseconds. */
const KEEP_MS = 5 * 60_000;

/** How an event of ActivityWatch stands at the server. */
export type Standing =
  /** The server has it. */
  | "delivered"
  /** It waits in the cache. */
  | "waiting"
  /** It is a dead letter. */
  | "dead"
  /** A filter or a rule keeps it on the device. */
  | "kept"
  /** Not final or not read yet: it comes at one of the next turns. */
  | "open"
  /** It lies before the time from which on the agent collects. */
  | "before"
  /** It came or was changed behind what was read, and is found when that is read again. */
  | "late";

/** One event of the day. */
export interface TimelineEvent {
  readonly startMs: number;
  readonly durationSeconds: number;
  /** The app, the afk status or the site. */
  readonly label: string;
  readonly title: string;
  readonly standing: Standing;
  /** The privacy rules, as they are now, take something from it. */
  readonly reduced: boolean;
}

/** What one privacy rule, or the filter of short events, makes of a day. */
export interface RuleEffect {
  readonly name: string;
  /** Events that it keeps on the device, and those that it lets leave with less in them. */
  readonly kept: number;
  readonly reduced: number;
}

/** One bucket's day. */
export interface TimelineBucket {
  readonly id: string;
  readonly type: string;
  /** What ActivityWatch has, in order of the start. */
  readonly events: readonly TimelineEvent[];
  /** What the server has or will get that ActivityWatch has no longer. */
  readonly gone: readonly { readonly startMs: number; readonly durationSeconds: number }[];
  readonly counts: Readonly<Partial<Record<Standing | "gone", number>>>;
  /** There are more events than are shown. */
  readonly cut: boolean;
  /** Why ActivityWatch's own events cannot be shown. */
  readonly fault?: string;
}

/** A day as ActivityWatch has it and as it was delivered. */
export interface Timeline {
  readonly day: string;
  readonly fromMs: number;
  readonly toMs: number;
  readonly atMs: number;
  readonly buckets: readonly TimelineBucket[];
  readonly rules: readonly RuleEffect[];
}

/** What {@link createTimeline} needs. */
export interface TimelineOptions {
  readonly db: Database;
  readonly source: Source;
  readonly filters: readonly Filter[];
  readonly policy: Policy;
  readonly now?: () => number;
}

/** What was read of a bucket's day. */
interface Held {
  readonly events: readonly ActivityEvent[];
  readonly wholeAtMs: number;
}

/** Tells of days. */
export interface TimelineViews {
  /**
   * Tells of a day, today by default; `undefined` for one that the ledger may have forgotten. Reads ActivityWatch: the
   * day once, then its end, never twice at once.
   */
  readonly look: (day: string | undefined, signal: AbortSignal) => Promise<Timeline | undefined>;
  /** Forgets what was read where nobody has looked for some minutes: titles are not kept for their own sake. */
  readonly tidy: () => void;
}

/** Makes what tells of days. It reads ActivityWatch while somebody looks and at no other time. */
export function createTimeline(options: TimelineOptions): TimelineViews {
  const { db, source, filters, policy, now = Date.now } = options;
  let held = new Map<string, Held>();
  let heldDay = "";
  let made: Timeline | undefined;
  let lookedAtMs = -Infinity;
  let turn: Promise<unknown> = Promise.resolve();

  async function readBucket(
    bucket: KnownBucket,
    fromUs: number,
    toUs: number,
    signal: AbortSignal,
  ): Promise<Held> {
    const before = held.get(bucket.id);
    const newestUs = before?.events.at(-1)?.startUs;
    const whole = before === undefined || newestUs === undefined || now() - before.wholeAtMs > WHOLE_MS;
    const readFromUs = whole ? fromUs : Math.max(fromUs, newestUs - TAIL_US);
    const events = whole ? [] : before.events.filter(({ startUs }) => startUs < readFromUs);
    for await (const page of source.pages(asBucket(bucket), readFromUs, toUs, { signal })) {
      events.push(...page.events);
    }
    return { events, wholeAtMs: whole ? now() : before.wholeAtMs };
  }

  async function make(day: string, signal: AbortSignal): Promise<Timeline> {
    const [fromUs, dayEndUs] = boundsOf(day);
    const nowUs = now() * MS_US;
    if (made?.day === day && now() - made.atMs < FRESH_MS && now() >= made.atMs) return made;
    if (day !== heldDay) {
      held = new Map();
      heldDay = day;
    }
    const known = knownBuckets(db);
    const faults = new Map<string, string>();
    for (const bucket of known) {
      try {
        const toUs = Math.min(dayEndUs, nowUs + MINUTE_US);
        if (toUs > fromUs) held.set(bucket.id, await readBucket(bucket, fromUs, toUs, signal));
      } catch (error) {
        if (!(error instanceof SourceError)) throw error;
        // A bucket that was deleted stays known to the cache.
        const gone = error.status === 404;
        faults.set(bucket.id, gone ? "ActivityWatch no longer has this bucket" : error.message);
      }
    }
    const buckets: TimelineBucket[] = [];
    const effects = new Map<string, { kept: number; reduced: number }>();
    for (const bucket of known) {
      const events = held.get(bucket.id)?.events ?? [];
      const fault = faults.get(bucket.id);
      const records = recordsBetween(db, bucket.rowId, fromUs, dayEndUs, MAX_EVENTS);
      if (events.length > 0 || records.length > 0 || fault === undefined) {
        buckets.push(compare(bucket, events, records, surroundingsOf(bucket, known), fault, effects));
      }
    }
    const rules = [...effects].map(([name, effect]) => ({ name, ...effect }));
    made = { day, fromMs: fromUs / MS_US, toMs: dayEndUs / MS_US, atMs: now(), buckets, rules };
    return made;
  }

  /** What the policy wants to see beside a bucket's events. */
  function surroundingsOf(bucket: KnownBucket, known: readonly KnownBucket[]): Surroundings {
    const types: readonly string[] = policy.related(bucket.type as BucketType);
    return policy.surround(
      known.filter(({ type }) => types.includes(type))
        .map((other) => ({ bucket: asBucket(other), events: held.get(other.id)?.events ?? [] })),
    );
  }

  function compare(
    bucket: KnownBucket,
    events: readonly ActivityEvent[],
    known: readonly DeliveryRecord[],
    around: Surroundings,
    fault: string | undefined,
    effects: Map<string, { kept: number; reduced: number }>,
  ): TimelineBucket {
    const records = new Map(known.map((record) => [record.key, record]));
    const covered = coverage(db, bucket.rowId);
    const counts: Partial<Record<Standing | "gone", number>> = {};
    const count = (standing: Standing | "gone") => counts[standing] = (counts[standing] ?? 0) + 1;
    const shown = events.slice(-MAX_EVENTS).map((event): TimelineEvent => {
      const key = keyOf(tagged(db, bucket.rowId, { ...event, digest: digestOf(event.data) }));
      const record = records.get(key);
      records.delete(key);
      const { left, rules } = judge(event, bucket, around);
      for (const name of rules) {
        const effect = effects.get(name) ?? { kept: 0, reduced: 0 };
        effects.set(name, effect);
        if (left === undefined) effect.kept++;
        else effect.reduced++;
      }
      const standing = record?.fate ?? (left === undefined ? "kept" : withoutRecord(event, covered));
      count(standing);
      return {
        startMs: event.startUs / MS_US,
        durationSeconds: event.durationSeconds,
        ...wordsOf(event.data, bucket.type),
        standing,
        reduced: left !== undefined && left !== event,
      };
    });
    const gone = fault === undefined
      ? [...records.values()].filter(({ fate }) => fate === "delivered" || fate === "waiting")
      : [];
    gone.forEach(() => count("gone"));
    return {
      id: bucket.id,
      type: bucket.type,
      events: shown,
      gone: gone.map(({ startUs, durationSeconds }) => ({ startMs: startUs / MS_US, durationSeconds })),
      counts,
      cut: events.length > MAX_EVENTS || known.length === MAX_EVENTS,
      ...(fault === undefined ? {} : { fault }),
    };
  }

  function judge(event: ActivityEvent, bucket: KnownBucket, around: Surroundings) {
    for (const filter of filters) {
      if (filter(event, asBucket(bucket)) === undefined) return { left: undefined, rules: ["short events"] };
    }
    const { event: left, rules } = policy.judge(event, asBucket(bucket), around);
    return { left, rules };
  }

  function withoutRecord(event: ActivityEvent, covered: readonly Interval[]): Standing {
    const { startUs } = event;
    if (covered.some(({ fromUs, toUs }) => startUs >= fromUs && startUs < toUs)) return "late";
    return covered.length > 0 && startUs < covered[0]!.fromUs ? "before" : "open";
  }

  function look(day: string | undefined, signal: AbortSignal): Promise<Timeline | undefined> {
    lookedAtMs = now();
    const result = turn.then(() => {
      signal.throwIfAborted();
      const today = new Date(now());
      const oldest = new Date(today.getFullYear(), today.getMonth(), today.getDate() - SHOWN_DAYS + 1);
      if (day !== undefined && (day < localDay(oldest.getTime()) || day > localDay(now()))) return undefined;
      return make(day ?? localDay(now()), signal);
    });
    turn = result.catch(() => {});
    return result;
  }

  function tidy(): void {
    if (Math.abs(now() - lookedAtMs) < KEEP_MS) return;
    held = new Map();
    made = undefined;
  }

  return { look, tidy };
}

function asBucket({ id, type, created }: KnownBucket): Bucket {
  return { id, type: type as BucketType, hostname: "", created };
}

function wordsOf(data: unknown, type: string): { label: string; title: string } {
  const { app, title, url, status } = (typeof data === "object" && data !== null ? data : {}) as Record<
    string,
    unknown
  >;
  const label = type === "afkstatus" ? status : type === "web.tab.current" ? siteOf(url) : app;
  return { label: textOf(label), title: textOf(title) };
}

function siteOf(url: unknown): string {
  return typeof url === "string" && URL.canParse(url) ? new URL(url).hostname || url : textOf(url);
}

function textOf(value: unknown): string {
  return typeof value === "string" ? value.slice(0, 500) : "";
}

/** The day that a moment lies in, here. */
export function localDay(ms: number): string {
  const date = new Date(ms);
  const two = (n: number) => String(n).padStart(2, "0");
  return `${date.getFullYear()}-${two(date.getMonth() + 1)}-${two(date.getDate())}`;
}

/** Where a day begins and ends here, in microseconds since 1970; it has 23 or 25 hours where clocks change. */
function boundsOf(day: string): [number, number] {
  const [year, month, date] = day.split("-").map(Number) as [number, number, number];
  const at = (date: number) => new Date(year, month - 1, date).getTime() * MS_US;
  return [at(date), at(date + 1)];
}
