/** Holds what the LifeLog server has against what ActivityWatch has, without a line of the agent's own code. */

import type { ExportedBucket, ExportedEvent } from "./aw_server.ts";

/** An event as the LifeLog server stored it. */
export interface StoredLifeLogEvent {
  readonly timestamp: string;
  readonly type: string;
  readonly data: Record<string, unknown>;
}

/** How two sets of events differ. */
export interface Difference {
  /** Events that the server should have. */
  readonly expected: number;
  /** Events that it has. */
  readonly received: number;
  /** Expected events that it has not, with no duration whatever. */
  readonly lost: number;
  /** Events that it has beside the same event with the right duration, and second copies. */
  readonly repeated: number;
  /** Events that it has with a duration that is not ActivityWatch's. */
  readonly wrong: number;
  /** Events that ActivityWatch does not have, or that should not have left the device. */
  readonly unexpected: number;
  /** A few of the events that differ, for the test's own message. */
  readonly examples: readonly string[];
}

/** What of ActivityWatch's history is expected at the server. */
export interface Expectation {
  /** As `AW_MIN_DURATION_SECONDS`: shorter events are dropped, afk events never. */
  readonly minDurationSeconds: number;
  /** Buckets that should not be collected. */
  readonly skipped?: readonly string[];
  /** Further events that should not be there (yet). */
  readonly without?: (bucket: ExportedBucket, index: number) => boolean;
}

const WIRE: Record<string, { type: string; fields: (data: Record<string, unknown>) => unknown[] }> = {
  "currentwindow": { type: "desktop_activity.window", fields: (d) => [d.app, d.title, d.url] },
  "afkstatus": { type: "desktop_activity.afk", fields: (d) => ["AFK", d.status, null] },
  "web.tab.current": { type: "browser_activity.web", fields: (d) => [null, d.title, d.url] },
};

/**
 * An event of ActivityWatch as the server will know it, without its duration; `undefined` where it has no form
 * there. Equal to {@link storedIdentity} of what the server has of it.
 */
export function wireIdentity(bucketType: string, { timestamp, data }: ExportedEvent): string | undefined {
  const wire = WIRE[bucketType];
  if (wire === undefined || typeof data !== "object" || data === null || Array.isArray(data)) {
    return undefined;
  }
  const fields = wire.fields(data as Record<string, unknown>).map((field) => field ?? null);
  return JSON.stringify([wire.type, timeOf(timestamp), ...fields]);
}

/** An event of the server without its duration. */
export function storedIdentity({ timestamp, type, data }: StoredLifeLogEvent): string {
  return JSON.stringify([type, timeOf(timestamp), data.app, data.title, data.url]);
}

/**
 * Compares the server's events with ActivityWatch's export. Events that are the same in the server's form
 * (start, duration, app, title and url) are one event there, and so here.
 */
export function compare(
  truth: readonly ExportedBucket[],
  stored: readonly StoredLifeLogEvent[],
  expectation: Expectation,
): Difference {
  const { minDurationSeconds, skipped = [], without = () => false } = expectation;
  const expected = new Map<string, Set<number>>();
  for (const bucket of truth) {
    if (skipped.includes(bucket.id)) continue;
    bucket.events.forEach((event, index) => {
      const { duration } = event;
      const identity = wireIdentity(bucket.type, event);
      if (identity === undefined) return;
      if (minDurationSeconds > 0 && bucket.type !== "afkstatus" && duration < minDurationSeconds) return;
      if (without(bucket, index)) return;
      expected.set(identity, (expected.get(identity) ?? new Set()).add(duration));
    });
  }
  const received = new Map<string, number[]>();
  for (const event of stored) {
    const identity = storedIdentity(event);
    received.set(identity, [...received.get(identity) ?? [], event.data.duration_seconds as number]);
  }
  let lost = 0, repeated = 0, wrong = 0, unexpected = 0;
  const examples: string[] = [];
  for (const identity of new Set([...expected.keys(), ...received.keys()])) {
    const should = expected.get(identity) ?? new Set<number>();
    const has = received.get(identity) ?? [];
    const missing = [...should].filter((duration) => !has.includes(duration)).length;
    const extra = has.filter((duration, at) => !should.has(duration) || has.indexOf(duration) !== at).length;
    if (missing + extra === 0) continue;
    if (should.size === 0) unexpected += extra;
    else {
      const changed = Math.min(missing, extra);
      wrong += changed;
      lost += missing - changed;
      repeated += extra - changed;
    }
    if (examples.length < 5) examples.push(`${identity}: expected ${[...should]} s, has ${has} s`);
  }
  const count = [...expected.values()].reduce((sum, durations) => sum + durations.size, 0);
  return { expected: count, received: stored.length, lost, repeated, wrong, unexpected, examples };
}

/** A line of the table that the tests print. */
export function row(label: string, difference: Difference): string {
  const { expected, received, lost, repeated, wrong, unexpected } = difference;
  const figures = [expected, received, lost, repeated, wrong, unexpected].map((n) => String(n).padStart(10));
  return `${label.padEnd(58)}${figures.join("")}`;
}

/** The table's head. */
export const HEAD = `${"".padEnd(58)}${
  ["expected", "received", "lost", "repeated", "wrong", "unexpected"].map((name) => name.padStart(10)).join(
    "",
  )
}`;

/** The time in microseconds, of ISO text with 0 to 6 digits. */
function timeOf(timestamp: string): number {
  const match = /^(.{19})(?:\.(\d+))?(Z|[+-]\d{2}:\d{2})$/.exec(timestamp);
  if (match === null) throw new RangeError(`Cannot read a time: got ${timestamp}`);
  return Date.parse(match[1]! + match[3]!) * 1000 + Number((match[2] ?? "").padEnd(6, "0").slice(0, 6));
}
