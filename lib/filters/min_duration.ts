import type { Filter } from "../event.ts";

/**
 * Drops the events that are shorter than `minSeconds`. Events of afk buckets always stay: they tell whether
 * anybody was there. 0 lets everything through.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * import { minDuration } from "./min_duration.ts";
 *
 * const filter = minDuration(5);
 * const bucket = { id: "b", type: "currentwindow", hostname: "h", created: "" } as const;
 * assert.equal(filter({ startUs: 0, durationSeconds: 4.9, data: {} }, bucket), undefined);
 * ```
 */
export function minDuration(minSeconds: number): Filter {
  return (event, bucket) =>
    minSeconds <= 0 || bucket.type === "afkstatus" || event.durationSeconds >= minSeconds ? event : undefined;
}
