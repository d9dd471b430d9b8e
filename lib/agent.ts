import { getLogger } from "@logtape/logtape";
import { steadyMs } from "./clock.ts";
import type { Collector, CollectResult } from "./collector.ts";
import { describeCrash } from "./crash.ts";
import type { Deliverer, DrainResult } from "./deliverer.ts";
import { SourceError, StoreError } from "./errors.ts";
import type { Bucket, Source } from "./event.ts";
import type { RepeatGate } from "./log.ts";
import type { Rejudge, RejudgeResult } from "./rejudge.ts";
import { startSchedule, turnAfterMs } from "./schedule.ts";
import type { Database } from "./store/database.ts";
import { NOTE_EVERY_MS, noteDelivered, noteFailure, noteOk, noteRead, writeNotes } from "./store/health.ts";
import { deadLetterCount, outboxDepth } from "./store/outbox.ts";
import type { EnsureRoom } from "./store/room.ts";
import { isHeldByRules } from "./store/rules.ts";
import { sleep } from "./time.ts";

/** How long the list of buckets is good for, in milliseconds: aw-server looks into each of them to make it. */
const BUCKETS_TTL_MS = 10 * 60_000;
/** How often the whole cache is looked at for damage, first before any work, and up to which size: 1 MB takes 1 ms. */
const CHECK_EVERY_MS = 24 * 3_600_000;
const CHECK_MAX_BYTES = 256 * 1024 * 1024;
/** Free pages that are given back to the disk at a time, and how many are kept for what will be collected next. */
const SHRINK_PAGES = 2048;
const SPARE_PAGES = 1024;
/** How long a request in flight may still take once the agent was asked to stop, in milliseconds. */
const GRACE_MS = 8_000;

const NO_BUCKETS =
  "ActivityWatch has no window, afk or web bucket of this device (are its watchers running?)";

const log = getLogger(["lifelog-agent", "agent"]);

/** What {@link createAgent} needs. */
export interface AgentOptions {
  readonly db: Database;
  readonly source: Source;
  readonly collector: Collector;
  /** Judges what waits by changed privacy rules. Absent: there are no rules. */
  readonly rejudge?: Rejudge | undefined;
  /** Absent when no endpoint is set: collect only. */
  readonly deliverer?: Deliverer | undefined;
  readonly repeats: RepeatGate;
  /** Keeps the cache within its limits; throws where collection has to pause. */
  readonly ensureRoom?: EnsureRoom | undefined;
  /** Told after each drain that left nothing waiting. */
  readonly onEmptied?: () => void;
  /** How often ActivityWatch is read, in seconds. Default: 60. */
  readonly collectionIntervalSeconds?: number;
  /** How often the cache is sent, in seconds. Default: 300. */
  readonly sendIntervalSeconds?: number;
  /** The device's place in the intervals, from 0 up to 1. Default: 0. */
  readonly splay?: number;
  readonly now?: () => number;
  readonly monotonicMs?: () => number;
  readonly schedule?: typeof startSchedule;
  readonly sleep?: typeof sleep;
}

/** What a one-off flush came to. */
export interface OnceResult {
  readonly cached: number;
  readonly delivered: number;
  readonly dead: number;
  /** Events left in the outbox. */
  readonly waiting: number;
  /** Collected everything, delivered everything (or has nowhere to deliver to), buried nothing. */
  readonly ok: boolean;
}

/** What a pass over all buckets came to. */
interface Collected {
  /** Every one of them was read to its end. */
  readonly ok: boolean;
  readonly cached: number;
  /** In how many milliseconds events that look final can be taken; 0 where there are none. */
  readonly confirmInMs: number;
}

/** The agent: two loops, of which one collects and one delivers. Nothing else moves data. */
export interface Agent {
  /**
   * One pass over all buckets and one drain of the outbox.
   * @throws {StoreError} of the fault `corrupt` when the cache is damaged
   */
  once(signal: AbortSignal): Promise<OnceResult>;
  /**
   * Collects and delivers on their schedules until `signal` is aborted. Then it ends within 10 s: a page is
   * committed or not, a request in flight is finished, or given up and sent again the same to the byte at the
   * next start.
   * @throws {StoreError} of the fault `corrupt` when the cache is damaged; other faults of it are waited out
   */
  run(signal: AbortSignal): Promise<void>;
}

