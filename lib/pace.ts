/** A server that took longer than this for a batch is given as long again before the next. */
const SLOW_ANSWER_MS = 250;
/** An answer that took this long makes the next request half as large: half-way to where proxies give up. */
const LONG_ANSWER_MS = 10_000;
/** Also a server that is always slow is given more events in a drain than a device records between two. */
const MIN_PACE = 50;
/** Events in the one request that asks, after a drain that failed, whether the server is back. */
const PROBE_SIZE = 10;

/** How much the server is asked for at a time, by how long its answers take. */
export interface Pace {
  /** Events in the next request at most. */
  events(probing: boolean): number;
  /** A request was answered, or given up, after so long; `slow` where it was the server that gave it up. */
  took(events: number, tookMs: number, outcome: "delivered" | "failed" | "slow"): void;
  /**
   * How long to leave the server alone before the next request of the drain, in milliseconds; `undefined` where the rest
   * is better left to the next drain.
   * @param delivered events of this drain so far
   * @param probed whether the request was the one that asks if the server is back
   */
  restMs(tookMs: number, delivered: number, probed: boolean): number | undefined;
}

/**
 * Makes a pace.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * import { createPace } from "./pace.ts";
 *
 * const pace = createPace(500);
 * pace.took(500, 20_000, "delivered");
 * assert.equal(pace.events(false), 250);
 * pace.took(250, 100, "delivered");
 * assert.equal(pace.events(false), 500);
 * ```
 */
export function createPace(maxEvents: number): Pace {
  let limit = maxEvents;
  return {
    events: (probing) => probing ? Math.min(limit, PROBE_SIZE) : limit,
    took(events, tookMs, outcome) {
      if (outcome !== "delivered") {
        if (outcome === "slow" || tookMs >= LONG_ANSWER_MS) limit = Math.ceil(events / 2);
      } else if (tookMs < LONG_ANSWER_MS) {
        limit = Math.min(maxEvents, Math.max(limit, 2 * events));
      } else {
        limit = Math.min(maxEvents, Math.max(MIN_PACE, Math.ceil(events / 2)));
      }
    },
    restMs(tookMs, delivered, probed) {
      if (tookMs >= LONG_ANSWER_MS && (probed || maxEvents >= MIN_PACE || delivered >= MIN_PACE)) {
        return undefined;
      }
      return tookMs > SLOW_ANSWER_MS ? Math.min(tookMs, LONG_ANSWER_MS) : 0;
    },
  };
}
