/** What {@link createSteadyClock} may be told. */
export interface SteadyClockOptions {
  /** The wall clock, in milliseconds since 1970. */
  readonly wallMs?: () => number;
  /** A clock that only goes forward, but may stand still while the machine sleeps, in milliseconds. */
  readonly monotonicMs?: () => number;
}

/** The wall clock may run ahead of the other by this much without meaning anything. */
const DRIFT_MS = 2_000;

/**
 * Makes a clock for waits and ages: it only goes forward, it also counts the time that the machine slept, and the
 * wall clock's being put back does not stop it. The wall clock's being put forward looks like a sleep: what waits
 * is then tried early, once.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * import { createSteadyClock } from "./clock.ts";
 *
 * let [wall, monotonic] = [1_000_000, 0];
 * const clock = createSteadyClock({ wallMs: () => wall, monotonicMs: () => monotonic });
 * const began = clock();
 * wall += 3_600_000; // The machine slept for an hour.
 * assert.equal(clock() - began, 3_600_000);
 * ```
 */
export function createSteadyClock(options: SteadyClockOptions = {}): () => number {
  const { wallMs = Date.now, monotonicMs = () => performance.now() } = options;
  let sleptMs = 0;
  let aheadMs = wallMs() - monotonicMs();
  return () => {
    const monotonic = monotonicMs();
    const jumpMs = wallMs() - monotonic - aheadMs;
    if (Math.abs(jumpMs) > DRIFT_MS) {
      aheadMs += jumpMs;
      if (jumpMs > 0) sleptMs += jumpMs;
    }
    return monotonic + sleptMs;
  };
}

/** The program's steady clock. */
export const steadyMs: () => number = createSteadyClock();