/** Puts the two loops together. */
export function createAgent(options: AgentOptions): Agent {
  const {
    db,
    source,
    collector,
    rejudge,
    deliverer,
    repeats,
    ensureRoom,
    onEmptied,
    collectionIntervalSeconds = 60,
    sendIntervalSeconds = 300,
    splay = 0,
    now = Date.now,
    monotonicMs = steadyMs,
    schedule = startSchedule,
    sleep: pause = sleep,
  } = options;
  let buckets: readonly Bucket[] = [];
  let listedAtMs = -Infinity;
  let checkedAtMs = -Infinity;
  /** The loops run: what fails now is tried again by itself. */
  let running = false;

  /** Notes how a side fares, for `status`. Where the disk is full, that is not to be noted. */
  function note(what: () => void, everyMs = NOTE_EVERY_MS): void {
    try {
      what();
      writeNotes(db, now(), everyMs);
    } catch (error) {
      log.debug("Cannot note it in the cache: {reason}", { reason: describe(error) });
    }
  }

  /** Runs `work`; says what went wrong once, then at long intervals, then that it is over. */
  async function guarded<T>(
    key: string,
    signal: AbortSignal,
    work: () => Promise<T>,
  ): Promise<T | undefined> {
    try {
      const result = await work();
      const line = repeats.recovered(key);
      if (line !== undefined) log.info("{line}", { line });
      return result;
    } catch (error) {
      if (isDamage(error)) throw error;
      if (signal.aborted) return undefined;
      const full = isFull(error);
      if (error instanceof SourceError) {
        const { message: reason, status } = error;
        note(() =>
          noteFailure(db, "collection", { reason, ...(status === undefined ? {} : { status }) }, now())
        );
      } else if (full) {
        const { message: reason, hint } = error;
        note(() => noteFailure(db, "collection", { reason, ...(hint === undefined ? {} : { hint }) }, now()));
      } else if (key !== "cache") {
        note(() => noteFailure(db, "collection", { reason: describe(error) }, now()));
      }
      complain(
        // It is the same for all buckets, and said once.
        full ? "room" : key,
        error instanceof SourceError ? error.message : describe(error),
        !(error instanceof SourceError),
      );
      return undefined;
    }
  }

  function complain(key: string, message: string, grave = false): void {
    const line = repeats.failed(key, message);
    if (line === undefined) log.debug("Still: {message}", { message });
    else if (grave) log.error("{line}", { line });
    else log.warn("{line}", { line });
  }

  async function hasRoom(ensureRoom: EnsureRoom, signal: AbortSignal): Promise<boolean> {
    return await guarded("room", signal, () => Promise.resolve(ensureRoom()).then(() => true)) ?? false;
  }

  /** One pass over all buckets. */
  async function collect(signal: AbortSignal): Promise<Collected> {
    const listed = await guarded("buckets", signal, async () => {
      if (monotonicMs() - listedAtMs > BUCKETS_TTL_MS) {
        buckets = await source.buckets({ signal });
        listedAtMs = monotonicMs();
        log.debug("{count} buckets to collect: {ids}", {
          count: buckets.length,
          ids: buckets.map(({ id }) => id).join(", "),
        });
      }
      return buckets;
    });
    if (listed === undefined) return { ok: false, cached: 0, confirmInMs: 0 };
    if (listed.length === 0) {
      complain("no buckets", NO_BUCKETS);
      listedAtMs = -Infinity;
    } else {
      repeats.recovered("no buckets");
    }
    if (ensureRoom !== undefined && !await hasRoom(ensureRoom, signal)) {
      return { ok: false, cached: 0, confirmInMs: 0 };
    }
    let ok = true;
    let cached = 0;
    let confirmInMs = 0;
    if (rejudge !== undefined && listed.length > 0) {
      // Before anything else: until then nothing of it is sent.
      const judged = await guarded("rules", signal, async () => await rejudge(listed, { signal }) ?? null);
      if (judged === undefined) ok = false;
      else if (judged !== null) reportJudged(judged);
    }
    for (const bucket of listed) {
      if (signal.aborted) return { ok: false, cached, confirmInMs };
      const result = await guarded(
        `collect ${bucket.id}`,
        signal,
        () => collector.collect(bucket, { signal, buckets: listed }),
      );
      if (result === undefined) {
        ok = false;
        // It may have been deleted, or made anew.
        listedAtMs = -Infinity;
        continue;
      }
      cached += result.cached;
      confirmInMs = Math.max(confirmInMs, result.confirmInMs ?? 0);
      // Written with the rest, but for a bucket's first read: the one after it may take hours.
      note(() => noteRead(db, bucket.id, now()), Infinity);
      report(bucket, result);
    }
    note(() => {
      if (listed.length === 0) noteFailure(db, "collection", { reason: NO_BUCKETS }, now());
      else if (ok) noteOk(db, "collection", now());
    });
    return { ok, cached, confirmInMs };
  }

  /** The first turn after the server was left alone for long enough; none where the loops do not run. */
  function nextTryAtMs(deliverer: Deliverer): number | undefined {
    return running ? turnAfterMs(now() + deliverer.pauseMs(), sendIntervalSeconds, splay) : undefined;
  }

  /** One drain. Returns `undefined` when there is nowhere to deliver to or it broke off. */
  async function deliver(signal: AbortSignal, abortSignal: AbortSignal): Promise<DrainResult | undefined> {
    if (deliverer === undefined) return undefined;
    return await guarded("cache", signal, async () => {
      const result = await deliverer.drain({ signal, abortSignal });
      const { failure } = result;
      note(() => {
        if (result.delivered > 0) noteDelivered(db, now());
        if (failure === undefined) noteOk(db, "delivery", now());
        else noteFailure(db, "delivery", failure, now(), nextTryAtMs(deliverer));
      }, result.delivered > 0 ? 0 : NOTE_EVERY_MS);
      if (failure === undefined) {
        const line = repeats.recovered("deliver");
        if (line !== undefined) log.info("{line}", { line });
      } else {
        const { reason, hint } = failure;
        complain(
          "deliver",
          `Cannot deliver to the LifeLog server: ${reason}${hint === undefined ? "" : `. ${hint}`}`,
        );
      }
      if (result.delivered > 0) {
        log.info("Delivered {delivered} events in {requests} requests, {waiting} waiting", {
          delivered: result.delivered,
          requests: result.requests,
          waiting: outboxDepth(db),
        });
        await shrink(signal);
      }
      if (failure === undefined && outboxDepth(db) === 0) onEmptied?.();
      if (failure === undefined && isHeldByRules(db)) {
        complain(
          "stale",
          "What waits is not sent before ActivityWatch was read for the changed privacy rules",
        );
      } else repeats.recovered("stale");
      if (result.dead > 0) {
        log.error(
          "The server does not accept {dead} events: moved to the dead letters ({all} in all). See lifelog-agent dead-letters list",
          {
            dead: result.dead,
            all: deadLetterCount(db),
          },
        );
      }
      return result;
    });
  }

  /** Makes the file smaller after much was delivered, in steps between which collection can write. */
  async function shrink(signal: AbortSignal): Promise<void> {
    while (!signal.aborted && db.freePages() > SPARE_PAGES) {
      db.shrink(Math.min(SHRINK_PAGES, db.freePages() - SPARE_PAGES));
      await sleep(0);
    }
  }

  /** A pass, and another where events look final and must only be seen unchanged a moment later. */
  async function collectTwice(signal: AbortSignal): Promise<Collected> {
    const first = await collect(signal);
    if (first.confirmInMs === 0) return first;
    log.info("Looking again in {seconds} s, for the newest events may yet be written to", {
      seconds: Math.ceil(first.confirmInMs / 1000),
    });
    try {
      await pause(first.confirmInMs, { signal });
    } catch (error) {
      if (!signal.aborted) throw error;
      return first;
    }
    const second = await collect(signal);
    return { ...second, ok: first.ok && second.ok, cached: first.cached + second.cached };
  }

  async function once(signal: AbortSignal): Promise<OnceResult> {
    using stop = graceful(signal);
    await checkCache(signal);
    const collected = await collectTwice(signal);
    let drained = signal.aborted ? undefined : await deliver(signal, stop.signal);
    // A slow server is given time between turns; a flush that somebody waits for goes on.
    while (drained?.eased && !signal.aborted) {
      const { delivered, dead, requests } = drained;
      const more: DrainResult | undefined = await deliver(signal, stop.signal);
      drained = more && {
        ...more,
        delivered: delivered + more.delivered,
        dead: dead + more.dead,
        requests: requests + more.requests,
      };
    }
    note(() => {}, 0);
    const waiting = outboxDepth(db);
    const delivered = deliverer === undefined ||
      (drained !== undefined && drained.failure === undefined && waiting === 0);
    const dead = drained?.dead ?? 0;
    return {
      cached: collected.cached,
      delivered: drained?.delivered ?? 0,
      dead,
      waiting,
      ok: collected.ok && delivered && dead === 0 && !signal.aborted,
    };
  }

  /** Where damage stays unseen, what is collected into it is lost with it. */
  async function checkCache(signal: AbortSignal): Promise<void> {
    await guarded("cache", signal, () => {
      if (monotonicMs() - checkedAtMs >= CHECK_EVERY_MS && db.usedBytes() <= CHECK_MAX_BYTES) {
        db.check();
        checkedAtMs = monotonicMs();
      }
      return Promise.resolve();
    });
  }

  async function run(outer: AbortSignal): Promise<void> {
    const ending = new AbortController();
    const signal = AbortSignal.any([outer, ending.signal]);
    using stop = graceful(signal);
    running = true;
    let damage: unknown;
    /** Ends both loops where the cache is damaged. */
    const turn = (work: () => Promise<unknown>) => async () => {
      try {
        await work();
      } catch (error) {
        if (!isDamage(error)) throw error;
        damage ??= error;
        ending.abort(error);
      }
    };
    const collectTurn = turn(async () => {
      await checkCache(signal);
      await collect(signal);
    });
    const deliverTurn = turn(async () => {
      if (deliverer !== undefined && deliverer.pauseMs() > 0) {
        log.debug("The server is left alone for {seconds} s more", {
          seconds: Math.ceil(deliverer.pauseMs() / 1000),
        });
        return;
      }
      await deliver(signal, stop.signal);
    });
    await collectTurn();
    if (damage !== undefined) throw damage;
    const loops = [
      schedule({
        name: "collect",
        intervalSeconds: collectionIntervalSeconds,
        splay,
        run: collectTurn,
        signal,
      }),
    ];
    if (deliverer !== undefined) {
      loops.push(
        deliverTurn().then(() =>
          schedule({ name: "deliver", intervalSeconds: sendIntervalSeconds, splay, run: deliverTurn, signal })
        ),
      );
    }
    await Promise.all(loops);
    if (damage !== undefined) throw damage;
    note(() => {}, 0);
  }

  return { once, run };
}

