import { type Failure, NOTE_EVERY_MS } from "../store/health.ts";
import type { BucketReport, Report } from "./report.ts";
import { formatBytes, formatCount, formatSpan, formatTime, formatWithin } from "./words.ts";

const MINUTE_MS = 60_000;
const HOUR_MS = 60 * MINUTE_MS;
const DAY_MS = 24 * HOUR_MS;
/** An agent that was stopped may be on its way back: no longer than this. */
const ABSENCE_MS = 15 * MINUTE_MS;
/** How long ago a run with `--once` may be: once a day is often enough for some. */
const BETWEEN_RUNS_MS = 26 * HOUR_MS;
/** A fault that lasts longer than this does not go away by itself. */
const PASSING_MS = 15 * MINUTE_MS;
/** A server may be away over a night; what waits is kept. */
const SERVER_AWAY_MS = DAY_MS;
/** A watcher sends a heartbeat every few seconds: silent for so long while another goes on, it has ended. */
const SILENCE_MS = 30 * MINUTE_MS;
/** Below this much free space the cache will soon have no room to grow; below the other there is none to speak of. */
export const LOW_BYTES = 500e6;
export const NO_BYTES = 50e6;
/** For how long what happened to the cache is told of. */
const RECENT_MS = 7 * DAY_MS;
/** The most that this device's clock may differ from the server's. */
export const MAX_SKEW_MS = 2 * MINUTE_MS;

/** How well it goes: `well` needs nobody, `degraded` should be looked at, `failing` loses time until it is. */
export type Level = "well" | "degraded" | "failing";

/** One thing that is not as it should be. */
export interface Finding {
  /** A fixed name, for programs. */
  readonly code: string;
  readonly level: "degraded" | "failing";
  readonly message: string;
  /** What to do about it. */
  readonly hint?: string | undefined;
}

/** What it comes to. */
export interface Verdict {
  readonly level: Level;
  /** One line that says it. */
  readonly line: string;
  /** The worst first. */
  readonly findings: readonly Finding[];
}

/** What a report is judged by. */
export interface VerdictOptions {
  /** Whether an endpoint is set. */
  readonly delivers: boolean;
  readonly collectionIntervalSeconds: number;
  readonly sendIntervalSeconds: number;
}

/** Judges a report: the level, one line, and everything that is not as it should be. Pure. */
export function judge(report: Report, options: VerdictOptions): Verdict {
  const findings = [
    ...judgeAgent(report),
    ...judgeCache(report),
    ...judgeCollecting(report, options),
    ...judgeDelivering(report, options),
  ];
  // A stable sort: within a level they stay in the order of the pipeline.
  findings.sort((a, b) => rank(b.level) - rank(a.level));
  const level = findings[0]?.level ?? "well";
  return { level, line: lineOf(report, findings), findings };
}

function rank(level: Level): number {
  return level === "failing" ? 2 : level === "degraded" ? 1 : 0;
}

function lineOf(report: Report, findings: readonly Finding[]): string {
  const [worst, ...others] = findings;
  if (worst !== undefined) {
    return others.length === 0 ? worst.message : `${worst.message} (and ${others.length} more)`;
  }
  const { okAtMs } = report.collecting;
  const read = okAtMs === undefined ? "" : `, read ${readAgo(report.atMs - okAtMs, report)}`;
  const { events } = report.outbox;
  return `All well: recorded and delivered${read}${
    events === 0 ? "" : `, ${formatCount(events, "event")} waiting`
  }`;
}

