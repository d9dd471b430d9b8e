/** A server that took longer than this for a batch is given as long again before the next, up to a limit. */
const SLOW_ANSWER_MS = 250;
const MAX_REST_MS = 10_000;
/** An answer that took this long makes the next request half as large: half-way to where proxies give up. */
const LONG_ANSWER_MS = 10_000;
/** Events in the one request that asks, after a drain that failed, whether the server is back. */
const PROBE_SIZE = 10;

/** How much the server is asked for at a time, by how long its answers take. */
export interface Pace {
  /** Events in the next request at most. */
  events(probing: boolean): number;
  /** A request was answered, or given up, after so long; `slow` where it was the server that gave it up. */
  took(events: number, tookMs: number, outcome: "delivered" | "failed" | "slow"): void;
  /** How long to leave the server alone before the next request of the drain, in milliseconds. */
  restMs(tookMs: number): number;
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
      if (outcome === "slow" || tookMs >= LONG_ANSWER_MS) limit = Math.ceil(events / 2);
      else if (outcome === "delivered" && tookMs < LONG_ANSWER_MS / 4) limit = Math.min(maxEvents, limit * 2);
    },
    restMs: (tookMs) => tookMs > SLOW_ANSWER_MS ? Math.min(tookMs, MAX_REST_MS) : 0,
  };
}
