import { getLogger } from "@logtape/logtape";
import { type Agent, createAgent } from "../agent.ts";
import { createCollector } from "../collector.ts";
import type { Settings } from "../config/settings.ts";
import { createDeliverer } from "../deliverer.ts";
import type {
  Batch,
  Bucket,
  Filter,
  Page,
  Policy,
  RelatedSource,
  SendResult,
  Sink,
  Source,
} from "../event.ts";
import { ExitCode } from "../exit_codes.ts";
import { createRepeatGate } from "../log.ts";
import { observedCollector, observedDeliverer, observedSink, type Observer } from "../observer.ts";
import type { Env } from "../paths.ts";
import { takenOverFilter } from "../filters/taken_over.ts";
import type { Progress } from "../progress.ts";
import { PRESET_WORDS } from "../filters/presets.ts";
import { createRejudge } from "../rejudge.ts";
import { splayOf } from "../schedule.ts";
import { takenOver } from "../store/daemon_cache.ts";
import type { Database } from "../store/database.ts";
import { noteClock, noteDelivered, noteFailure, noteOk, readHealth, writeNotes } from "../store/health.ts";
import { createMarkKeeper } from "../store/mark.ts";
import { getMeta, setMeta } from "../store/meta.ts";
import { deadLetterCount, outboxDepth } from "../store/outbox.ts";
import { createRoom } from "../store/room.ts";
import { adoptRules } from "../store/rules.ts";
import { DAY_US, MS_US } from "../time.ts";
import { openObservers } from "./observe.ts";

const log = getLogger(["lifelog-agent", "run"]);
/** How long `--once` watches the newest events, in milliseconds: longer than any watcher takes for its next heartbeat. */
const ONCE_CONFIRM_MS = 6_000;
/** How often a drain that goes on for hours is noted, in milliseconds. */
const NOTE_ANSWER_EVERY_MS = 60_000;

/** What the agent runs on. */
export interface RunOptions {
  readonly settings: Settings;
  readonly deviceId: string;
  readonly db: Database;
  readonly source: Source & RelatedSource;
  readonly filters: readonly Filter[];
  readonly policy: Policy;
  /** Absent when no endpoint is set: collect only. */
  readonly sink?: Sink | undefined;
  /** Collect and deliver once, then end. */
  readonly once: boolean;
  /** Where collection shall begin, in microseconds since 1970. */
  readonly sinceUs?: number | undefined;
  readonly progress: Progress;
  readonly env: Env;
  /** Aborted when the agent shall end. */
  readonly signal: AbortSignal;
  /** Called when all is set up and the work begins. */
  readonly onReady?: () => void;
}

/**
 * Runs the agent until it is done or told to end.
 * @returns the exit code
 * @throws {StoreError} when the cache cannot be written at the start, or when it is found to be damaged
 */
export async function run(options: RunOptions): Promise<ExitCode> {
  const { settings, db, sink, once, progress, signal } = options;
  if (sink === undefined) {
    log.warn(
      "No endpoint is set, so nothing is delivered: events are collected and kept. Set {setting} to deliver them",
      { setting: "CENTRAL_SERVER_ENDPOINT" },
    );
  } else if (settings.token === undefined) {
    log.warn("No token is set: the server will most likely refuse to take events. Set {setting}", {
      setting: "SERVER_AUTH_TOKEN",
    });
  }
  log.info("{line}", { line: privacyLine(settings) });
  await using observers = await openObservers(options);
  const agent = assemble(options, observers.observer);
  if (!once) {
    log.info("Collecting every {collect} s, delivering every {send} s; {waiting} events waiting", {
      collect: settings.collectionIntervalSeconds,
      send: settings.sendIntervalSeconds,
      waiting: outboxDepth(db),
    });
    options.onReady?.();
    await agent.run(signal);
    progress.end();
    log.info("Stopped; {waiting} events waiting", { waiting: outboxDepth(db) });
    return ExitCode.Ok;
  }
  options.onReady?.();
  const result = await agent.once(signal);
  progress.end();
  const dead = deadLetterCount(db);
  log.info("Done: {cached} events collected, {delivered} delivered, {waiting} waiting{dead}", {
    cached: result.cached,
    delivered: result.delivered,
    waiting: result.waiting,
    dead: dead === 0 ? "" : `, ${dead} in the dead letters`,
  });
  return result.ok ? ExitCode.Ok : ExitCode.Failed;
}

