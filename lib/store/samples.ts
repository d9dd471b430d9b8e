import type { Database } from "./database.ts";

const ADD = "INSERT OR REPLACE INTO sample (at_ms, waiting, dead, lag_ms) VALUES (?, ?, ?, ?)";
const FORGET = "DELETE FROM sample WHERE at_ms < ? OR at_ms > ?";
const READ =
  `SELECT at_ms AS atMs, waiting, dead, lag_ms AS lagMs FROM sample WHERE at_ms >= ? ORDER BY at_ms`;

/** How long samples are kept, in milliseconds: one a minute, 2880 of them at most. */
const KEEP_MS = 48 * 3_600_000;

/** How much waited, and how far behind the agent was, at one moment. */
export interface Sample {
  readonly atMs: number;
  /** Events in the outbox. */
  readonly waiting: number;
  /** Dead letters. */
  readonly dead: number;
  /** How long ago the bucket that is furthest behind was read; `null` before the first read. */
  readonly lagMs: number | null;
}

/**
 * Keeps samples and forgets those older than 48 hours, and those that a clock which ran ahead left in the future.
 * @param samples in the order in which they were taken
 */
export function addSamples(db: Database, samples: readonly Sample[]): void {
  const newestMs = samples.at(-1)?.atMs;
  if (newestMs === undefined) return;
  db.transaction(() => {
    for (const { atMs, waiting, dead, lagMs } of samples) db.run(ADD, atMs, waiting, dead, lagMs);
    db.run(FORGET, newestMs - KEEP_MS, newestMs);
  });
}

/** The samples from `sinceMs` on, oldest first. */
export function samplesSince(db: Database, sinceMs: number): Sample[] {
  return db.all<Sample>(READ, sinceMs);
}
