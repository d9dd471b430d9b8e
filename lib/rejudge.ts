import { digestOf, encodeEvent } from "./encode.ts";
import type { ActivityEvent, Bucket, BucketType, Source, Surroundings } from "./event.ts";
import { eventOfBody, type Judgement, judgeWaiting } from "./judgement.ts";
import { ensureBucket } from "./store/cursors.ts";
import { isDaemonBucket } from "./store/daemon_cache.ts";
import type { Database } from "./store/database.ts";
import {
  countRevision,
  dropVersion,
  forgetVersion,
  keyOf,
  openVersion,
  tagged,
  versionsBetween,
} from "./store/ledger.ts";
import { bury, openEntry, withdraw } from "./store/outbox.ts";
import { removeEntries } from "./store/removal.ts";
import {
  bucketById,
  isAttempted,
  mayBeStale,
  passEntry,
  rewriteEntry,
  setStale,
  staleEntries,
  type WaitingEntry,
} from "./store/rules.ts";
import { type Privacy, readSurroundings } from "./surroundings.ts";
import { HOUR_US, MS_US } from "./time.ts";

/** Entries that are judged in one transaction. */
const CHUNK = 500;
/** Entries further apart than this are read separately. */
const APART_US = 6 * HOUR_US;
/** The status of a dead letter that no server has seen: other than one without a form there, it may be tried again. */
const UNSENT = 0;
const UNDECIDED =
  "ActivityWatch no longer has it, so that it cannot be told whether the privacy rules let it leave";

/** What became of the entries that waited. */
export interface RejudgeResult {
  /** They leave as they are. */
  readonly same: number;
  readonly changed: number;
  readonly dropped: number;
  /** Not sent again: the server may have them in the form that the old rules gave them. */
  readonly withheld: number;
  /** No longer in ActivityWatch. */
  readonly gone: number;
  /** Moved to the dead letters, as ActivityWatch no longer says what they were. */
  readonly undecided: number;
}

/** What {@link createRejudge} needs. */
export interface RejudgeOptions {
  readonly db: Database;
  readonly source: Source;
  readonly privacy: Privacy;
  readonly now?: () => number;
}

/**
 * Judges what waits by the rules in force, where others let it pass.
 * @returns `undefined` when nothing of that kind waits
 * @throws {SourceError} when ActivityWatch cannot be read; what was judged until then stays judged
 */
export type Rejudge = (
  buckets: readonly Bucket[],
  options?: { signal?: AbortSignal },
) => Promise<RejudgeResult | undefined>;

/**
 * Makes the pass that follows a change of the privacy rules. The stored text of an event does not tell all that the
 * rules go by (whether a window was private, what stood beside it): each is read again from ActivityWatch, by whole
 * pages, and judged like a new one. A chunk of entries is one transaction, so it may be broken off anywhere and goes
 * on where it was; until an entry's turn has come it is not sent.
 */