function* judgeAgent(report: Report): Iterable<Finding> {
  const { running, agent, atMs, collecting, cache } = report;
  if (!cache.exists) {
    yield {
      code: "never-run",
      level: "failing",
      message: "The agent has never run with this cache",
      hint: "Start it: lifelog-agent, or set LOCAL_CACHE_DB_PATH to the cache that it uses",
    };
  } else if (!running && (cache.problem === undefined || agent !== undefined)) {
    const lastMs = agent?.stoppedMs ?? collecting.okAtMs;
    const goneMs = lastMs === undefined ? Infinity : atMs - lastMs;
    // Somebody starts it now and then, to run once: between two runs all is well.
    if (agent?.once === true && goneMs < BETWEEN_RUNS_MS) return;
    yield {
      code: "not-running",
      level: goneMs < ABSENCE_MS + (agent?.stoppedMs === undefined ? NOTE_EVERY_MS : 0)
        ? "degraded"
        : "failing",
      message: `The agent does not run${
        agent === undefined
          ? ""
          : agent.stoppedMs !== undefined
          ? `: stopped ${ago(goneMs)}`
          : ": it was killed or the device went off"
      }`,
      hint: "Start it: lifelog-agent; ActivityWatch keeps what it misses meanwhile",
    };
  }
}

function* judgeCache({ cache, atMs }: Report): Iterable<Finding> {
  const { problem, loss, freeBytes } = cache;
  if (problem !== undefined) yield { code: "cache-unreadable", level: "failing", ...problem };
  if (freeBytes !== undefined && freeBytes < LOW_BYTES) {
    yield {
      code: "disk-low",
      level: freeBytes < NO_BYTES ? "failing" : "degraded",
      message: `Only ${formatBytes(freeBytes)} are free on the disk of the cache`,
      hint: "Free some space: without it nothing can be cached",
    };
  }
  if (loss !== undefined && atMs - loss.atMs < RECENT_MS) {
    const again = formatTime(loss.againFromUs / 1000, atMs);
    yield {
      code: "cache-lost",
      level: "degraded",
      message: `The cache was ${loss.copy === undefined ? "gone" : "damaged"} ${
        ago(atMs - loss.atMs)
      } and made anew`,
      hint: `All since ${again} is read again and ${
        formatCount(loss.salvaged, "event")
      } saved: check the disk`,
    };
  }
}

function* judgeCollecting(report: Report, options: VerdictOptions): Iterable<Finding> {
  const { running, atMs, aheadMs, collecting, buckets, cache, agent } = report;
  const { failure, okAtMs } = collecting;
  if (!cache.exists || cache.problem !== undefined) return;
  if (failure !== undefined) {
    const lastsMs = (running ? atMs : failure.atMs) - failure.sinceMs;
    yield {
      code: "collecting-fails",
      level: lastsMs > PASSING_MS ? "failing" : "degraded",
      message: `${failure.reason}, ${lasting(failure, report)}`,
      hint: failure.hint ?? "Check that ActivityWatch and its watchers run: lifelog-agent doctor",
    };
  } else if (running) {
    const sinceMs = Math.max(okAtMs ?? 0, agent?.startedMs ?? 0);
    const quietMs = atMs - sinceMs;
    const expectedMs = 5 * MINUTE_MS + 3 * options.collectionIntervalSeconds * 1000 + aheadMs;
    if (quietMs > expectedMs && !backfills(report)) {
      yield {
        code: "collecting-stalled",
        level: "failing",
        message: `Nothing was read from ActivityWatch for ${formatSpan(quietMs - aheadMs)}`,
        hint: "Look into the agent's log, and start it anew",
      };
    }
  }
  yield* judgeWatchers(buckets, running && failure === undefined);
}

/** A long backfill is one pass that takes its time. */
function backfills({ buckets }: Report): boolean {
  return buckets.length === 0 || buckets.some(({ complete }) => !complete);
}

/** Looks for a watcher that has ended: the afk and the window watcher both send heartbeats as long as they run. */
function* judgeWatchers(buckets: readonly BucketReport[], current: boolean): Iterable<Finding> {
  if (!current) return;
  const steady = buckets.filter(({ type, readAtMs, newestEndMs }) =>
    (type === "currentwindow" || type === "afkstatus") && readAtMs !== undefined && newestEndMs !== undefined
  );
  const quiet = (type: string) =>
    Math.min(...steady.filter((bucket) => bucket.type === type).map((b) => b.readAtMs! - b.newestEndMs!));
  const silent = ([["window", quiet("currentwindow")], ["afk", quiet("afkstatus")]] as const)
    .filter(([, quietMs]) => Number.isFinite(quietMs) && quietMs > SILENCE_MS);
  const [first, second] = silent;
  if (first === undefined) return;
  const hint = (name: string) => `Start ${name} again, in ActivityWatch's menu under Modules`;
  yield second === undefined
    ? {
      code: "watcher-silent",
      level: "degraded",
      message: `The ${first[0]} watcher has recorded nothing for ${formatSpan(first[1])}`,
      hint: hint(`aw-watcher-${first[0]}`),
    }
    : {
      code: "watchers-silent",
      level: "degraded",
      message: `ActivityWatch's watchers have recorded nothing for ${
        formatSpan(Math.min(first[1], second[1]))
      }`,
      hint: hint("them"),
    };
}

