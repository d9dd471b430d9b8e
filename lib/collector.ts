import { digestOf, encodeEvent } from "./encode.ts";
import type {
  ActivityEvent,
  Bucket,
  Filter,
  Page,
  Policy,
  RelatedSource,
  Source,
  Surroundings,
} from "./event.ts";
import { judgeWaiting } from "./judgement.ts";
import { settledCount } from "./settle.ts";
import {
  type BucketRow,
  cover,
  coverage,
  ensureBucket,
  gaps,
  type Interval,
  notePass,
  setReread,
} from "./store/cursors.ts";
import type { Database } from "./store/database.ts";
import {
  addVersion,
  addVersions,
  dropVersion,
  forgetVersion,
  isKnown,
  keyOf,
  type KnownVersion,
  markRevised,
  newestKnownStartUs,
  openVersion,
  pruneLedger,
  tagged,
  type TaggedVersion,
  type Version,
  versionsBetween,
} from "./store/ledger.ts";
import { addAllToOutbox, addToOutbox, buryVersion, openEntry, withdraw } from "./store/outbox.ts";
import { isAttempted, removeEntry, rewriteEntry, waitingBetween, type WaitingEntry } from "./store/rules.ts";
import { readSurroundings } from "./surroundings.ts";
import { DAY_US, HOUR_US, MINUTE_US, MS_US, SECOND_US, sleep } from "./time.ts";

/** How far back each poll reads again, for events that arrive late. */
const OVERLAP_US = 15 * MINUTE_US;
/** How far back, and how often, the recent past is read again for edits and events that arrive very late. */
const REREAD_US = 7 * DAY_US;
const REREAD_EVERY_MS = 6 * 3_600_000;
/** How long versions are remembered: longer than the recent past, so that nothing in it is taken for new. */
const LEDGER_US = 8 * DAY_US;
const LEDGER_KEEP = 20_000;
/**
 * An empty stretch longer than this stays uncovered: when a clock jumped ahead and back, real events will come
 * to stand in it.
 */
const MAX_EMPTY_US = REREAD_US;
/** Where the clock stands before all that was ever collected, how far back from it collection begins. */
const CLOCK_MARGIN_US = HOUR_US;
/** Past this distance one cheap look tells whether there is anything new before the way there is read. */
const PROBE_US = DAY_US;
/** How long the newest event of a bucket must have been seen unchanged before it is taken for final. */
const CONFIRM_MS = 30_000;

/** What one pass over a bucket did. */
export interface CollectResult {
  /** Events put in the outbox. */
  readonly cached: number;
  /** Events that a filter dropped. */
  readonly filtered: number;
  /** Events taken back from the outbox because ActivityWatch changed or deleted them. */
  readonly withdrawn: number;
  /** Events that ActivityWatch changed or deleted after they may have been delivered. */
  readonly revised: number;
  /** Events whose data has no form at the server; they stand in the dead letters. */
  readonly unencodable: number;
  readonly pages: number;
}

/** The user's privacy rules, as the collector applies them. */
export interface Privacy {
  readonly policy: Policy;
  /** The number of the rules in the cache. */
  readonly rules: number;
  /** Where the events that stand beside an event are read. */
  readonly related: RelatedSource;
}

/** What {@link createCollector} needs. */
export interface CollectorOptions {
  readonly db: Database;
  readonly source: Source;
  readonly filters: readonly Filter[];
  /** What may leave the device. Absent: everything. */
  readonly privacy?: Privacy | undefined;
  /** Where collection begins, in microseconds since 1970. */
  readonly collectFromUs: number;
  /** How long after its end an event may still grow, in seconds. Default: 300. */
  readonly settleSeconds?: number;
  /**
   * Take the newest event for final by its age alone. Otherwise it must also have been seen unchanged for a
   * while: after a sleep or an outage a watcher's last heartbeats arrive with the past as their time.
   */
  readonly trustAge?: boolean;
  /** The wall clock in milliseconds since 1970. */
  readonly now?: () => number;
  /** A clock that only goes forward, in milliseconds. */
  readonly monotonicMs?: () => number;
  /** Told after each page. */
  readonly onPage?: (bucket: Bucket, page: Page, result: CollectResult) => void;
}

