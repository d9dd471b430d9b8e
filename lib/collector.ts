import { digestOf, encodeEvent } from "./encode.ts";
import type { ActivityEvent, Bucket, Filter, Page, Source, Surroundings } from "./event.ts";
import { judgeWaiting } from "./judgement.ts";
import { createPatience } from "./patience.ts";
import {
  activeInterval,
  coveredBy,
  endUsOf,
  finalEndUs,
  MAX_EMPTY_US,
  type Range,
  rangeOf,
} from "./range.ts";
import { newestPassed, settledCount } from "./settle.ts";
import { type BucketRow, cover, coverage, ensureBucket, gaps, setReread } from "./store/cursors.ts";
import type { Database } from "./store/database.ts";
import { notePass } from "./store/health.ts";
import {
  addVersion,
  countRevision,
  dropVersion,
  forgetVersion,
  keyOf,
  type KnownVersion,
  markRevised,
  openVersion,
  pruneLedger,
  tagged,
  type TaggedVersion,
  type Version,
  versionsBetween,
} from "./store/ledger.ts";
import { addAllToOutbox, addToOutbox, buryVersion, openEntry, withdraw } from "./store/outbox.ts";
import { removeEntries } from "./store/removal.ts";
import type { EnsureRoom } from "./store/room.ts";
import { isAttempted, rewriteEntry, waitingBetween, type WaitingEntry } from "./store/rules.ts";
import { type Privacy, readSurroundings } from "./surroundings.ts";
import { DAY_US, HOUR_US, MINUTE_US, MS_US, SECOND_US, sleep } from "./time.ts";

