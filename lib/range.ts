import type { ActivityEvent, Bucket, Page } from "./event.ts";
import type { Interval } from "./store/cursors.ts";
import { DAY_US, HOUR_US, SECOND_US } from "./time.ts";

/**
 * An empty stretch longer than this stays uncovered: when a clock jumped ahead and back, real events will come
 * to stand in it.
 */
export const MAX_EMPTY_US = 7 * DAY_US;
/** Where the clock stands before all that was ever collected, how far back from it collection begins. */
const CLOCK_MARGIN_US = HOUR_US;

/** A stretch to read, and how far it has got. */
export interface Range extends Interval {
  /** Empty stretches stay uncovered when nothing follows them: events may still come to stand there. */
  readonly sparse: boolean;
  /** Reaches to now and past it. */
  readonly isTail: boolean;
  /** Up to here events were read at an earlier pass: what is new there came late. */
  readonly coveredUs: number;
  /** When events were first seen as they are: at the passes before, and at this one. */
  readonly sightings: { readonly before: ReadonlyMap<string, number>; readonly now: Map<string, number> };
  /** Starts that were seen when they lay in the future. */
  readonly ahead: Set<number>;
  /** Where the final events so far end. */
  cursorUs: number;
  /** The newest start of the bucket that is known from elsewhere and has passed. */
  newestUs: number;
  isLookedAhead?: boolean;
  /** The newest of the bucket has a time in the future, and hides what is the newest of the past. */
  isHidden?: boolean;
  /** An event came late and is not final yet. */
  hasOpenLate?: boolean;
  /** In how many milliseconds events that look final can be taken. */
  confirmInMs?: number;
  /** The newest event that was read, final or not. */
  newest?: ActivityEvent;
}

/** Where an event ends, in microseconds since 1970; one of negative duration ends where it begins. */
export function endUsOf({ startUs, durationSeconds }: ActivityEvent): number {
  return Math.round(startUs + Math.max(0, durationSeconds) * SECOND_US);
}

/** A stretch of a bucket to read, from no earlier than where the bucket can hold events. */
export function rangeOf(
  bucket: Bucket,
  { fromUs, toUs }: Interval,
  rest: Pick<Range, "sparse" | "cursorUs" | "sightings" | "ahead"> & Partial<Range>,
): Range {
  const { firstEventUs = -Infinity } = bucket;
  return {
    isTail: false,
    coveredUs: -Infinity,
    newestUs: -Infinity,
    ...rest,
    fromUs: Math.max(fromUs, firstEventUs - DAY_US),
    toUs,
  };
}

/**
 * The interval that collection goes on from: the latest that the clock has passed. A clock that stands before all
 * of them begins one of its own.
 */
export function activeInterval(known: readonly Interval[], collectFromUs: number, nowUs: number): Interval {
  if (known.length === 0) {
    const fromUs = Math.min(collectFromUs, nowUs - CLOCK_MARGIN_US);
    return { fromUs, toUs: fromUs };
  }
  const passed = known.findLast((interval) => interval.fromUs <= nowUs);
  return passed ?? { fromUs: nowUs - CLOCK_MARGIN_US, toUs: nowUs - CLOCK_MARGIN_US };
}

/** Where the final events of a page end: before the first that may still grow. */
export function finalEndUs(page: Page, count: number): number {
  return page.events[count]?.startUs ?? page.toUs;
}

/**
 * What a committed page adds to the coverage. In a sparse range it goes no further than just past the last final
 * event, for a cursor is never moved to where nothing stands yet.
 */
export function coveredBy(page: Page, count: number, range: Range): Interval | undefined {
  if (!range.sparse) {
    const toUs = finalEndUs(page, count);
    return toUs > page.fromUs ? { fromUs: page.fromUs, toUs } : undefined;
  }
  const first = page.events[0];
  const last = page.events[count - 1];
  if (first === undefined || last === undefined || last.startUs < range.cursorUs) return undefined;
  const fromUs = first.startUs - range.cursorUs > MAX_EMPTY_US ? first.startUs : range.cursorUs;
  return { fromUs, toUs: last.startUs + 1 };
}
