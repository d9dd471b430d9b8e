import type { BucketReport, Report } from "./report.ts";
import { type Level, readAgo, type Verdict } from "./verdict.ts";
import {
  type Colour,
  formatBytes,
  formatCount,
  formatNumber,
  formatSpan,
  formatTime,
  formatWithin,
  paint,
  table,
  wrap,
} from "./words.ts";

/** What {@link renderStatus} needs beside the report and the verdict. */
export interface RenderOptions {
  /** Where ActivityWatch is, and where events go, if anywhere. */
  readonly activityWatch: string;
  readonly endpoint?: string | undefined;
  /** Mark the level with a colour. */
  readonly colors: boolean;
}

/** The widest that a bucket's id is shown. */
const MAX_ID = 27;
const COLOURS: Record<Level, Colour> = { well: "green", degraded: "yellow", failing: "red" };

/** Writes a report for a person, in lines of less than 80 columns but for paths and the server's own words. */
export function renderStatus(report: Report, verdict: Verdict, options: RenderOptions): string {
  const { level, findings } = verdict;
  const said = (level: Level, text: string) =>
    wrap(`${level.toUpperCase()}  ${text}`, 4)
      .replace(level.toUpperCase(), (word) => paint(word, COLOURS[level], options.colors));
  const head = findings.length === 0
    ? [said(level, verdict.line)]
    : findings.flatMap(({ level, message, hint }) => [
      said(level, message),
      ...(hint === undefined ? [] : [`    ${wrap(hint, 4, 4)}`]),
    ]);
  if (!report.cache.exists) return [...head, "", `Cache  ${report.cache.path}: there is none`].join("\n");
  const blocks = [head.join("\n"), table(facts(report, options))];
  if (report.buckets.length > 0) {
    blocks.push(table([headings(report), ...report.buckets.map((b) => row(b, report))]));
  }
  return blocks.join("\n\n");
}

function facts(report: Report, options: RenderOptions): string[][] {
  const {
    atMs,
    aheadMs,
    agent,
    running,
    collecting,
    delivering,
    outbox,
    cache,
    revisions,
    deadLetters,
    dropped,
  } = report;
  const when = (ms: number | undefined, none: string) =>
    ms === undefined ? none : `${formatTime(ms, atMs)} (${formatSpan(atMs - ms)} ago)`;
  const version = agent === undefined ? "" : `, version ${agent.version}`;
  const rows = [
    [
      "Agent",
      running
        ? `runs${
          agent === undefined
            ? ""
            : ` since ${formatTime(agent.startedMs, atMs)}, process ${agent.pid}${version}`
        }`
        : agent?.stoppedMs === undefined
        ? "does not run"
        : `${agent.once === true ? "ran once, ended" : "stopped"} ${when(agent.stoppedMs, "")}${version}`,
    ],
  ];
  if (cache.problem !== undefined) return [...rows, ["Cache", cache.path]];
  rows.push(
    [
      "Last read",
      `${
        collecting.okAtMs === undefined || aheadMs === 0 || collecting.failure !== undefined
          ? when(collecting.okAtMs, "never")
          : readAgo(atMs - collecting.okAtMs, report)
      } from ${options.activityWatch}`,
    ],
    [
      "Delivered",
      options.endpoint === undefined
        ? "nowhere: no endpoint is set"
        : `${when(delivering.deliveredAtMs, "nothing yet")} to ${options.endpoint}`,
    ],
  );
  const { failure, nextTryAtMs } = delivering;
  if (failure !== undefined && options.endpoint !== undefined) {
    rows.push(["", `${failure.reason}, ${times(failure.times)} since ${formatTime(failure.sinceMs, atMs)}`]);
    if (running && nextTryAtMs !== undefined && nextTryAtMs > atMs) {
      rows.push(["Next try", `${formatTime(nextTryAtMs, atMs)} (in ${formatSpan(nextTryAtMs - atMs)})`]);
    }
  }
  const { events, bytes, oldestMs } = outbox;
  rows.push(
    [
      "Waiting",
      events === 0
        ? "nothing"
        : `${formatCount(events, "event")} (${formatBytes(bytes)})${
          oldestMs === undefined ? "" : `, the oldest for ${formatSpan(atMs - oldestMs)}`
        }`,
    ],
    ["Dead letters", deadLetters === 0 ? "none" : formatNumber(deadLetters)],
    ["Revisions", revisions === 0 ? "none" : `${formatNumber(revisions)} (changed after delivery)`],
    ...(dropped === 0 ? [] : [["Dropped", `${formatCount(dropped, "event")}, for want of room`]]),
    ["Cache", `${formatBytes(cache.bytes)}, ${cache.path}`],
  );
  return rows;
}