/** How far back each poll reads again, for events that arrive late. */
const OVERLAP_US = 15 * MINUTE_US;
/** How far back, and how often, the recent past is read again for edits and events that arrive very late. */
const REREAD_US = 7 * DAY_US;
const REREAD_EVERY_MS = 6 * 3_600_000;
/** How long versions are remembered: longer than the recent past, so that nothing in it is taken for new. */
const LEDGER_US = 8 * DAY_US;
const LEDGER_KEEP = 20_000;
/** How far past now each poll reads. */
const AHEAD_US = HOUR_US;
/** Past this distance one cheap look tells whether there is anything new before the way there is read. */
const PROBE_US = DAY_US;

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
  /** In how many milliseconds events that look final can be taken, if they stay as they are; absent: there are none. */
  readonly confirmInMs?: number;
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
  /** Take the newest event for final by its age alone. Default: it must also have been seen unchanged. */
  readonly trustAge?: boolean;
  /**
   * How long an event that is final by its age alone must have been seen unchanged, in milliseconds: after a sleep or an
   * outage a watcher's last heartbeats arrive with the past as their time. Default: 30000, or the settle time where
   * that is shorter.
   */
  readonly confirmMs?: number;
  /** The wall clock in milliseconds since 1970. */
  readonly now?: () => number;
  /** A clock that only goes forward, in milliseconds. */
  readonly monotonicMs?: () => number;
  /** Told after each page. */
  readonly onPage?: (bucket: Bucket, page: Page, result: CollectResult) => void;
  /** Keeps the cache within its limits, before each page; throws where collection has to pause. */
  readonly ensureRoom?: EnsureRoom;
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
    confirmMs = 30_000,
    now = Date.now,
    monotonicMs = () => performance.now(),
    onPage,
    ensureRoom,
  } = options;
  const settleUs = settleSeconds * SECOND_US;
  const steadyForMs = trustAge ? 0 : Math.min(confirmMs, settleSeconds * 1000);
  /** Events that are final by their age alone, and since when they were seen as they are, by bucket. */
  const seen = new Map<number, ReadonlyMap<string, number>>();
  /** Starts that were seen when they lay in the future, by bucket. */
  const ahead = new Map<number, Set<number>>();
  /** Buckets in their epoch with a gap that has been filled, or could not be filled yet because its end still grows. */
  const filled = new Set<string>();
  const patience = createPatience({ settleUs, trustAge, monotonicMs });

  /** Counts how many events at the front of a page are final. */
  function finalCount(
    bucket: Bucket,
    entries: readonly Entry[],
    known: Known,
    page: Page,
    range: Range,
  ): number {
    const { events } = page;
    const nowUs = now() * MS_US;
    const isLast = page.toUs >= range.toUs;
    for (const { startUs } of events) if (startUs > nowUs) range.ahead.add(startUs);
    const passedUs = newestPassed(events, nowUs, range.ahead);
    // At the end of all that there is the page shows by itself what is newest.
    const newestStartUs = isLast && range.isTail ? passedUs : Math.max(passedUs, range.newestUs);
    const settled = settledCount(events, { nowUs, settleUs, newestStartUs });
    let open = -1;
    for (const [index, { event, key }] of entries.slice(0, settled).entries()) {
      const endUs = endUsOf(event);
      const isLate = event.startUs < range.coveredUs;
      // One that reaches past its successor may not have ended with it; one that reaches past now is no heartbeats' work.
      const isCrossing = endUs > newestStartUs && endUs <= nowUs + MINUTE_US;
      const isYoung = (isLate || isCrossing) && endUs > nowUs - settleUs;
      if (!isLate && event.startUs < newestStartUs && !isYoung) continue;
      // Final by its age alone, which is not always enough: after a sleep or an outage a watcher's last heartbeats
      // arrive with the past as their time. And what comes to stand behind events that were there before it may be
      // written by a watcher whose clock was put back, with no newer event to tell when it is done.
      if (known.has(key)) continue;
      // What does not leave holds nothing up; should it grow until it does, it is one that came late.
      if (applyFilters(event, bucket) === undefined) continue;
      // An event of the future hides what is the newest of the past.
      if (!isLate && !isLast && range.isHidden && endUs < nowUs - DAY_US) continue;
      // All of them are looked at, so that they are confirmed together.
      const waitMs = unconfirmedMs(range, key);
      if (waitMs > 0 && !isYoung) range.confirmInMs = Math.max(range.confirmInMs ?? 0, waitMs);
      if ((waitMs > 0 || isYoung) && open === -1) open = index;
    }
    if (open === -1) return settled;
    if (events[open]!.startUs < range.coveredUs) range.hasOpenLate = true;
    // Events with one start are told apart by their data alone: they become final together.
    return events.findIndex(({ startUs }) => startUs === events[open]!.startUs);
  }

  /** How long an event must yet stand unchanged, in milliseconds. */
  function unconfirmedMs({ sightings }: Range, key: string): number {
    const sinceMs = sightings.before.get(key) ?? monotonicMs();
    sightings.now.set(key, sinceMs);
    return Math.max(0, steadyForMs - (monotonicMs() - sinceMs));
  }

  function applyFilters(event: ActivityEvent, bucket: Bucket): ActivityEvent | undefined {
    return filters.reduce<ActivityEvent | undefined>((e, filter) => e && filter(e, bucket), event);
  }

  /**
   * Reads what the privacy rules go by beside the final events of a page. They are fewer where the other buckets are not yet known up to an event's end: it waits for them as long as it
   * would for its own settling.
   */
  async function prepare(
    bucket: Bucket,
    row: BucketRow,
    entries: readonly Entry[],
    known: Known,
    page: Page,
    buckets: readonly Bucket[] | undefined,
    signal: AbortSignal | undefined,
  ): Promise<Prepared> {
    if (privacy === undefined) return { entries };
    const { policy, related } = privacy;
    if (policy.related(bucket.type).length === 0) return { entries, around: policy.surround([]) };
    if (buckets === undefined) {
      throw new TypeError("The privacy rules go by other buckets, and they were not given");
    }
    const nowUs = now() * MS_US;
    const waiting = waitingKeys(bucket, row, page, entries.length);
    // What was judged and has left is not judged again.
    const open = entries.filter(({ key }) => !known.has(key) || waiting.has(key)).map(({ event }) => event);
    const around = await readSurroundings(bucket, open, { policy, related, buckets, nowUs, signal });
    // All of them are noted, so that they wait at the same time and not one after another.
    const [early] = entries.filter(({ event, key }) =>
      !known.has(key) && applyFilters(event, bucket) !== undefined &&
      !policy.isReady(event, bucket, around) &&
      patience.mustWait(`${row.id} ${key}`, endUsOf(event), nowUs)
    );
    const ready = early === undefined
      ? entries.length
      : entries.findIndex(({ event }) => event.startUs === early.event.startUs);
    for (const { key } of entries.slice(0, ready)) patience.done(`${row.id} ${key}`);
    return { entries: entries.slice(0, ready), around };
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
    if (judgement.kind === "dropped" || judgement.kind === "withheld") removeEntries(db, [entry.seq]);
    if (judgement.kind === "dropped") dropVersion(db, row.id, version, row.epoch);
  }

  /** Commits the final events of a page, and what it shows to be gone, in one transaction. */
  function commit(
    bucket: Bucket,
    row: BucketRow,
    { entries, around }: Prepared,
    present: ReadonlySet<string>,
    known: Known,
    page: Page,
    range: Range,
    tally: Tally,
  ): void {
    const count = entries.length;
    db.transaction(() => {
      const waiting = waitingKeys(bucket, row, page, count);
      const taken = new Set<string>();
      const fresh: { version: TaggedVersion; body: string }[] = [];
      for (const { event, version, key } of entries) {
        const again = taken.has(key);
        taken.add(key);
        const kept = applyFilters(event, bucket);
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
          addToOutbox(db, row.id, version, JSON.stringify(passed), now(), privacy?.rules, row.epoch);
          buryVersion(db, row.id, version, "The event's data is no object", now());
          tally.unencodable++;
        } else {
          fresh.push({ version, body });
          tally.cached++;
        }
      }
      addAllToOutbox(db, row.id, fresh, now(), privacy?.rules, row.epoch);
      // What was cached from here before and is no longer in ActivityWatch, or still grows there after all.
      for (const [key, before] of known) {
        if (present.has(key)) continue;
        if (before.epoch !== row.epoch || before.revised || before.dropped) continue;
        const version = openVersion(db, row.id, before);
        if (version === undefined) continue;
        const found = withdraw(db, row.id, version);
        if (found === undefined) markRevised(db, row.id, version);
        // Should it come back, it is new again: whether the server has it is not known for certain.
        else forgetVersion(db, row.id, version);
        if (found === "unsent") {
          tally.withdrawn++;
        } else {
          if (found === "sent") countRevision(db, row.id);
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
    let fromUs = range.fromUs;
    reread: for (;;) {
      for await (const page of source.pages(bucket, fromUs, range.toUs, signal ? { signal } : {})) {
        tally.pages++;
        ensureRoom?.();
        // Read once, before anything is added: this alone tells what is new on the page.
        const known = versionsBetween(db, row.id, page.fromUs, page.toUs);
        const entries = page.events.map((event) => {
          const version = tagged(db, row.id, versionOf(event));
          return { event, version, key: keyOf(version) };
        });
        const count = finalCount(bucket, entries, known, page, range);
        if (count < entries.length && page.toUs < range.toUs && !range.isLookedAhead) {
          // What stands after the page may show that its last event is final. It must be known before the page is
          // read: an event may grow until its successor comes.
          await lookAhead(bucket, range, signal);
          // The page is judged anew.
          delete range.confirmInMs;
          fromUs = page.fromUs;
          continue reread;
        }
        const final = entries.slice(0, count);
        const prepared = await prepare(bucket, row, final, known, page, buckets, signal);
        // Where nothing is known nothing can have gone.
        const present = new Set(known.size === 0 ? [] : entries.map(({ key }) => key));
        commit(bucket, row, prepared, present, known, page, range, tally);
        onPage?.(bucket, page, tally);
        if (prepared.entries.length < entries.length) return false;
        signal?.throwIfAborted();
      }
      return true;
    }
  }

  /** Asks for the newest event of the whole bucket. */
  async function lookAhead(bucket: Bucket, range: Range, signal: AbortSignal | undefined): Promise<void> {
    const nowUs = now() * MS_US;
    const newestUs = await source.newestStartUs(bucket, signal ? { signal } : {}) ?? -Infinity;
    range.isLookedAhead = true;
    range.isHidden = newestUs > nowUs;
    if (newestUs <= nowUs) range.newestUs = Math.max(range.newestUs, newestUs);
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
    const sightings = { before: seen.get(row.id) ?? new Map(), now: new Map<string, number>() };
    ahead.set(row.id, new Set([...ahead.get(row.id) ?? []].filter((startUs) => startUs > nowUs - DAY_US)));
    const common = { sightings, ahead: ahead.get(row.id)! };
    const fill = `${row.id} ${row.epoch}`;
    const reread = nowMs - row.rereadAtMs >= REREAD_EVERY_MS || nowMs < row.rereadAtMs;
    if (reread || !filled.has(fill)) {
      let done = true;
      for (const gap of gaps(known, { fromUs: collectFromUs, toUs: active.fromUs })) {
        // Before all that is covered nothing new will come to stand; a hole inside it may yet be filled.
        const leading = known[0]!.fromUs >= gap.toUs;
        const range = rangeOf(bucket, gap, {
          sparse: !leading,
          cursorUs: gap.fromUs,
          // What is covered ends with an event.
          newestUs: active.toUs > active.fromUs && active.toUs <= nowUs ? active.toUs - 1 : -Infinity,
          ...common,
        });
        if (range.fromUs >= range.toUs) continue;
        if (!await readRange(bucket, row, range, tally, buckets, signal)) {
          done = false;
        } else if (!leading && gap.toUs - range.cursorUs <= MAX_EMPTY_US) {
          db.transaction(() => cover(db, row.id, { fromUs: range.cursorUs, toUs: gap.toUs }));
        }
      }
      if (done) filled.add(fill);
    }

    // 2. The overlap and what is new.
    const cursorUs = Math.min(active.toUs, nowUs);
    let fromUs = Math.max(active.fromUs, cursorUs - (reread ? REREAD_US : OVERLAP_US));
    // Since the last time the cursor may have leapt over more than is read again.
    const beforeUs = row.rereadCursorUs ?? cursorUs;
    if (reread && beforeUs < cursorUs) {
      fromUs = Math.min(fromUs, Math.max(known[0]?.fromUs ?? fromUs, beforeUs - REREAD_US));
    }
    const next = known.find((interval) => interval.fromUs > active.toUs);
    // A little into the future, so that what stands there is known before its time comes.
    let toUs = Math.min(nowUs + AHEAD_US, next?.fromUs ?? Infinity);
    if (toUs - cursorUs > PROBE_US) {
      const newestUs = await source.newestStartUs(bucket, signal ? { signal } : {});
      if (newestUs === undefined || newestUs < cursorUs) toUs = cursorUs;
    }
    const tail = rangeOf(bucket, { fromUs, toUs }, {
      sparse: true,
      cursorUs,
      isTail: toUs > cursorUs,
      coveredUs: cursorUs,
      ...common,
    });
    if (tail.fromUs < tail.toUs) await readRange(bucket, row, tail, tally, buckets, signal);
    seen.set(row.id, sightings.now);
    if (tail.confirmInMs !== undefined) tally.confirmInMs = tail.confirmInMs;
    notePass(db, bucket.id, {
      filledFromUs: filled.has(fill) ? collectFromUs : undefined,
      newest: tail.newest && { startUs: tail.newest.startUs, endUs: endUsOf(tail.newest) },
    });
    // What came late and may not be taken yet is looked for again at the next turn.
    if (reread && !tail.hasOpenLate) db.transaction(() => setReread(db, row.id, nowMs, tail.cursorUs));
    if (reread) {
      while (db.transaction(() => pruneLedger(db, row.id, cursorUs - LEDGER_US, LEDGER_KEEP)) > 0) {
        await sleep(0, { signal });
      }
    }
    return tally;
  }

  return {
    collect: (bucket, options) =>
      collect(bucket, options).catch((error) => {
        patience.startOver();
        throw error;
      }),
  };
}

/** What of a page can be committed. */
interface Prepared {
  /** The events at its front that are final and can be judged. */
  readonly entries: readonly Entry[];
  /** What stands beside them in other buckets; absent where there are no privacy rules. */
  readonly around?: Surroundings;
}

type Tally = { -readonly [K in keyof CollectResult]: CollectResult[K] };

type Known = ReadonlyMap<string, KnownVersion>;

/** An event of a page, with what tells it from all others. */
interface Entry {
  readonly event: ActivityEvent;
  readonly version: TaggedVersion;
  readonly key: string;
}

function versionOf(event: ActivityEvent): Version {
  return { startUs: event.startUs, digest: digestOf(event.data), durationSeconds: event.durationSeconds };
}
