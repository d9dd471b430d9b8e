import { StoreError } from "../errors.ts";
import type { Database } from "./database.ts";
import { getMeta, setMeta } from "./meta.ts";
import { oldestWaiting, outboxDepth } from "./outbox.ts";
import { removeEntries, sweepDelivered, WAITING } from "./removal.ts";

/** Room is made, or waited for, down to this part of the limit, so that it is not at its edge all the time. */
const ENOUGH = 0.95;
/** How many events are dropped at a time. */
const CHUNK = 100;

const OLDEST = `SELECT seq FROM (SELECT seq, cached_at_ms FROM ${WAITING} ORDER BY seq LIMIT ?)
  WHERE cached_at_ms < ?`;

/** What is done when the cache has come to a limit. */
export type WhenFull =
  /** Collection pauses: ActivityWatch keeps what it records, and it is collected when there is room again. */
  | "pause"
  /** The oldest events that wait are dropped for good. */
  | "drop-oldest";

/** The limits of the cache in an endless outage. */
export interface RoomOptions {
  readonly maxBytes: number;
  /** How long an event may wait, in milliseconds; Infinity for no limit. */
  readonly maxAgeMs: number;
  readonly whenFull: WhenFull;
  readonly now?: () => number;
  /** Told when events were dropped, and how many in all since the cache was made. */
  readonly onDropped?: (events: number, inAll: number) => void;
}

/** Sees to it that the cache stays within its limits. Called before events are added to it. */
export type EnsureRoom = () => void;

/** Makes the keeper of the limits; what it is called for throws a {@link StoreError} of the fault `limit` to pause. */
export function createRoom(db: Database, options: RoomOptions): EnsureRoom {
  const { maxBytes, maxAgeMs, whenFull, now = Date.now, onDropped } = options;
  let paused = false;

  function drop(): void {
    let dropped = 0;
    const tooLarge = () => db.usedBytes() > maxBytes * ENOUGH;
    const tooOld = () => now() - (oldestWaiting(db)?.cachedAtMs ?? Infinity) > maxAgeMs;
    while (outboxDepth(db) > 0 && (tooLarge() || tooOld())) {
      const beforeMs = tooLarge() ? Number.MAX_SAFE_INTEGER : now() - maxAgeMs;
      dropped += db.transaction(() => {
        const oldest = db.all<{ seq: number }>(OLDEST, CHUNK, beforeMs);
        const events = removeEntries(db, oldest.map(({ seq }) => seq));
        setMeta(db, "dropped_events", String(droppedEvents(db) + events));
        return events;
      });
    }
    if (dropped > 0) onDropped?.(dropped, droppedEvents(db));
  }

  return () => {
    const most = maxBytes * (paused ? ENOUGH : 1);
    // What is delivered makes room first.
    while (db.usedBytes() > most && sweepDelivered(db));
    const bytes = db.usedBytes();
    const oldest = oldestWaiting(db);
    const full = bytes > most;
    const old = oldest !== undefined && now() - oldest.cachedAtMs > maxAgeMs;
    // What does not wait is bounded by itself and cannot be made less.
    paused = oldest !== undefined && (full || old);
    if (!paused) return;
    if (whenFull === "drop-oldest") {
      drop();
      paused = false;
      return;
    }
    const [why, setting] = full
      ? [`it has ${megabytes(bytes)} of at most ${megabytes(maxBytes)}`, "CACHE_MAX_MB"]
      : [`events wait for more than ${Math.round(maxAgeMs / 86_400_000)} days`, "CACHE_MAX_AGE_DAYS"];
    throw new StoreError(`Collection pauses as the cache is full: ${why}`, {
      fault: "limit",
      hint: `ActivityWatch keeps what it records: mend the delivery, or raise ${setting}`,
    });
  };
}

/** How many events were dropped for want of room since the cache was made. */
export function droppedEvents(db: Database): number {
  return Number(getMeta(db, "dropped_events") ?? 0);
}

function megabytes(bytes: number): string {
  return `${(bytes / 1024 / 1024).toFixed(bytes < 10 * 1024 * 1024 ? 1 : 0)} MB`;
}