function headings({ aheadMs }: Report): string[] {
  return ["Bucket", "Last event", aheadMs === 0 ? "Read ago" : "Read within", "Collected from", "Waiting"];
}

function row(bucket: BucketReport, { atMs, aheadMs }: Report): string[] {
  const { id, newestEndMs, lagMs, coveredFromMs, complete, waiting } = bucket;
  return [
    id.length <= MAX_ID ? id : `${id.slice(0, MAX_ID - 1)}…`,
    newestEndMs === undefined ? "none" : formatTime(newestEndMs, atMs).slice(0, 10),
    lagMs === undefined ? "never" : aheadMs === 0 ? formatSpan(lagMs) : formatWithin(lagMs),
    coveredFromMs === undefined
      ? "nothing yet"
      : complete
      ? formatTime(coveredFromMs, atMs).slice(0, 10)
      : "still filling",
    formatNumber(waiting),
  ];
}

function times(number: number): string {
  return number === 1 ? "once" : `${formatNumber(number)} times`;
}

/**
 * A report for programs. Its names and their meanings only ever grow: `schema_version` tells of a change that is not
 * so. Times are ISO 8601 in UTC, spans are seconds; what is not known is `null`, and no name is left out.
 */
export function statusJson(report: Report, verdict: Verdict, options: { delivers: boolean }) {
  const { atMs, agent, running, collecting, delivering, outbox, cache } = report;
  return {
    schema_version: 1,
    at: iso(atMs),
    verdict: {
      level: verdict.level,
      line: verdict.line,
      findings: verdict.findings.map(({ code, level, message, hint = null }) => ({
        code,
        level,
        message,
        hint,
      })),
    },
    agent: {
      running,
      pid: agent?.pid ?? null,
      version: agent?.version ?? null,
      once: agent?.once ?? null,
      started_at: iso(agent?.startedMs),
      stopped_at: iso(agent?.stoppedMs),
    },
    collecting: {
      from: iso(collecting.fromMs),
      ok_at: iso(collecting.okAtMs),
      failure: failureJson(collecting.failure),
    },
    delivering: {
      endpoint_set: options.delivers,
      ok_at: iso(delivering.okAtMs),
      delivered_at: iso(delivering.deliveredAtMs),
      failure: failureJson(delivering.failure),
      next_try_at: iso(delivering.nextTryAtMs),
      breaker_open: running && delivering.failure !== undefined && (delivering.nextTryAtMs ?? 0) > atMs,
      server_clock_ahead_seconds: seconds(delivering.clockAheadMs),
    },
    outbox: {
      events: outbox.events,
      bytes: outbox.bytes,
      oldest_at: iso(outbox.oldestMs),
      oldest_age_seconds: seconds(outbox.oldestMs === undefined ? undefined : atMs - outbox.oldestMs),
    },
    dead_letters: report.deadLetters,
    revisions: report.revisions,
    dropped: report.dropped,
    buckets: report.buckets.map((bucket) => ({
      id: bucket.id,
      type: bucket.type,
      last_event_start: iso(bucket.newestStartMs),
      last_event_end: iso(bucket.newestEndMs),
      read_at: iso(bucket.readAtMs),
      lag_seconds: seconds(bucket.lagMs),
      covered_from: iso(bucket.coveredFromMs),
      covered_to: iso(bucket.coveredToMs),
      complete: bucket.complete,
      waiting: bucket.waiting,
      waiting_bytes: bucket.waitingBytes,
      revisions: bucket.revisions,
    })),
    cache: {
      path: cache.path,
      exists: cache.exists,
      bytes: cache.bytes,
      free_bytes: cache.freeBytes ?? null,
      problem: cache.problem?.message ?? null,
      quarantined: cache.quarantined,
      loss: cache.loss === undefined ? null : {
        at: iso(cache.loss.atMs),
        finding: cache.loss.finding,
        copy: cache.loss.copy ?? null,
        collected_again_from: iso(Math.floor(cache.loss.againFromUs / 1000)),
        salvaged: cache.loss.salvaged,
      },
    },
  };
}

function failureJson(failure: Report["delivering"]["failure"]) {
  if (failure === undefined) return null;
  const { reason, status = null, hint = null, sinceMs, atMs, times } = failure;
  return { reason, status, hint, since: iso(sinceMs), last_at: iso(atMs), times };
}

function iso(ms: number | undefined): string | null {
  return ms === undefined ? null : new Date(ms).toISOString();
}

function seconds(ms: number | undefined): number | null {
  return ms === undefined ? null : ms / 1000;
}