/** Moves events from the source into the cache. */
export interface Collector {
  /**
   * One pass over one bucket: reads what is new, the overlap, and what a lowered start left to fill. Each page is
   * one transaction that holds the outbox rows, the ledger rows and the moved coverage, so a crash at any
   * instruction loses nothing and repeats nothing.
   * @param options.buckets all buckets of the device: the privacy rules may go by what others recorded at the time
   * @throws {SourceError} when the source cannot be read; the pages before are kept
   * @throws {Error} when the cache cannot be written; the page is not kept and will be read again
   */
  collect(
    bucket: Bucket,
    options?: { signal?: AbortSignal; buckets?: readonly Bucket[] },
  ): Promise<CollectResult>;
}

/** Makes a collector. Passes over one bucket must not run side by side. */
export function createCollector(options: CollectorOptions): Collector {
  const {
    db,
    source,
    filters,
    privacy,
    collectFromUs,
    settleSeconds = 300,
    trustAge = false,
    now = Date.now,
    monotonicMs = () => performance.now(),
    onPage,
  } = options;
  const settleUs = settleSeconds * SECOND_US;
  const confirmMs = Math.min(CONFIRM_MS, settleSeconds * 1000);
  /** The newest events as they were first seen, by bucket. */
  const seen = new Map<string, { signature: string; sinceMs: number }>();
  /** Buckets with a gap that has been filled, or could not be filled yet because its end still grows. */
  const filled = new Set<string>();

  /** Tells whether the newest events of a bucket have stood unchanged for long enough. */
  function isConfirmed(bucket: Bucket, page: Page, last: ActivityEvent): boolean {
    const group = page.events.filter(({ startUs }) => startUs === last.startUs);
    const signature = JSON.stringify(group);
    const first = seen.get(bucket.id);
    if (first?.signature !== signature) {
      seen.set(bucket.id, { signature, sinceMs: monotonicMs() });
      return confirmMs === 0;
    }
    return monotonicMs() - first.sinceMs >= confirmMs;
  }

  /** Counts how many events at the front of a page are final. */
  async function finalCount(
    bucket: Bucket,
    row: BucketRow,
    page: Page,
    range: Range,
    signal: AbortSignal | undefined,
  ): Promise<number> {
    const nowUs = now() * MS_US;
    const newestStartUs = newestKnownStartUs(db, row.id, nowUs) ?? -Infinity;
    const count = settledCount(page.events, { nowUs, settleUs, newestStartUs });
    const last = page.events[count - 1];
    // What may be the newest event of the bucket is final by its age: that alone is not always enough.
    const byAge = last !== undefined && count === page.events.length && last.startUs >= newestStartUs;
    if (!byAge || trustAge || isKnown(db, row.id, versionOf(last))) return count;
    if (page.toUs < range.toUs) {
      range.newestUs ??= await source.newestStartUs(bucket, signal ? { signal } : {}) ?? -Infinity;
      if (range.newestUs > last.startUs) {
        if (range.newestUs <= nowUs) return count;
        // An event of the future hides the newest of the past.
        if (last.startUs + last.durationSeconds * SECOND_US < nowUs - DAY_US) return count;
      }
    }
    if (isConfirmed(bucket, page, last)) return count;
    return page.events.findIndex(({ startUs }) => startUs === last.startUs);
  }

  /**
   * Looks up what is known of the first `count` events of a page, and reads what the privacy rules go by beside them.
   * They are fewer where the other buckets are not yet known up to an event's end: it waits for them as long as it
   * would for its own settling.
   */
  async function prepare(
    bucket: Bucket,
    row: BucketRow,
    page: Page,
    count: number,
    buckets: readonly Bucket[] | undefined,
    signal: AbortSignal | undefined,
  ): Promise<Prepared> {
    const versions = page.events.slice(0, count).map((event) => tagged(db, row.id, versionOf(event)));
    const known = versionsBetween(db, row.id, page.fromUs, finalEndUs(page, count));
    const prepared = { count, versions, known };
    if (privacy === undefined) return prepared;
    const { policy, related } = privacy;
    if (policy.related(bucket.type).length === 0) return { ...prepared, around: policy.surround([]) };
    if (buckets === undefined) {
      throw new TypeError("The privacy rules go by other buckets, and they were not given");
    }
    const nowUs = now() * MS_US;
    const waiting = waitingKeys(bucket, row, page, count);
    const keys = versions.map(keyOf);
    // What was judged and has left is not judged again.
    const open = page.events.filter((_, i) => i < count && (!known.has(keys[i]!) || waiting.has(keys[i]!)));
    const around = await readSurroundings(bucket, open, { policy, related, buckets, nowUs, signal });
    const early = page.events.findIndex((event, i) =>
      i < count && !known.has(keys[i]!) && endUsOf(event) > nowUs - settleUs &&
      !policy.isReady(event, bucket, around)
    );
    if (early === -1) return { ...prepared, around };
    const ready = page.events.findIndex(({ startUs }) => startUs === page.events[early]!.startUs);
    return {
      count: ready,
      versions: versions.slice(0, ready),
      known: versionsBetween(db, row.id, page.fromUs, finalEndUs(page, ready)),
      around,
    };
  }

  /** What of a page waits to be sent, where it may have to be judged again: other buckets' events come late, too. */
  function waitingKeys(bucket: Bucket, row: BucketRow, page: Page, count: number): Map<string, WaitingEntry> {
    if (privacy === undefined || privacy.policy.related(bucket.type).length === 0) return new Map();
    const entries = waitingBetween(db, row.id, page.fromUs, finalEndUs(page, count));
    return new Map(entries.map((entry) => [keyOf(entry), entry]));
  }

  /** Judges an event that waits with what stands beside it by now. */
  function judgeAgain(
    { policy, rules }: Privacy,
    entry: WaitingEntry,
    event: ActivityEvent,
    bucket: Bucket,
    row: BucketRow,
    version: TaggedVersion,
    around: Surroundings,
  ): void {
    const body = openEntry(db, entry);
    const { rules: acting } = policy.judge(event, bucket, around);
    // What is gone from the other buckets since is no reason to let more leave.
    if (acting.length === 0) return;
    const attempted = isAttempted(db, entry.seq);
    const judgement = judgeWaiting(policy, { body, attempted }, event, bucket, around);
    if (judgement.kind === "changed") rewriteEntry(db, entry, version.digest, judgement.body, rules);
    if (judgement.kind === "dropped" || judgement.kind === "withheld") removeEntry(db, entry.seq);
    if (judgement.kind === "dropped") dropVersion(db, row.id, version, row.epoch);
  }

  /** Commits the final events of a page, and what it shows to be gone, in one transaction. */
  function commit(
    bucket: Bucket,
    row: BucketRow,
    page: Page,
    prepared: Prepared,
    range: Range,
    tally: Tally,
  ): void {
    const { count, versions, known, around } = prepared;
    db.transaction(() => {
      const waiting = waitingKeys(bucket, row, page, count);
      const present = new Set<string>();
      const fresh: { version: TaggedVersion; body: string }[] = [];
      for (const [index, event] of page.events.slice(0, count).entries()) {
        const version = versions[index]!;
        const key = keyOf(version);
        const again = present.has(key);
        present.add(key);
        const kept = filters.reduce<typeof event | undefined>((e, filter) => e && filter(e, bucket), event);
        if (kept === undefined) {
          tally.filtered++;
          continue;
        }
        // ActivityWatch may hold an event twice; at the server it is one.
        if (again) continue;
        const before = known.get(key);
        if (before !== undefined) {
          if (before.dropped) continue;
          if (before.epoch !== row.epoch || before.revised) addVersion(db, row.id, version, row.epoch);
          const entry = waiting.get(key);
          if (privacy !== undefined && around !== undefined && entry?.rules === privacy.rules) {
            judgeAgain(privacy, entry, kept, bucket, row, version, around);
          }
          continue;
        }
        const passed = privacy === undefined ? kept : privacy.policy.judge(kept, bucket, around!).event;
        if (passed === undefined) {
          dropVersion(db, row.id, version, row.epoch);
          tally.filtered++;
          continue;
        }
        const body = encodeEvent(passed, bucket.type);
        if (body === undefined) {
          addVersion(db, row.id, version, row.epoch);
          addToOutbox(db, row.id, version, JSON.stringify(passed), now(), privacy?.rules);
          buryVersion(db, row.id, version, "The event's data is no object", now());
          tally.unencodable++;
        } else {
          fresh.push({ version, body });
          tally.cached++;
        }
      }
      addVersions(db, row.id, fresh.map(({ version }) => version), row.epoch);
      addAllToOutbox(db, row.id, fresh, now(), privacy?.rules);
      // What was cached from here before and is no longer in ActivityWatch.
      for (const [key, before] of known) {
        if (before.epoch !== row.epoch || before.revised || before.dropped || present.has(key)) continue;
        const version = openVersion(db, row.id, before);
        if (version === undefined) continue;
        if (withdraw(db, row.id, version)) {
          forgetVersion(db, row.id, version);
          tally.withdrawn++;
        } else {
          markRevised(db, row.id, version);
          tally.revised++;
        }
      }
      const covered = coveredBy(page, count, range);
      if (covered !== undefined) cover(db, row.id, covered);
    });
    const newest = page.events.findLast(({ startUs }) => startUs <= now() * MS_US);
    if (newest !== undefined) range.newest = newest;
    const lastUs = page.events[count - 1]?.startUs;
    if (lastUs !== undefined) range.cursorUs = Math.max(range.cursorUs, lastUs + 1);
  }

  async function readRange(
    bucket: Bucket,
    row: BucketRow,
    range: Range,
    tally: Tally,
    buckets: readonly Bucket[] | undefined,
    signal: AbortSignal | undefined,
  ): Promise<boolean> {
    for await (const page of source.pages(bucket, range.fromUs, range.toUs, signal ? { signal } : {})) {
      tally.pages++;
      const final = await finalCount(bucket, row, page, range, signal);
      const prepared = await prepare(bucket, row, page, final, buckets, signal);
      commit(bucket, row, page, prepared, range, tally);
      onPage?.(bucket, page, tally);
      if (prepared.count < page.events.length) return false;
      signal?.throwIfAborted();
    }
    return true;
  }

  async function collect(
    bucket: Bucket,
    { signal, buckets }: { signal?: AbortSignal; buckets?: readonly Bucket[] } = {},
  ): Promise<CollectResult> {
    const tally: Tally = { cached: 0, filtered: 0, withdrawn: 0, revised: 0, unencodable: 0, pages: 0 };
    const row = ensureBucket(db, bucket);
    const nowMs = now();
    const nowUs = Math.floor(nowMs) * MS_US;
    const known = coverage(db, row.id);
    const active = activeInterval(known, collectFromUs, nowUs);

    // 1. The past that a lowered start, a break-off or a jump of the clock left out. First, so that events come
    //    in the order of their time and the newest is judged with all the others known.
    const reread = nowMs - row.rereadAtMs >= REREAD_EVERY_MS || nowMs < row.rereadAtMs;
    if (reread || !filled.has(bucket.id)) {
      let done = true;
      for (const gap of gaps(known, { fromUs: collectFromUs, toUs: active.fromUs })) {
        // Before all that is covered nothing new will come to stand; a hole inside it may yet be filled.
        const leading = known[0]!.fromUs >= gap.toUs;
        const range = rangeOf(bucket, gap, leading ? undefined : gap.fromUs);
        if (range.fromUs >= range.toUs) continue;
        if (!await readRange(bucket, row, range, tally, buckets, signal)) {
          done = false;
        } else if (!leading && gap.toUs - range.cursorUs <= MAX_EMPTY_US) {
          db.transaction(() => cover(db, row.id, { fromUs: range.cursorUs, toUs: gap.toUs }));
        }
      }
      if (done) filled.add(bucket.id);
    }

    // 2. The overlap and what is new.
    const cursorUs = Math.min(active.toUs, nowUs);
    const fromUs = Math.max(active.fromUs, cursorUs - (reread ? REREAD_US : OVERLAP_US));
    const next = known.find((interval) => interval.fromUs > active.toUs);
    let toUs = Math.min(nowUs, next?.fromUs ?? Infinity);
    if (toUs - cursorUs > PROBE_US) {
      const newestUs = await source.newestStartUs(bucket, signal ? { signal } : {});
      if (newestUs === undefined || newestUs < cursorUs) toUs = cursorUs;
    }
    const tail = rangeOf(bucket, { fromUs, toUs }, cursorUs);
    if (tail.fromUs < tail.toUs) await readRange(bucket, row, tail, tally, buckets, signal);
    db.transaction(() => {
      notePass(db, row.id, {
        filledFromUs: filled.has(bucket.id) ? collectFromUs : undefined,
        newest: tail.newest && { startUs: tail.newest.startUs, endUs: endUsOf(tail.newest) },
      });
      if (reread) setReread(db, row.id, nowMs);
    });
    if (reread) {
      while (db.transaction(() => pruneLedger(db, row.id, cursorUs - LEDGER_US, LEDGER_KEEP)) > 0) {
        await sleep(0, { signal });
      }
    }
    return tally;
  }

  return { collect };
}

