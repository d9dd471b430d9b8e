import { setImmediate } from "node:timers";
import { steadyMs } from "./clock.ts";

/** Microseconds in a millisecond, a second, a minute, an hour and a day. */
export const MS_US = 1_000;
export const SECOND_US = 1_000_000;
export const MINUTE_US = 60 * SECOND_US;
export const HOUR_US = 60 * MINUTE_US;
export const DAY_US = 24 * HOUR_US;

const ISO = /^(\d{4}-\d{2}-\d{2})[T ](\d{2}:\d{2}:\d{2})(?:\.(\d{1,9}))?(Z|[+-]\d{2}:\d{2})$/;

/**
 * Reads an ISO 8601 time with an offset as microseconds since 1970. Digits past the sixth are cut off, as the
 * LifeLog server does.
 *
 * @returns the time, or `undefined` when the text is none
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * import { parseTimeUs } from "./time.ts";
 *
 * assert.equal(parseTimeUs("1970-01-01T00:00:01.5Z"), 1_500_000);
 * assert.equal(parseTimeUs("1970-01-01T02:00:00.000001+02:00"), 1);
 * ```
 */
export function parseTimeUs(text: string): number | undefined {
  const usual = ofLastDay(text);
  if (usual !== undefined) return usual;
  const match = ISO.exec(text);
  if (match === null) return undefined;
  const [, date, time, fraction = "", offset] = match;
  const ms = Date.parse(`${date}T${time}${offset}`);
  if (Number.isNaN(ms)) return undefined;
  lastRead = { date: date!, us: Date.parse(`${date}T00:00:00Z`) * MS_US };
  return ms * MS_US + Number(fraction.padEnd(6, "0").slice(0, 6));
}

/** The day that was read last: the next time is most often of the same. */
let lastRead = { date: "none", us: NaN };

/** Reads a time as both servers mostly write it, with six digits and in UTC, in a quarter of the time. */
function ofLastDay(text: string): number | undefined {
  const end = text.endsWith("Z") ? "Z" : "+00:00";
  if (!text.startsWith(lastRead.date) || !text.endsWith(end) || text.length !== 26 + end.length) {
    return undefined;
  }
  if (text[10] !== "T" || text[13] !== ":" || text[16] !== ":" || text[19] !== ".") return undefined;
  const [hours, minutes, seconds] = [digits(text, 11, 13), digits(text, 14, 16), digits(text, 17, 19)];
  const micros = digits(text, 20, 26);
  if (!(hours < 24 && minutes < 60 && seconds < 60 && micros >= 0)) return undefined;
  return lastRead.us + ((hours * 60 + minutes) * 60 + seconds) * SECOND_US + micros;
}

/** The number that digits make; `NaN` where one of them is none. */
function digits(text: string, from: number, to: number): number {
  let number = 0;
  for (let at = from; at < to; at++) {
    const digit = text.charCodeAt(at) - 0x30;
    if (digit < 0 || digit > 9) return NaN;
    number = 10 * number + digit;
  }
  return number;
}

/**
 * Writes a time as Python's `isoformat` does, always with six digits: the form that the LifeLog server is used to.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * import { formatTimeUs } from "./time.ts";
 *
 * assert.equal(formatTimeUs(1_500_000), "1970-01-01T00:00:01.500000+00:00");
 * ```
 */
export function formatTimeUs(timeUs: number): string {
  const day = Math.floor(timeUs / DAY_US);
  if (day !== lastDay.number) {
    lastDay = { number: day, date: new Date(day * (DAY_US / MS_US)).toISOString().slice(0, 10) };
  }
  const ofDayUs = timeUs - day * DAY_US;
  const seconds = Math.floor(ofDayUs / SECOND_US);
  const minutes = Math.floor(seconds / 60);
  const hours = Math.floor(minutes / 60);
  const micros = String(SECOND_US + ofDayUs - seconds * SECOND_US).slice(1);
  return `${lastDay.date}T${TWO[hours]}:${TWO[minutes % 60]}:${TWO[seconds % 60]}.${micros}+00:00`;
}

/** The day that was written last: most times are of the same, and a date takes longer than a time. */
let lastDay = { number: NaN, date: "" };

/** The numbers up to 59 as two digits. */
const TWO = Array.from({ length: 60 }, (_, n) => String(n).padStart(2, "0"));

/** Longer waits are looked at this often: a timer stands still while the machine sleeps. */
const LOOK_EVERY_MS = 15_000;

/**
 * Waits, and rejects with the signal's reason when it is aborted before. Time in which the machine slept counts: it
 * ends at most 15 s after a machine has come back that slept past its end.
 */
export async function sleep(
  ms: number,
  options: { signal?: AbortSignal | undefined; clockMs?: () => number } = {},
): Promise<void> {
  const { signal, clockMs = steadyMs } = options;
  const dueMs = clockMs() + ms;
  for (let leftMs = ms; leftMs > 0; leftMs = dueMs - clockMs()) {
    await timer(Math.min(leftMs, LOOK_EVERY_MS), signal);
    if (leftMs <= LOOK_EVERY_MS) return;
  }
}

/** A signal with a time limit. Disposing of it ends both, so that nothing is left of it. */
export interface TimeLimit extends Disposable {
  readonly signal: AbortSignal;
  /** Whether it was the time that ran out. */
  readonly isOver: () => boolean;
}

/**
 * Makes a signal that is aborted after `ms`, or with another signal. `AbortSignal.timeout()` would be held until its
 * time comes, answered or not: thousands of them in a long drain.
 */
export function timeLimit(ms: number, outer?: AbortSignal): TimeLimit {
  const controller = new AbortController();
  let isOver = false;
  const timer = setTimeout(() => {
    isOver = true;
    controller.abort(new DOMException("The time limit is over", "TimeoutError"));
  }, ms);
  const follow = () => controller.abort(outer!.reason);
  if (outer?.aborted) follow();
  outer?.addEventListener("abort", follow, { once: true });
  return {
    signal: controller.signal,
    isOver: () => isOver,
    [Symbol.dispose]() {
      clearTimeout(timer);
      outer?.removeEventListener("abort", follow);
    },
  };
}

/** Turns of the event loop in which a request gets from `fetch` to the network. */
const TURNS = 4;

/** Lets a request that was begun leave: it only does while the event loop turns, and other work would hold it up. */
export async function underWay(): Promise<void> {
  for (let turn = 0; turn < TURNS; turn++) await new Promise<void>((resolve) => setImmediate(resolve));
}

function timer(ms: number, signal: AbortSignal | undefined): Promise<void> {
  return new Promise((resolve, reject) => {
    signal?.throwIfAborted();
    const onAbort = () => {
      clearTimeout(timer);
      reject(signal!.reason);
    };
    const timer = setTimeout(() => {
      signal?.removeEventListener("abort", onAbort);
      resolve();
    }, ms);
    signal?.addEventListener("abort", onAbort, { once: true });
  });
}
