import { SourceError } from "../errors.ts";
import type { Bucket, Source } from "../event.ts";
import type { BucketReport } from "../status/report.ts";
import { formatSpan } from "../status/words.ts";
import { SECOND_US } from "../time.ts";
import { type Check, fail, ok, warn } from "./check.ts";

/** A watcher sends heartbeats every few seconds, and its client commits them within 10 s or so. */
const SILENCE_MS = 5 * 60_000;
const WATCHERS = { currentwindow: "aw-watcher-window", afkstatus: "aw-watcher-afk" } as const;

/** What {@link checkActivityWatch} needs. */
export interface ActivityWatchOptions {
  readonly source: Source;
  readonly url: URL;
  /** How the buckets stand in the cache. */
  readonly collected: readonly BucketReport[];
  /** An agent runs and had its turn, so that what is missing is a lag. */
  readonly collecting: boolean;
  /** How long an event may take from its end into the cache, in milliseconds. */
  readonly graceMs: number;
  readonly nowMs: number;
  readonly signal: AbortSignal;
}

/** Looks whether ActivityWatch answers, which server it is, whether its watchers live, and what is not yet collected. */
export async function* checkActivityWatch(options: ActivityWatchOptions): AsyncIterable<Check> {
  const { source, url, signal } = options;
  let buckets: Bucket[];
  try {
    const server = await source.describe?.({ signal });
    buckets = await source.buckets({ signal });
    yield ok(
      "activitywatch",
      server === undefined
        ? `ActivityWatch answers at ${url.origin}`
        : `ActivityWatch answers at ${url.origin}: ${server.name} ${server.version} on ${server.hostname}`,
    );
  } catch (error) {
    if (!(error instanceof SourceError)) throw error;
    yield fail(
      "activitywatch",
      error.message,
      error.status === 401 || error.status === 403
        ? "Set AW_API_KEY to the API key in aw-server-rust's config.toml"
        : "Start ActivityWatch, or set AW_URL to where it is",
    );
    return;
  }
  for (const type of ["currentwindow", "afkstatus"] as const) {
    if (buckets.some((bucket) => bucket.type === type)) continue;
    yield warn(
      "buckets",
      `There is no bucket of type ${type}`,
      `Start ${WATCHERS[type]}; if this device was renamed, set AW_HOSTNAME to the name in its bucket ids`,
    );
  }
  for (const bucket of buckets) yield* checkBucket(bucket, options);
}

async function* checkBucket(bucket: Bucket, options: ActivityWatchOptions): AsyncIterable<Check> {
  const { source, collected, collecting, graceMs, nowMs, signal } = options;
  let end: { startMs: number; endMs: number } | undefined;
  try {
    const startUs = await source.newestStartUs(bucket, { signal });
    if (startUs === undefined) {
      yield warn("watcher", `${bucket.id} is empty`, "It fills once its watcher has something to record");
      return;
    }
    end = { startMs: startUs / 1000, endMs: await endOf(source, bucket, startUs, signal) };
  } catch (error) {
    if (!(error instanceof SourceError)) throw error;
    yield fail("watcher", error.message, "Look into ActivityWatch's own log");
    return;
  }
  const quietMs = nowMs - end.endMs;
  const watcher = bucket.type === "web.tab.current" ? undefined : WATCHERS[bucket.type];
  if (watcher !== undefined && quietMs > SILENCE_MS) {
    yield warn(
      "watcher",
      `${bucket.id} has recorded nothing for ${formatSpan(quietMs)}`,
      `Start ${watcher} again, in ActivityWatch's menu under Modules`,
    );
  } else {
    yield ok(
      "watcher",
      `${bucket.id} recorded ${quietMs < 1000 ? "just now" : `${formatSpan(quietMs)} ago`}`,
    );
  }
  const known = collected.find(({ id }) => id === bucket.id);
  if (known !== undefined && !known.complete) {
    yield warn("coverage", `${bucket.id} is still being filled`, "Let the agent run: it goes on by itself");
  }
  if (!collecting) return;
  // What began after the last event that was taken, and ended long enough ago to have been taken.
  const behind = end.startMs > (known?.coveredToMs ?? -Infinity) + 1 && quietMs > graceMs;
  if (behind && known?.complete !== false) {
    yield fail(
      "coverage",
      `${bucket.id} has events that ended ${formatSpan(quietMs)} ago and were not collected`,
      "Look into the agent's log for the reason",
    );
  }
}

/** When the newest event ends; it is read whole, as the agent reads it. */
async function endOf(source: Source, bucket: Bucket, startUs: number, signal: AbortSignal): Promise<number> {
  let endUs = startUs;
  for await (const page of source.pages(bucket, startUs, startUs + SECOND_US, { signal })) {
    for (const event of page.events) {
      endUs = Math.max(endUs, event.startUs + event.durationSeconds * SECOND_US);
    }
  }
  return endUs / 1000;
}