/** What {@link Collector} knows of a page before it is committed. */
interface Prepared {
  /** How many events at its front are final and can be judged. */
  readonly count: number;
  readonly versions: readonly TaggedVersion[];
  /** What was known of it before anything is added: this alone tells what is new. */
  readonly known: ReadonlyMap<string, KnownVersion>;
  /** Absent where there are no privacy rules. */
  readonly around?: Surroundings;
}

type Tally = { -readonly [K in keyof CollectResult]: CollectResult[K] };

/** A stretch to read, and how far it has got. */
interface Range extends Interval {
  /** Empty stretches stay uncovered when nothing follows them: events may still come to stand there. */
  readonly sparse: boolean;
  /** Where the final events so far end. */
  cursorUs: number;
  /** The newest start of the whole bucket, once it was asked for. */
  newestUs?: number;
  /** The newest event that was read, final or not. */
  newest?: ActivityEvent;
}

function endUsOf({ startUs, durationSeconds }: ActivityEvent): number {
  return Math.round(startUs + Math.max(0, durationSeconds) * SECOND_US);
}

function rangeOf(bucket: Bucket, { fromUs, toUs }: Interval, cursorUs: number | undefined): Range {
  const { firstEventUs = -Infinity } = bucket;
  return {
    fromUs: Math.max(fromUs, firstEventUs - DAY_US),
    toUs,
    sparse: cursorUs !== undefined,
    cursorUs: cursorUs ?? fromUs,
  };
}

