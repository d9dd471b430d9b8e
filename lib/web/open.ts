import { getLogger } from "@logtape/logtape";
import metadata from "../../deno.json" with { type: "json" };
import type { Filter, Policy, Source } from "../event.ts";
import { createRepeatGate } from "../log.ts";
import type { Metrics } from "../metrics.ts";
import type { Look } from "../status/look.ts";
import type { Database } from "../store/database.ts";
import { deadLetterCount } from "../store/outbox.ts";
import { newestDeadLetters, retryableSeqs, retryDeadLetters } from "../store/dead_letters.ts";
import { addSamples, type Sample, samplesSince } from "../store/samples.ts";
import { PAGE_FILES } from "./page_files.ts";
import { startWebServer } from "./server.ts";
import { MS_US, sleep } from "../time.ts";
import { createTimeline, localDay } from "./timeline.ts";
import { readOrCreateWebToken, webTokenFile } from "./token.ts";

const SAMPLE_MS = 60_000;
/** Samples that are written together: a write a minute would keep the disk awake of a device at rest. */
const SAMPLES_AT_ONCE = 15;
const HISTORY_MS = 48 * 3_600_000;

/** Dead letters that the page lists, the newest. */
const SHOWN_DEAD_LETTERS = 50;
const RETRY_AT_ONCE = 500;

const log = getLogger(["lifelog-agent", "web"]);

/** What {@link openWeb} needs. */
export interface WebOptions {
  /** 0 for any port that is free. */
  readonly port: number;
  readonly db: Database;
  readonly source: Source;
  readonly filters: readonly Filter[];
  readonly policy: Policy;
  readonly deviceId: string;
  /** Whether an endpoint is set. */
  readonly delivers: boolean;
  readonly look: (maxAgeMs?: number) => Look;
  readonly metrics: Metrics;
  readonly now?: () => number;
}

/** Health, metrics and dashboard, at work. */
export interface Web extends AsyncDisposable {
  readonly port: number;
}

/**
 * Starts to serve health, metrics and dashboard, and to keep a sample a minute of how much waits. What goes wrong
 * in it is logged and goes no further: collecting and delivering do not depend on it.
 * @throws {Error} when the port cannot be had or the token cannot be kept
 */
export function openWeb(options: WebOptions): Web {
  const { port, db, source, filters, policy, deviceId, delivers, look, metrics, now = Date.now } = options;
  const token = readOrCreateWebToken(webTokenFile(db.path));
  const repeats = createRepeatGate({ now });
  /** The latest samples. */
  let unwritten: Sample[] = [];
  const timeline = createTimeline({ db, source, filters, policy, now });
  function contain(error: unknown): void {
    const line = repeats.failed(
      "web",
      `The dashboard failed: ${error instanceof Error ? error.message : error}`,
    );
    if (line !== undefined) log.error("{line}", { line });
  }

  const server = startWebServer({
    port,
    token,
    onError: contain,
    files: PAGE_FILES,
    level: () => look().verdict.level,
    metrics: metrics.render,
    state: () => ({
      // Anew, so that the page shows at once what it has just done.
      ...look(0),
      version: metadata.version,
      deviceId,
      today: localDay(now()),
      delivers,
      deadLetters: {
        total: deadLetterCount(db),
        shown: newestDeadLetters(db, SHOWN_DEAD_LETTERS).map((letter) => ({
          seq: letter.seq,
          bucket: letter.bucketName,
          startMs: letter.startUs / MS_US,
          status: letter.status,
          reason: letter.reason,
          deadAtMs: letter.deadAtMs,
        })),
      },
    }),
    history() {
      const samples = [...samplesSince(db, now() - HISTORY_MS), ...unwritten];
      return {
        atMs: samples.map(({ atMs }) => atMs),
        waiting: samples.map(({ waiting }) => waiting),
        dead: samples.map(({ dead }) => dead),
        lagMs: samples.map(({ lagMs }) => lagMs),
      };
    },
    timeline: timeline.look,
    async retry(seqs) {
      const put = seqs === "all" ? await retryAll(db) : retryDeadLetters(db, seqs);
      log.info("{put} dead letters were put back in the queue", { put });
      return put;
    },
  });

  function sample(): void {
    try {
      timeline.tidy();
      const { report } = look();
      const lags = report.buckets.flatMap(({ lagMs }) => lagMs ?? []);
      unwritten.push({
        atMs: report.atMs,
        waiting: report.outbox.events,
        dead: report.deadLetters,
        lagMs: lags.length === 0 ? null : Math.max(...lags),
      });
      if (unwritten.length >= SAMPLES_AT_ONCE) writeSamples();
    } catch (error) {
      contain(error);
    }
  }

  /** A disk that is full stays so for long: what it does not take is not kept for it. */
  function writeSamples(): void {
    const samples = unwritten;
    unwritten = [];
    addSamples(db, samples);
  }

  sample();
  const timer = setInterval(sample, SAMPLE_MS);
  return {
    port: server.port,
    async [Symbol.asyncDispose]() {
      clearInterval(timer);
      try {
        writeSamples();
      } catch (error) {
        contain(error);
      }
      await server[Symbol.asyncDispose]();
    },
  };
}

/** Some at a time, so that the loops go on beside a great many. */
async function retryAll(db: Database): Promise<number> {
  let put = 0;
  for (;;) {
    const seqs = retryableSeqs(db, RETRY_AT_ONCE);
    const back = retryDeadLetters(db, seqs);
    if (back === 0) return put;
    put += back;
    // A timer of 0 ms would be run before the others that are due.
    await sleep(1);
  }
}
