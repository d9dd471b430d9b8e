import type { ActivityEvent } from "./event.ts";
import { SECOND_US } from "./time.ts";

/** What {@link settledCount} goes by. */
export interface SettleOptions {
  readonly nowUs: number;
  /** How long after its end the newest event may still grow, in microseconds. */
  readonly settleUs: number;
  /** The newest start in the bucket that has passed. Default: that of the events. */
  readonly newestStartUs?: number | undefined;
}

/**
 * Counts how many events at the front of a page are final. An event is final when a newer one of its bucket
 * exists or when it ended longer ago than the settle time; until then ActivityWatch may still lengthen it.
 * Events in the future wait, and are no reason to take others for final: a clock was wrong when they were made.
 *
 * @param events in order of their start
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * import { settledCount } from "./settle.ts";
 *
 * const events = [0, 10].map((startUs) => ({ startUs, durationSeconds: 0, data: {} }));
 * assert.equal(settledCount(events, { nowUs: 20, settleUs: 300 }), 1);
 * ```
 */
export function settledCount(events: readonly ActivityEvent[], options: SettleOptions): number {
  const { nowUs, settleUs, newestStartUs = newestPassed(events, nowUs) } = options;
  const open = events.findIndex(({ startUs, durationSeconds }) =>
    startUs > nowUs ||
    (startUs >= newestStartUs && startUs + durationSeconds * SECOND_US > nowUs - settleUs)
  );
  if (open === -1) return events.length;
  // Events with one start are told apart by their data alone: they become final together.
  return events.findIndex(({ startUs }) => startUs === events[open]!.startUs);
}

/**
 * The newest start that has passed, of events in order of their start; `-Infinity` where there is none.
 *
 * @param ahead starts that were seen when they lay in the future: what a wrong clock wrote there is no newer than the
 *   others, also when its time has come
 */
export function newestPassed(
  events: readonly ActivityEvent[],
  nowUs: number,
  ahead: ReadonlySet<number> = new Set(),
): number {
  return events.findLast(({ startUs }) => startUs <= nowUs && !ahead.has(startUs))?.startUs ?? -Infinity;
}
