import { getLogger } from "@logtape/logtape";
import metadata from "../../deno.json" with { type: "json" };
import type { Filter, Policy, Source } from "../event.ts";
import { createRepeatGate } from "../log.ts";
import type { Metrics } from "../metrics.ts";
import type { Look } from "../status/look.ts";
import type { Database } from "../store/database.ts";
import { deadLetterCount } from "../store/outbox.ts";
import { addSample, samplesSince } from "../store/samples.ts";
import { PAGE_FILES } from "./page_files.ts";
import { startWebServer } from "./server.ts";
import { createTimeline, localDay } from "./timeline.ts";
import { readOrCreateWebToken, webTokenFile } from "./token.ts";

const SAMPLE_MS = 60_000;
const HISTORY_MS = 48 * 3_600_000;

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
  readonly look: () => Look;
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
      ...look(),
      version: metadata.version,
      deviceId,
      today: localDay(now()),
      delivers,
      deadLetters: { total: deadLetterCount(db), shown: [] },
    }),
    history() {
      const samples = samplesSince(db, now() - HISTORY_MS);
      return {
        atMs: samples.map(({ atMs }) => atMs),
        waiting: samples.map(({ waiting }) => waiting),
        dead: samples.map(({ dead }) => dead),
        lagMs: samples.map(({ lagMs }) => lagMs),
      };
    },
    timeline,
    retry: () => 0,
  });

  function sample(): void {
    try {
      const { report } = look();
      const lags = report.buckets.flatMap(({ lagMs }) => lagMs ?? []);
      addSample(db, {
        atMs: report.atMs,
        waiting: report.outbox.events,
        dead: report.deadLetters,
        lagMs: lags.length === 0 ? null : Math.max(...lags),
      });
    } catch (error) {
      contain(error);
    }
  }
  sample();
  const timer = setInterval(sample, SAMPLE_MS);
  return {
    port: server.port,
    async [Symbol.asyncDispose]() {
      clearInterval(timer);
      await server[Symbol.asyncDispose]();
    },
  };
}
