import { MINUTE_US, MS_US } from "../time.ts";

const QUARTER_US = 15 * MINUTE_US;
const DAY_MINUTES = 24 * 60;
/** Every time of every week comes within this; what lasts longer needs no look. */
const LONG_US = 8 * DAY_MINUTES * MINUTE_US;

/** The days as they are written in a rule, from Sunday on as in `Date`. */
export const DAYS = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"] as const;
export type Day = typeof DAYS[number];

/** Stretches of each day: minutes since midnight; where `to` is not after `from`, past midnight. */
export interface DailyTime {
  readonly times: readonly { readonly from: number; readonly to: number }[];
  /** The days on which the stretches begin. Empty: all. */
  readonly days: readonly Day[];
}

/** The local time at a moment: minutes since midnight and the day of the week, 0 for Sunday. */
export type LocalTime = (timeUs: number) => { readonly minute: number; readonly day: number };

/** The device's own local time, with its summer time. */
export const deviceTime: LocalTime = (timeUs) => {
  const date = new Date(Math.floor(timeUs / MS_US));
  return { minute: date.getHours() * 60 + date.getMinutes(), day: date.getDay() };
};

/**
 * Reads a stretch of the day, such as `18:00-08:30`. The end is not part of it; `24:00` is midnight.
 * @throws {SyntaxError} when it is none
 */
export function readDailyTime(text: string): { from: number; to: number } {
  const match = /^\s*(\d{1,2}):(\d{2})\s*-\s*(\d{1,2}):(\d{2})\s*$/.exec(text);
  const [fromHour, fromMinute, toHour, toMinute] = (match ?? []).slice(1).map(Number);
  const from = fromHour! * 60 + fromMinute!;
  const to = toHour! * 60 + toMinute!;
  if (match === null || fromMinute! > 59 || toMinute! > 59 || from >= DAY_MINUTES || to > DAY_MINUTES) {
    throw new SyntaxError('it is no time of day such as "18:00-08:30"');
  }
  if (from === to) throw new SyntaxError("it begins and ends at the same minute");
  return { from, to: to % DAY_MINUTES };
}

/**
 * Tells whether any moment of [fromUs, toUs] falls in the daily time, as the clocks on the wall went: it is looked
 * at each quarter of an hour, where the change to and from summer time takes place, and at each beginning between.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * import { overlapsDailyTime } from "./daily_time.ts";
 * import { HOUR_US, MINUTE_US } from "../time.ts";
 *
 * const utc = (us: number) => ({ minute: us / MINUTE_US % 1440, day: 4 });
 * const evening = { times: [{ from: 18 * 60, to: 8 * 60 }], days: [] };
 * assert.equal(overlapsDailyTime(evening, 9 * HOUR_US, 17 * HOUR_US, utc), false);
 * assert.equal(overlapsDailyTime(evening, 17 * HOUR_US, 19 * HOUR_US, utc), true);
 * ```
 */
export function overlapsDailyTime(
  daily: DailyTime,
  fromUs: number,
  toUs: number,
  localTime: LocalTime = deviceTime,
): boolean {
  if (!(toUs - fromUs < LONG_US)) return true;
  const { times } = daily;
  const stretches = times.length > 0 ? times : [{ from: 0, to: 0 }];
  for (let at = fromUs;;) {
    const { minute, day } = localTime(at);
    if (stretches.some((stretch) => isInside(stretch, daily.days, minute, day))) return true;
    if (at >= toUs) return false;
    let next = (Math.floor(at / QUARTER_US) + 1) * QUARTER_US;
    const minuteUs = Math.floor(at / MINUTE_US) * MINUTE_US;
    for (const { from } of [...stretches, { from: 0 }]) {
      const ahead = (from - Math.floor(minute) + DAY_MINUTES) % DAY_MINUTES || DAY_MINUTES;
      next = Math.min(next, minuteUs + ahead * MINUTE_US);
    }
    at = Math.min(Math.max(next, at + 1), toUs);
  }
}

function isInside(
  { from, to }: { from: number; to: number },
  days: readonly Day[],
  minute: number,
  day: number,
): boolean {
  const on = (index: number) => days.length === 0 || days.includes(DAYS[(index + 7) % 7]!);
  if (from < to) return minute >= from && minute < to && on(day);
  // Past midnight it belongs to the day on which it began.
  return (minute >= from && on(day)) || (minute < to && on(day - 1));
}
