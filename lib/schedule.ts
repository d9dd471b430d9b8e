import { sleep } from "./time.ts";

/** How often it is looked whether cron still ticks, and after how long without a tick it is done without. */
const LOOK_EVERY_MS = 30_000;
const MISSED_MS = 75_000;

/** What {@link startSchedule} needs. */
export interface ScheduleOptions {
  /** Letters, digits, spaces, `-` and `_`. */
  readonly name: string;
  /** From one run to the next, in seconds. */
  readonly intervalSeconds: number;
  /** From 0 up to, not including, 1: where in the interval this device has its turn. */
  readonly splay: number;
  /** What to do. Must not throw. */
  readonly run: () => Promise<void>;
  /** Stops the schedule; a run under way is finished. */
  readonly signal: AbortSignal;
  readonly now?: () => number;
  readonly sleep?: typeof sleep;
  readonly cron?: typeof Deno.cron;
  /** A clock that only goes forward, in milliseconds. */
  readonly monotonicMs?: () => number;
}

/**
 * Runs `run` every `intervalSeconds` on `Deno.cron`, until `signal` is aborted.
 *
 * Cron ticks at second 0 of every minute, everywhere at once; the splay moves a device's turn to a moment of its
 * own. Within a minute the turns are waited for, so that intervals need not be whole minutes. Runs never overlap.
 * A turn that was missed, asleep or because a run took long, is made up for once, at the next tick: within a minute
 * after a machine has come back. Cron waits for a time by the wall clock, so that one that is put back by an hour or a
 * year would leave it silent for as long: a timer of the schedule's own steps in then.
 *
 * @returns settles when the schedule has stopped and its last run has ended
 */
export async function startSchedule(options: ScheduleOptions): Promise<void> {
  const {
    name,
    intervalSeconds,
    splay,
    run,
    signal,
    now = Date.now,
    sleep: pause = sleep,
    cron = Deno.cron,
    monotonicMs = () => performance.now(),
  } = options;
  const intervalMs = intervalSeconds * 1000;
  const offsetMs = splay * intervalMs;
  const turnOf = (timeMs: number) => Math.floor((timeMs - offsetMs) / intervalMs);
  let lastTurn = turnOf(now());

  async function tick(): Promise<void> {
    while (!signal.aborted) {
      const turn = turnOf(now());
      // A clock that was put back has its turns again; one that leapt ahead has one.
      if (turn !== lastTurn) {
        lastTurn = turn;
        await run();
        continue;
      }
      const dueMs = (turn + 1) * intervalMs + offsetMs;
      // Looked at anew each time: a run may have taken the minutes up to now, and cron skipped their ticks.
      if (Math.floor(dueMs / 60_000) > Math.floor(now() / 60_000)) return;
      try {
        await pause(Math.max(1, dueMs - now()), { signal });
      } catch (error) {
        if (!signal.aborted) throw error;
      }
    }
  }

  // Cron would wait for an abort that has been.
  if (signal.aborted) return;
  let tickedAtMs = monotonicMs();
  let ticking = tick();
  function next(): Promise<void> {
    tickedAtMs = monotonicMs();
    // The tick before may still be under way.
    ticking = ticking.then(tick);
    return ticking;
  }

  async function standIn(): Promise<void> {
    while (!signal.aborted) {
      try {
        await pause(LOOK_EVERY_MS, { signal });
      } catch (error) {
        if (!signal.aborted) throw error;
        return;
      }
      // Not waited for: the next look is due, however long the run takes.
      if (monotonicMs() - tickedAtMs > MISSED_MS) void next();
    }
  }

  await Promise.all([cron(name, "* * * * *", { signal }, next), standIn()]);
  await ticking;
}

/** When the first turn at or after `timeMs` comes, in milliseconds since 1970. */
export function turnAfterMs(timeMs: number, intervalSeconds: number, splay: number): number {
  const intervalMs = intervalSeconds * 1000;
  const offsetMs = splay * intervalMs;
  return Math.ceil((timeMs - offsetMs) / intervalMs) * intervalMs + offsetMs;
}

/**
 * A device's place in the interval, from 0 up to 1: fixed, and spread evenly over all devices.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * import { splayOf } from "./schedule.ts";
 *
 * assert.equal(splayOf("laptop"), splayOf("laptop"));
 * ```
 */
export function splayOf(deviceId: string): number {
  // FNV-1a, with a final mix so that ids that differ in their last digit lie far apart.
  let hash = 0x811c9dc5;
  for (let i = 0; i < deviceId.length; i++) hash = Math.imul(hash ^ deviceId.charCodeAt(i), 0x01000193);
  hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b);
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35);
  return ((hash ^ (hash >>> 16)) >>> 0) / 2 ** 32;
}
