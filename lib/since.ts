import { SettingError } from "./errors.ts";
import { DAY_US, MS_US } from "./time.ts";

const DATE = /^(\d{4})-(\d{2})-(\d{2})$/;
const TIME = /^\d{4}-\d{2}-\d{2}[T ]\d{2}:\d{2}(:\d{2}(\.\d+)?)?(Z|[+-]\d{2}:\d{2})?$/;
const DAYS = /^(\d{1,5})d$/;

/**
 * Reads the value of `--since`: `all`, a date (midnight here), a time, or a number of days back such as `30d`.
 *
 * @returns microseconds since 1970; 0 for `all`
 * @throws {SettingError} when it is none of these or lies in the future
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * import { parseSince } from "./since.ts";
 *
 * assert.equal(parseSince("all", 1e12), 0);
 * assert.equal(parseSince("1d", 86_400_000), 0);
 * ```
 */
export function parseSince(text: string, nowMs: number): number {
  const wrong = (why: string) =>
    new SettingError(`Cannot read "--since" as it must be ${why}: got "${text}"`, {
      hint: "Write --since 2026-01-31, --since 30d or --since all",
    });
  const value = text.trim();
  if (value.toLowerCase() === "all") return 0;
  const days = DAYS.exec(value);
  if (days !== null) return Math.max(0, nowMs * MS_US - Number(days[1]) * DAY_US);
  const date = DATE.exec(value);
  let ms: number;
  if (date !== null) {
    const [year, month, day] = date.slice(1).map(Number) as [number, number, number];
    const midnight = new Date(year, month - 1, day);
    // `new Date` takes 30 February for 2 March.
    ms = midnight.getMonth() === month - 1 && midnight.getDate() === day ? midnight.getTime() : NaN;
  } else {
    ms = TIME.test(value) ? Date.parse(value.replace(" ", "T")) : NaN;
  }
  if (Number.isNaN(ms)) throw wrong("a date, a number of days or all");
  if (ms > nowMs) throw wrong("in the past");
  return Math.max(0, ms) * MS_US;
}