/**
 * The interval that collection goes on from: the latest that the clock has passed. A clock that stands before all
 * of them begins one of its own.
 */
function activeInterval(known: readonly Interval[], collectFromUs: number, nowUs: number): Interval {
  if (known.length === 0) {
    const fromUs = Math.min(collectFromUs, nowUs - CLOCK_MARGIN_US);
    return { fromUs, toUs: fromUs };
  }
  const passed = known.findLast((interval) => interval.fromUs <= nowUs);
  return passed ?? { fromUs: nowUs - CLOCK_MARGIN_US, toUs: nowUs - CLOCK_MARGIN_US };
}

/** Where the final events of a page end: before the first that may still grow. */
function finalEndUs(page: Page, count: number): number {
  return page.events[count]?.startUs ?? page.toUs;
}

/**
 * What a committed page adds to the coverage. In a sparse range it goes no further than just past the last final
 * event, for a cursor is never moved to where nothing stands yet.
 */
function coveredBy(page: Page, count: number, range: Range): Interval | undefined {
  if (!range.sparse) {
    const toUs = finalEndUs(page, count);
    return toUs > page.fromUs ? { fromUs: page.fromUs, toUs } : undefined;
  }
  const first = page.events[0];
  const last = page.events[count - 1];
  if (first === undefined || last === undefined || last.startUs < range.cursorUs) return undefined;
  const fromUs = first.startUs - range.cursorUs > MAX_EMPTY_US ? first.startUs : range.cursorUs;
  return { fromUs, toUs: last.startUs + 1 };
}

function versionOf(event: ActivityEvent): Version {
  return { startUs: event.startUs, digest: digestOf(event.data), durationSeconds: event.durationSeconds };
}
