import { DAY_US } from "./time.ts";

/** What {@link createPatience} needs. */
export interface PatienceOptions {
  /** How long events wait, in microseconds. */
  readonly settleUs: number;
  /** Go by the age of events alone. */
  readonly trustAge: boolean;
  /** A clock that only goes forward, in milliseconds. */
  readonly monotonicMs: () => number;
}

/** Knows which events wait for what other buckets recorded at their time, and since when. */
export interface Patience {
  /** Tells whether an event that ended at `endUs` has yet to wait, and notes that it does. */
  mustWait(id: string, endUs: number, nowUs: number): boolean;
  /** Forgets an event that has been taken. */
  done(id: string): void;
  /** Lets all that wait do so from the beginning: ActivityWatch could not be read. */
  startOver(): void;
}

/**
 * Lets events wait for their own settle time and, after ActivityWatch was away, for as long from when it could be read
 * again: what is old by its time has then only just come to be seen, and heartbeats that tell more of it may still be
 * on their way. What ended more than a day ago waits for nothing.
 */
export function createPatience({ settleUs, trustAge, monotonicMs }: PatienceOptions): Patience {
  const since = new Map<string, number>();
  return {
    mustWait(id, endUs, nowUs) {
      const sinceMs = since.get(id) ?? monotonicMs();
      since.set(id, sinceMs);
      if (endUs > nowUs - settleUs) return true;
      return !trustAge && endUs > nowUs - DAY_US && (monotonicMs() - sinceMs) * 1000 < settleUs;
    },
    done: (id) => void since.delete(id),
    startOver: () => since.clear(),
  };
}