/** A signal that follows another after a grace. */
function graceful(signal: AbortSignal): Disposable & { readonly signal: AbortSignal } {
  const controller = new AbortController();
  let timer: number | undefined;
  const begin = () => timer = setTimeout(() => controller.abort(signal.reason), GRACE_MS);
  if (signal.aborted) begin();
  else signal.addEventListener("abort", begin, { once: true });
  return {
    signal: controller.signal,
    [Symbol.dispose]() {
      signal.removeEventListener("abort", begin);
      clearTimeout(timer);
    },
  };
}

function report(bucket: Bucket, result: CollectResult): void {
  const { cached, filtered, withdrawn, revised, unencodable } = result;
  if (cached > 0) log.info("Collected {cached} events of {bucket}", { cached, bucket: bucket.id });
  if (filtered > 0) {
    log.debug("Filters dropped {filtered} events of {bucket}", { filtered, bucket: bucket.id });
  }
  if (withdrawn > 0) {
    log.info("{withdrawn} unsent events of {bucket} were changed or deleted in ActivityWatch", {
      withdrawn,
      bucket: bucket.id,
    });
  }
  if (revised > 0) {
    log.warn(
      "{revised} events of {bucket} were changed or deleted in ActivityWatch after they were delivered",
      {
        revised,
        bucket: bucket.id,
      },
    );
  }
  if (unencodable > 0) {
    log.warn("{unencodable} events of {bucket} hold no object: moved to the dead letters", {
      unencodable,
      bucket: bucket.id,
    });
  }
}

