import type { Database } from "./database.ts";

const GET = "SELECT value FROM meta WHERE name = ?";
const SET =
  "INSERT INTO meta (name, value) VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET value = excluded.value";

/** The single values that the cache keeps. */
export type MetaName =
  /** Where collection begins, in microseconds since 1970; only ever lowered. */
  | "collect_from_us"
  /** Up to which start events are the Python daemon's, by kind, see `daemon_cache.ts`. */
  | "taken_over"
  /** Whether the cache is encrypted, or on its way there, see `encryption.ts`. */
  | "encryption"
  /** The privacy rules in force, see `rules.ts`. */
  | "privacy_rules"
  /** How the two loops fare, see `health.ts`. */
  | "collection_health"
  | "delivery_health"
  /** Which agent works on the cache, or did so last, see `health.ts`. */
  | "agent"
  /** What happened when the cache was last found damaged or gone, see `recover.ts`. */
  | "cache_loss"
  /** How many events were dropped for want of room. */
  | "dropped_events";

/** Reads a value, or `undefined` when it was never set. */
export function getMeta(db: Database, name: MetaName): string | undefined {
  return db.get<{ value: string }>(GET, name)?.value;
}

/** Keeps a value. */
export function setMeta(db: Database, name: MetaName, value: string): void {
  db.run(SET, name, value);
}