/** The pipeline: source → settle → filters → encode → cache → batch → sink. */
function assemble(options: RunOptions, observer: Observer | undefined): Agent {
  const { settings, deviceId, db, source, filters, policy, once, progress } = options;
  const sink = options.sink && observer ? observedSink(options.sink, observer) : options.sink;
  const rules = adoptRules(db, policy.fingerprint);
  const privacy = { policy, rules, related: source };
  const collectFromUs = collectFrom(db, options.sinceUs, Date.now());
  const mark = createMarkKeeper(db);
  mark.begin();
  const ensureRoom = createRoom(db, {
    maxBytes: settings.cacheMaxMb * 1024 * 1024,
    maxAgeMs: settings.cacheMaxAgeDays === 0 ? Infinity : settings.cacheMaxAgeDays * 86_400_000,
    whenFull: settings.cacheWhenFull,
    onDropped: (events, inAll) =>
      log.error(
        "The cache is full: the {events} oldest events that waited are lost, as CACHE_WHEN_FULL says ({inAll} in all)",
        { events, inAll },
      ),
  });
  const had = takenOver(db);
  const collector = createCollector({
    db,
    source,
    filters: had === undefined ? filters : [takenOverFilter(had), ...filters],
    privacy,
    collectFromUs,
    settleSeconds: settings.settleSeconds,
    ...(once ? { confirmMs: ONCE_CONFIRM_MS } : {}),
    ensureRoom,
    onPage: showCollecting(progress),
  });
  const show = showDelivering(progress, db);
  const deliverer = sink && createDeliverer({
    db,
    sink,
    rules,
    maxBatchSize: settings.maxBatchSize,
    maxBatchBytes: settings.maxBatchBytes,
    maxRetries: settings.maxSendRetries,
    retryDelayMs: settings.retryDelaySeconds * 1000,
    onResult: (batch, result) => {
      show(batch, result);
      noteAnswer(db, result, sink);
    },
    onWait: (waitMs, reason, attempt) => {
      noteWait(db, reason, waitMs);
      log.warn(
        "The LifeLog server could not take a batch ({reason}): trying again in {seconds} s ({attempt} of {max})",
        {
          reason,
          seconds: Math.ceil(waitMs / 1000),
          attempt,
          max: settings.maxSendRetries,
        },
      );
    },
  });
  return createAgent({
    db,
    source,
    collector: observer ? observedCollector(collector, observer) : collector,
    deliverer: deliverer && observer ? observedDeliverer(deliverer, observer) : deliverer,
    rejudge: createRejudge({ db, source, privacy }),
    repeats: createRepeatGate({ now: Date.now }),
    ensureRoom,
    onEmptied: mark.keep,
    collectionIntervalSeconds: settings.collectionIntervalSeconds,
    sendIntervalSeconds: settings.sendIntervalSeconds,
    splay: splayOf(deviceId),
  });
}

/** What may leave the device, said at each start: nobody should have to look it up. */
function privacyLine({ privacy: { preset, own } }: Settings): string {
  const rules = own.rules.length === 0 ? "" : ` and ${own.rules.length} rules of your own`;
  return `Privacy: preset ${preset}${rules}: ${
    PRESET_WORDS[preset]
  }. lifelog-agent preview shows what leaves`;
}

/**
 * Where collection begins: 24 hours before the first run, or where `--since` once said, whichever is earlier.
 * Kept, so that a backfill that was broken off goes on by itself.
 */
function collectFrom(db: Database, sinceUs: number | undefined, nowMs: number): number {
  const kept = getMeta(db, "collect_from_us");
  const keptUs = kept === undefined ? undefined : Number(kept);
  const fromUs = Math.min(sinceUs ?? keptUs ?? nowMs * MS_US - DAY_US, keptUs ?? Infinity);
  if (fromUs !== keptUs) db.transaction(() => setMeta(db, "collect_from_us", String(fromUs)));
  return fromUs;
}

/** Notes, for `status`, what the server answered: a drain may take hours. */
function noteAnswer(db: Database, result: SendResult, sink: Sink): void {
  const clockAheadMs = sink.clockAheadMs?.();
  try {
    if (clockAheadMs !== undefined) noteClock(db, clockAheadMs);
    if (result.kind === "delivered") {
      noteDelivered(db, Date.now());
      if (readHealth(db, "delivery").failure !== undefined) noteOk(db, "delivery", Date.now());
    }
    writeNotes(db, Date.now(), NOTE_ANSWER_EVERY_MS);
  } catch {
    // A disk that is full is told of where it holds up the events themselves.
  }
}

/** Notes, for `status`, that the server fails while a drain goes on waiting for it. */
function noteWait(db: Database, reason: string, waitMs: number): void {
  try {
    noteFailure(db, "delivery", { reason }, Date.now(), Date.now() + waitMs);
    writeNotes(db, Date.now());
  } catch {
    // A disk that is full is told of where it holds up the events themselves.
  }
}

/** Shows how far a pass over a bucket is, by the time that it reads: how many events stand in it nobody knows. */
function showCollecting(progress: Progress): (bucket: Bucket, page: Page, tally: { cached: number }) => void {
  /** Where the events of a bucket begin; the years before the first are leapt over. */
  let began: { id: string; fromUs: number } | undefined;
  return (bucket, page, { cached }) => {
    if (began?.id !== bucket.id || page.fromUs < began.fromUs) began = undefined;
    if (began === undefined && page.events.length > 0) began = { id: bucket.id, fromUs: page.fromUs };
    const task = `Collecting ${bucket.id.replace(/^aw-watcher-/, "")}`;
    const noun = "events";
    if (began === undefined) return progress.report({ task, done: cached, noun });
    progress.report({
      task,
      done: page.toUs - began.fromUs,
      total: Date.now() * MS_US - began.fromUs,
      count: cached,
      noun,
    });
  };
}

/** Shows how far a drain is. */
function showDelivering(progress: Progress, db: Database): (batch: Batch, result: SendResult) => void {
  let done = 0;
  return (batch, result) => {
    const waiting = outboxDepth(db);
    if (result.kind === "delivered") done += batch.length;
    // The batch that was taken is still among those that wait.
    const left = result.kind === "delivered" ? waiting - batch.length : waiting;
    progress.report({ task: "Delivering", done, total: done + left, noun: "events" });
    if (left <= 0) done = 0;
  };
}