function reportJudged(result: RejudgeResult): void {
  const { same, changed, dropped, withheld, gone, undecided } = result;
  log.info(
    "The privacy rules changed, and what waits was judged again: {same} events as before, {changed} changed, {dropped} dropped",
    { same, changed, dropped: dropped + gone },
  );
  if (withheld > 0) {
    log.warn(
      "{withheld} events that the new rules change were sent before without an answer: they are not sent again, as the server may have them as they were",
      { withheld },
    );
  }
  if (undecided > 0) {
    log.warn(
      "{undecided} events are no longer in ActivityWatch, so that the new rules cannot judge them: moved to the dead letters",
      { undecided },
    );
  }
}

/** The cache has come to a limit that the settings have: collection pauses. */
function isFull(error: unknown): error is StoreError {
  return error instanceof StoreError && error.fault === "limit";
}

/** Damage cannot be waited out: the cache must be made anew. */
function isDamage(error: unknown): boolean {
  return error instanceof StoreError && error.fault === "corrupt";
}

function describe(error: unknown): string {
  if (error instanceof StoreError) {
    return error.hint === undefined ? error.message : `${error.message}. ${error.hint}`;
  }
  if (error instanceof SourceError) return error.message;
  // Any other message may quote what it is about.
  return describeCrash(error).replaceAll("\n  ", " ");
}
