import { createAgent } from "../../lib/agent.ts";
import { type CollectorOptions, createCollector } from "../../lib/collector.ts";
import { createDeliverer } from "../../lib/deliverer.ts";
import type { Sink, Source } from "../../lib/event.ts";
import { createRepeatGate } from "../../lib/log.ts";
import type { Database } from "../../lib/store/database.ts";

/** What {@link startByHand} needs. */
export interface ByHandOptions extends Pick<CollectorOptions, "collectFromUs" | "trustAge"> {
  readonly db: Database;
  readonly source: Source;
  readonly sink: Sink;
  /** Both of the agent's clocks, in milliseconds. */
  readonly now: () => number;
}

/** An agent that has started, and takes each further turn when it is told to. */
export interface ByHand {
  readonly collect: () => Promise<void>;
  readonly deliver: () => Promise<void>;
  readonly stop: () => Promise<void>;
}

/** Starts an agent on a simulated clock, and waits until its first turns are over. */
export async function startByHand({ db, source, sink, now, ...rest }: ByHandOptions): Promise<ByHand> {
  const clocks = { now, monotonicMs: now };
  const turns = new Map<string, () => Promise<void>>();
  const agent = createAgent({
    db,
    source,
    collector: createCollector({ db, source, filters: [], ...rest, ...clocks }),
    deliverer: createDeliverer({ db, sink, ...clocks }),
    repeats: createRepeatGate({ now }),
    ...clocks,
    schedule: ({ name, run, signal }) => {
      turns.set(name, run);
      return new Promise((resolve) => signal.addEventListener("abort", () => resolve(), { once: true }));
    },
  });
  const stop = new AbortController();
  const running = agent.run(stop.signal);
  while (turns.size < 2) await new Promise((resolve) => setTimeout(resolve, 0));
  return {
    collect: turns.get("collect")!,
    deliver: turns.get("deliver")!,
    async stop() {
      stop.abort();
      await running;
    },
  };
}
