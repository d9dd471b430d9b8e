import type { ActivityEvent, Bucket, Policy, Related, RelatedSource, Surroundings } from "./event.ts";
import { SECOND_US } from "./time.ts";

/** How much before and after the events the other buckets are read: their clocks do not tick as one. */
const MARGIN_US = 120 * SECOND_US;

/** The user's privacy rules, as the collector applies them. */
export interface Privacy {
  readonly policy: Policy;
  /** The number of the rules in the cache. */
  readonly rules: number;
  /** Where the events that stand beside an event are read. */
  readonly related: RelatedSource;
}

/** What {@link readSurroundings} needs. */
export interface SurroundingsOptions {
  readonly policy: Policy;
  readonly related: RelatedSource;
  /** The buckets that are collected. */
  readonly buckets: readonly Bucket[];
  readonly nowUs: number;
  readonly signal?: AbortSignal | undefined;
}

/**
 * Reads what other buckets recorded at the time of some events of one, as far as the privacy rules go by it. It is
 * read from ActivityWatch at the moment at which the events are judged, and where it cannot be read they are not.
 * @throws {SourceError} when it cannot be read
 */
export async function readSurroundings(
  bucket: Bucket,
  events: readonly ActivityEvent[],
  options: SurroundingsOptions,
): Promise<Surroundings> {
  const { policy, related, nowUs, signal } = options;
  const buckets = related.beside?.() ?? options.buckets;
  const types = policy.related(bucket.type);
  if (types.length === 0 || events.length === 0) return policy.surround([]);
  let fromUs = Infinity;
  let toUs = -Infinity;
  for (const { startUs, durationSeconds } of events) {
    const endUs = startUs + durationSeconds * SECOND_US;
    fromUs = Math.min(fromUs, startUs, endUs);
    toUs = Math.max(toUs, startUs, endUs);
  }
  fromUs -= MARGIN_US;
  toUs = Math.max(fromUs, Math.min(toUs, nowUs) + MARGIN_US);
  const found: Related[] = [];
  for (const other of buckets) {
    if (!types.includes(other.type)) continue;
    found.push({
      bucket: other,
      events: await related.during(other, fromUs, toUs, signal ? { signal } : {}),
    });
  }
  return policy.surround(found);
}