export function createRejudge({ db, source, privacy, now = Date.now }: RejudgeOptions): Rejudge {
  const { policy, rules } = privacy;

  async function rejudge(
    buckets: readonly Bucket[],
    { signal }: { signal?: AbortSignal } = {},
  ): Promise<RejudgeResult | undefined> {
    if (!mayBeStale(db)) return undefined;
    const tally: Tally = { same: 0, changed: 0, dropped: 0, withheld: 0, gone: 0, undecided: 0 };
    for (let afterSeq = 0;;) {
      signal?.throwIfAborted();
      const entries = staleEntries(db, rules, afterSeq, CHUNK);
      if (entries.length === 0) break;
      await judgeChunk(entries, buckets, tally, signal);
      afterSeq = entries.at(-1)!.seq;
    }
    setStale(db, staleEntries(db, rules, 0, 1).length > 0);
    return tally;
  }

  async function judgeChunk(
    entries: readonly WaitingEntry[],
    buckets: readonly Bucket[],
    tally: Tally,
    signal: AbortSignal | undefined,
  ): Promise<void> {
    const steps: (() => void)[] = [];
    for (const [bucketId, own] of Map.groupBy(entries, (entry) => entry.bucketId)) {
      const row = bucketById(db, bucketId)!;
      if (isDaemonBucket(row.name) && policy.needsMore(row.type as BucketType)) {
        steps.push(...await judgeDaemons(own, row.type as BucketType, buckets, tally, signal));
        continue;
      }
      const current = buckets.find(({ id }) => id === row.name);
      for (const group of current === undefined ? [own] : clusters(own)) {
        const found = current === undefined
          ? undefined
          : await readAgain(current, bucketId, group, buckets, signal);
        const bucket = current ??
          { id: row.name, type: row.type as BucketType, hostname: "", created: row.created };
        for (const entry of group) steps.push(() => judgeEntry(entry, bucket, found, tally));
      }
    }
    db.transaction(() => steps.forEach((step) => step()));
  }

  /**
   * The Python daemon's events stand in a bucket of the cache alone. They are found in ActivityWatch's by their start
   * and by what they show; their duration stays the one that the daemon recorded.
   */
  async function judgeDaemons(
    entries: readonly WaitingEntry[],
    type: BucketType,
    buckets: readonly Bucket[],
    tally: Tally,
    signal: AbortSignal | undefined,
  ): Promise<(() => void)[]> {
    const steps: (() => void)[] = [];
    for (const group of clusters(entries)) {
      const left = new Map(group.map((entry) => [keyOf(entry), entry]));
      for (const bucket of buckets.filter((bucket) => bucket.type === type)) {
        const events = new Map<string, ActivityEvent>();
        const fromUs = group[0]!.startUs;
        // The daemon cut times to milliseconds.
        const toUs = group.at(-1)!.startUs + MS_US;
        const byMs = Map.groupBy(left.values(), ({ startUs }) => Math.floor(startUs / MS_US));
        for await (const page of source.pages(bucket, fromUs, toUs, signal ? { signal } : {})) {
          for (const { startUs, data } of page.events) {
            for (const entry of byMs.get(Math.floor(startUs / MS_US)) ?? []) {
              const event = { startUs: entry.startUs, durationSeconds: entry.durationSeconds, data };
              const shown = eventOfBody(openEntry(db, entry));
              if (shown && encodeEvent(shown, type) === encodeEvent(event, type)) {
                events.set(keyOf(entry), event);
              }
            }
          }
        }
        const around = await readSurroundings(bucket, [...events.values()], {
          ...privacy,
          buckets,
          nowUs: now() * MS_US,
          signal,
        });
        const found = { fromUs, toUs, events, around };
        for (const key of events.keys()) {
          const entry = left.get(key)!;
          left.delete(key);
          steps.push(() => judgeEntry(entry, bucket, found, tally));
        }
      }
      const bucket = { id: "", type, hostname: "", created: "" };
      for (const entry of left.values()) steps.push(() => judgeEntry(entry, bucket, undefined, tally));
    }
    return steps;
  }

  /** Reads the events of a group of entries, and what stands beside them. */
  async function readAgain(
    bucket: Bucket,
    bucketId: number,
    group: readonly WaitingEntry[],
    buckets: readonly Bucket[],
    signal: AbortSignal | undefined,
  ): Promise<Found> {
    const wanted = new Set(group.map(keyOf));
    const events = new Map<string, ActivityEvent>();
    const fromUs = group[0]!.startUs;
    const toUs = group.at(-1)!.startUs + 1;
    for await (const page of source.pages(bucket, fromUs, toUs, signal ? { signal } : {})) {
      for (const event of page.events) {
        const { startUs, durationSeconds, data } = event;
        const key = keyOf(tagged(db, bucketId, { startUs, durationSeconds, digest: digestOf(data) }));
        if (wanted.has(key)) events.set(key, event);
      }
    }
    const around = await readSurroundings(bucket, [...events.values()], {
      ...privacy,
      buckets,
      nowUs: now() * MS_US,
      signal,
    });
    return { fromUs, toUs, events, around };
  }

  /** Settles one entry, inside the chunk's transaction. */
  function judgeEntry(entry: WaitingEntry, bucket: Bucket, found: Found | undefined, tally: Tally): void {
    const { seq, bucketId, startUs, durationSeconds } = entry;
    const body = openEntry(db, entry);
    const attempted = isAttempted(db, seq);
    const event = found?.events.get(keyOf(entry));
    if (event !== undefined) {
      const version = { startUs, durationSeconds, tag: entry.tag, digest: digestOf(event.data) };
      const judgement = judgeWaiting(policy, { body, attempted }, event, bucket, found!.around);
      return settle(entry, judgement, version, tally);
    }
    const known = versionsBetween(db, bucketId, startUs, startUs + 1).get(keyOf(entry));
    const version = known && openVersion(db, bucketId, known);
    const { epoch } = found === undefined ? { epoch: -1 } : ensureBucket(db, bucket);
    if (version !== undefined && known!.epoch === epoch) {
      // Its user has taken it out of ActivityWatch. Should it come back, it is new again.
      if (withdraw(db, bucketId, version) === "sent") countRevision(db, bucketId);
      forgetVersion(db, bucketId, version);
      tally.gone++;
      return;
    }
    // All that is left of it is its text: that is enough to drop it, or where the rules go by nothing else.
    const shown = eventOfBody(body);
    const around = policy.surround([]);
    const enough = !policy.needsMore(bucket.type);
    const dropped = shown !== undefined && policy.judge(shown, bucket, around).event === undefined;
    if (shown === undefined || version === undefined || (!enough && !dropped)) {
      bury(db, seq, UNSENT, UNDECIDED, now());
      tally.undecided++;
      return;
    }
    const judgement = judgeWaiting(policy, { body, attempted }, shown, bucket, around);
    settle(entry, judgement, { ...version, tag: entry.tag }, tally);
  }

  function settle(
    entry: WaitingEntry,
    judgement: Judgement,
    version: Parameters<typeof dropVersion>[2],
    tally: Tally,
  ): void {
    const { seq, bucketId } = entry;
    tally[judgement.kind]++;
    switch (judgement.kind) {
      case "same":
        return passEntry(db, seq, rules);
      case "changed":
        return rewriteEntry(db, entry, version.digest, judgement.body, rules);
      case "dropped":
        dropVersion(db, bucketId, version, bucketById(db, bucketId)!.epoch);
        removeEntries(db, [seq]);
        return;
      case "withheld":
        removeEntries(db, [seq]);
        return;
    }
  }

  return rejudge;
}

type Tally = { -readonly [K in keyof RejudgeResult]: RejudgeResult[K] };

/** What ActivityWatch has of a group of entries. */
interface Found {
  readonly fromUs: number;
  readonly toUs: number;
  readonly events: ReadonlyMap<string, ActivityEvent>;
  readonly around: Surroundings;
}

/** Groups entries that stand near one another in time, each in order of their start. */
function clusters(entries: readonly WaitingEntry[]): WaitingEntry[][] {
  const groups: WaitingEntry[][] = [];
  for (const entry of entries.toSorted((a, b) => a.startUs - b.startUs)) {
    const last = groups.at(-1);
    if (last !== undefined && entry.startUs - last.at(-1)!.startUs <= APART_US) last.push(entry);
    else groups.push([entry]);
  }
  return groups;
}
