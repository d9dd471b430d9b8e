/** The real agent on the demo's clock, with a disk that outlives it. */

import { join } from "node:path";
import { createAgent } from "../../lib/agent.ts";
import { createCollector } from "../../lib/collector.ts";
import { createDeliverer } from "../../lib/deliverer.ts";
import type { Batch, SendResult } from "../../lib/event.ts";
import { minDuration } from "../../lib/filters/min_duration.ts";
import { createRepeatGate } from "../../lib/log.ts";
import type { startSchedule } from "../../lib/schedule.ts";
import { lifelogSink } from "../../lib/sinks/lifelog.ts";
import { activityWatchSource } from "../../lib/sources/activitywatch.ts";
import { openDatabase } from "../../lib/store/database.ts";
import { outboxDepth } from "../../lib/store/outbox.ts";
import type { SimClock } from "./sim_clock.ts";

/** What the agent is started with. */
export interface RunningAgentOptions {
  readonly clock: SimClock;
  readonly activityWatch: URL;
  readonly endpoint: URL;
  readonly token: string;
  /** Where its cache is. */
  readonly folder: string;
  readonly collectFromUs: number;
  readonly minDurationSeconds: number;
  readonly onResult: (batch: Batch, result: SendResult) => void;
}

/** One life of the agent. */
export interface RunningAgent {
  /** How many events wait to be delivered. */
  depth(): number;
  /**
   * Kills it when it next reads events of the bucket: `newFolder` gets the disk as it is at that moment, and what the
   * agent does after that reaches nothing. Settles when it has gone.
   */
  killAtRead(bucketId: string, newFolder: string): Promise<void>;
  /** Ends it in good order. */
  stop(): Promise<void>;
}

/** Starts the agent as the program does. */
export function startAgent(options: RunningAgentOptions): RunningAgent {
  const { clock, folder, onResult } = options;
  const { now, sleep } = clock;
  const stop = new AbortController();
  const { signal } = stop;
  const path = join(folder, "cache.sqlite");
  const db = openDatabase(path);
  let kill: { readonly bucketId: string; readonly folder: string } | undefined;

  const fetchOrDie: typeof fetch = (input, init) => {
    if (kill !== undefined && String(input).includes(`${kill.bucketId}/events`)) {
      // Between two transactions the files are what a killed process leaves: the database with its log.
      for (const suffix of ["", "-wal"]) {
        Deno.copyFileSync(path + suffix, join(kill.folder, "cache.sqlite" + suffix));
      }
      stop.abort();
    }
    signal.throwIfAborted();
    return fetch(input, init);
  };
  const source = activityWatchSource({ url: options.activityWatch, fetch: fetchOrDie });
  const collector = createCollector({
    db,
    source,
    filters: [minDuration(options.minDurationSeconds)],
    collectFromUs: options.collectFromUs,
    now,
    monotonicMs: now,
  });
  const sink = lifelogSink({ endpoint: options.endpoint, token: options.token, deviceId: "laptop", now });
  const deliverer = createDeliverer({ db, sink, now, monotonicMs: now, sleep, onResult });

  let starting = true;
  const started = () => {
    if (starting) clock.end();
    starting = false;
  };
  // In place of Deno.cron, whose minutes are real ones.
  const schedule: typeof startSchedule = ({ name, intervalSeconds, run, signal }) => {
    const loop = clock.work(async () => {
      while (!signal.aborted) {
        try {
          await sleep(intervalSeconds * 1000, { signal });
        } catch {
          return;
        }
        await run();
      }
    });
    if (name === "deliver") started();
    return loop;
  };
  const agent = createAgent({
    db,
    source,
    collector,
    deliverer,
    repeats: createRepeatGate({ now }),
    now,
    monotonicMs: now,
    schedule,
  });
  clock.begin();
  const running = agent.run(signal).finally(() => {
    started();
    db[Symbol.dispose]();
  });

  return {
    depth: () => outboxDepth(db),
    async killAtRead(bucketId, newFolder) {
      kill = { bucketId, folder: newFolder };
      await running;
    },
    async stop() {
      stop.abort();
      await running;
    },
  };
}
