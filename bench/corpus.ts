import type { ActivityEvent, Bucket } from "../lib/event.ts";
import { SECOND_US } from "../lib/time.ts";

/** Where the events of the benchmarks begin. */
export const START_US = Date.UTC(2026, 0, 1) * 1000;
/** From one event's start to the next one's. */
export const STEP_US = 10 * SECOND_US;

export const BUCKET: Bucket = {
  id: "aw-watcher-window_bench",
  type: "currentwindow",
  hostname: "bench",
  created: "2026-01-01T00:00:00+00:00",
};

const WORDS = [
  "main.ts",
  "Pull request",
  "Inbox",
  "Übersicht",
  "README.md",
  "日本語の記事",
  "Terminal",
  "Notes",
];

/** The event of that number: always the same, with titles of a usual length, of which some are not ASCII. */
export function eventOf(n: number): ActivityEvent {
  return {
    startUs: START_US + n * STEP_US,
    durationSeconds: 5 + (n % 40) / 10,
    data: { app: `App ${n % 20}`, title: `${WORDS[n % WORDS.length]} - project ${n % 97} - window ${n}` },
  };
}

/** Where `count` events end. */
export function endUs(count: number): number {
  return START_US + count * STEP_US;
}
