import type { ActivityEvent, Bucket, Related } from "../event.ts";
import { SECOND_US } from "../time.ts";

/** How long a page stays in view after the last heartbeat for it, unless another follows: the watcher's pulse time. */
const PULSE_US = 80 * SECOND_US;

/** An event and the time that it stands for. */
export interface Spell {
  readonly bucket: Bucket;
  readonly event: ActivityEvent;
  readonly fromUs: number;
  readonly toUs: number;
}

/** One bucket's events by their time. */
export interface Timeline {
  readonly bucket: Bucket;
  /** Up to where the bucket is known: the end of what ends last. */
  readonly knownUntilUs: number;
  /** The spells that have a moment in common with [fromUs, toUs], in order of their start. */
  overlapping(fromUs: number, toUs: number): Spell[];
}

/** The time of an event; one of negative duration stands for the time that it would go back to. */
export function spanOf({ startUs, durationSeconds }: ActivityEvent): { fromUs: number; toUs: number } {
  const endUs = startUs + durationSeconds * SECOND_US;
  return { fromUs: Math.min(startUs, endUs), toUs: Math.max(startUs, endUs) };
}

/** Orders the events of a bucket so that those of any time are found quickly. */
export function createTimeline({ bucket, events }: Related): Timeline {
  const spells = events.map((event) => ({ bucket, event, ...spanOf(event) }))
    .sort((a, b) => a.fromUs - b.fromUs);
  if (bucket.type === "web.tab.current") {
    spells.forEach((spell, i) => {
      spell.toUs = Math.max(spell.toUs, Math.min(spells[i + 1]?.fromUs ?? Infinity, spell.toUs + PULSE_US));
    });
  }
  /** The latest end up to each spell: it never falls, so that a search can go by it. */
  const latest: number[] = [];
  for (const { toUs } of spells) latest.push(Math.max(toUs, latest.at(-1) ?? -Infinity));

  function overlapping(fromUs: number, toUs: number): Spell[] {
    let low = 0;
    for (let high = latest.length; low < high;) {
      const middle = (low + high) >> 1;
      if (latest[middle]! < fromUs) low = middle + 1;
      else high = middle;
    }
    const found: Spell[] = [];
    for (let i = low; i < spells.length && spells[i]!.fromUs <= toUs; i++) {
      if (meet(spells[i]!, { fromUs, toUs })) found.push(spells[i]!);
    }
    return found;
  }

  const ends = events.map((event) => spanOf(event).toUs);
  return { bucket, knownUntilUs: ends.reduce((a, b) => Math.max(a, b), -Infinity), overlapping };
}

/** A stretch of time. */
export type Span = { readonly fromUs: number; readonly toUs: number };

/**
 * Tells whether two stretches have a moment in common. Neighbours that only touch have none, but what has no length
 * stands for its moment.
 */
export function meet(a: Span, b: Span): boolean {
  if (a.fromUs < b.toUs && b.fromUs < a.toUs) return true;
  return (a.fromUs === a.toUs || b.fromUs === b.toUs) && a.fromUs <= b.toUs && b.fromUs <= a.toUs;
}
