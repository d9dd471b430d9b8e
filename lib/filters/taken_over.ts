import type { BucketType, Filter } from "../event.ts";

/**
 * Drops the events that the Python daemon has had before the agent took over from it. It recorded them with the
 * duration that it first saw: sent again with their own, they would stand at the server twice.
 *
 * @param hadUs the start of the newest event that the daemon has had, by kind, in microseconds since 1970
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * import { takenOverFilter } from "./taken_over.ts";
 *
 * const filter = takenOverFilter({ "currentwindow": 1000, "afkstatus": 0, "web.tab.current": 0 });
 * const bucket = { id: "b", type: "currentwindow", hostname: "h", created: "" } as const;
 * assert.equal(filter({ startUs: 1000, durationSeconds: 60, data: {} }, bucket), undefined);
 * assert.ok(filter({ startUs: 1001, durationSeconds: 60, data: {} }, bucket));
 * ```
 */
export function takenOverFilter(hadUs: Readonly<Record<BucketType, number>>): Filter {
  return (event, bucket) => event.startUs > hadUs[bucket.type] ? event : undefined;
}