function* judgeDelivering(report: Report, options: VerdictOptions): Iterable<Finding> {
  const { running, delivering, outbox, atMs, deadLetters, cache } = report;
  if (!options.delivers) {
    yield {
      code: "no-endpoint",
      level: "degraded",
      message: "Nothing is delivered, as no endpoint is set",
      hint: "Set CENTRAL_SERVER_ENDPOINT and SERVER_AUTH_TOKEN",
    };
  }
  if (!cache.exists || cache.problem !== undefined) return;
  const { failure, clockAheadMs } = delivering;
  const waitsMs = outbox.oldestMs === undefined ? 0 : atMs - outbox.oldestMs;
  if (options.delivers && failure !== undefined && outbox.events > 0) {
    const lastsMs = (running ? atMs : failure.atMs) - failure.sinceMs;
    yield {
      code: failure.hint === undefined ? "server-unavailable" : "server-refuses",
      // With a hint somebody has to mend something: it does not go away by itself.
      level: failure.hint !== undefined || lastsMs > SERVER_AWAY_MS ? "failing" : "degraded",
      message: `The LifeLog server does not take events: ${failure.reason}, ${lasting(failure, report)}`,
      hint: failure.hint ?? "They are kept and sent when it is back: lifelog-agent doctor",
    };
  } else if (
    options.delivers && running && waitsMs > HOUR_MS + 3 * options.sendIntervalSeconds * 1000
  ) {
    yield {
      code: "backlog",
      level: "degraded",
      message: `${formatCount(outbox.events, "event")} wait, the oldest for ${formatSpan(waitsMs)} (${
        formatBytes(outbox.bytes)
      })`,
      hint: "It goes down by itself while the server takes them; the log says how fast",
    };
  }
  if (report.dropped > 0 && outbox.events > 0) {
    yield {
      code: "events-dropped",
      level: "failing",
      message: `${formatCount(report.dropped, "event")} were dropped for want of room in the cache`,
      hint: "Mend the delivery, or raise CACHE_MAX_MB and CACHE_MAX_AGE_DAYS",
    };
  }
  if (clockAheadMs !== undefined && Math.abs(clockAheadMs) > MAX_SKEW_MS) {
    yield {
      code: "clock-skew",
      level: "degraded",
      message: `This device's clock is ${formatSpan(Math.abs(clockAheadMs))} ${
        clockAheadMs > 0 ? "behind" : "ahead of"
      } the server's`,
      hint: "Set this device's clock: events carry its times",
    };
  }
  if (deadLetters > 0) {
    yield {
      code: "dead-letters",
      level: "degraded",
      message: `The server did not accept ${formatCount(deadLetters, "event")}: kept in the dead letters`,
      hint: "See why: lifelog-agent dead-letters list",
    };
  }
}

/** For how long a failure has gone on; where nobody tries any more, when it was seen. */
function lasting({ sinceMs, atMs: lastMs }: Failure, { running, atMs }: Report): string {
  if (!running) return `when last tried, ${ago(atMs - lastMs)}`;
  return atMs - sinceMs < 1000 ? "just now" : `for ${formatSpan(atMs - sinceMs)}`;
}

function ago(ms: number): string {
  return `${formatSpan(ms)} ago`;
}

/** How long ago the running agent last read, as far as a report knows that: it notes at once that it cannot. */
export function readAgo(ms: number, { aheadMs, collecting }: Report): string {
  return aheadMs === 0 || collecting.failure !== undefined ? ago(ms) : `within the last ${formatWithin(ms)}`;
}
