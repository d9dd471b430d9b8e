import assert from "node:assert/strict";
import fc from "fast-check";
import { DAYS, type LocalTime, overlapsDailyTime, readDailyTime } from "../../lib/filters/daily_time.ts";
import { HOUR_US, MINUTE_US, SECOND_US } from "../../lib/time.ts";

/** The wall clock of a place, by the platform's own tables. */
function placeTime(timeZone: string): LocalTime {
  const format = new Intl.DateTimeFormat("en-GB", {
    timeZone,
    weekday: "short",
    hour: "2-digit",
    minute: "2-digit",
    hour12: false,
  });
  return (timeUs) => {
    const parts = Object.fromEntries(
      format.formatToParts(new Date(timeUs / 1000)).map(({ type, value }) => [type, value]),
    );
    const day = DAYS.indexOf(parts.weekday!.toLowerCase() as typeof DAYS[number]);
    return { minute: Number(parts.hour) % 24 * 60 + Number(parts.minute), day };
  };
}

const us = (iso: string) => Date.parse(iso) * 1000;
const daily = (time: string, ...days: typeof DAYS[number][]) => ({
  times: time === "" ? [] : [readDailyTime(time)],
  days,
});

Deno.test("overlapsDailyTime() goes by the clocks on the wall, in summer and in winter", () => {
  const berlin = placeTime("Europe/Berlin");
  const evening = daily("18:00-08:30");
  const at = (iso: string, seconds = 0) =>
    overlapsDailyTime(evening, us(iso), us(iso) + seconds * SECOND_US, berlin);
  assert.equal(at("2026-01-15T16:59:59Z"), false);
  assert.equal(at("2026-01-15T17:00:00Z"), true);
  assert.equal(at("2026-07-15T15:59:59Z"), false);
  assert.equal(at("2026-07-15T16:00:00Z"), true);
  assert.equal(at("2026-07-15T06:29:59Z"), true);
  assert.equal(at("2026-07-15T06:30:00Z"), false);
  // One that reaches into it.
  assert.equal(at("2026-01-15T16:00:00Z", 3599), false);
  assert.equal(at("2026-01-15T16:00:00Z", 3600), true);
  assert.equal(at("2026-01-15T07:30:00Z", 9 * 3600), false);
});

Deno.test("overlapsDailyTime() knows the hours that the change of the clocks leaves out and repeats", () => {
  const berlin = placeTime("Europe/Berlin");
  // On 29 March 2026 two o'clock is followed by three o'clock, at 01:00 UTC.
  const [from, to] = [us("2026-03-29T00:30:00Z"), us("2026-03-29T01:30:00Z")];
  assert.equal(overlapsDailyTime(daily("02:10-02:50"), from, to, berlin), false);
  assert.equal(overlapsDailyTime(daily("02:10-03:05"), from, to, berlin), true);
  // On 25 October 2026 the hour from two to three comes twice, up to 02:00 UTC.
  const inside = (iso: string) => overlapsDailyTime(daily("02:10-02:20"), us(iso), us(iso), berlin);
  assert.deepEqual(
    ["2026-10-25T00:15:00Z", "2026-10-25T00:30:00Z", "2026-10-25T01:15:00Z", "2026-10-25T02:15:00Z"].map(
      inside,
    ),
    [true, false, true, false],
  );
});

Deno.test("a time past midnight belongs to the day on which it began", () => {
  const utc = placeTime("UTC");
  const friday = daily("22:00-02:00", "fri");
  const at = (iso: string) => overlapsDailyTime(friday, us(iso), us(iso), utc);
  assert.equal(at("2026-01-02T23:00:00Z"), true); // Friday
  assert.equal(at("2026-01-03T01:00:00Z"), true);
  assert.equal(at("2026-01-03T23:00:00Z"), false);
  assert.equal(at("2026-01-02T01:00:00Z"), false);
  const weekend = daily("", "sat", "sun");
  assert.equal(overlapsDailyTime(weekend, us("2026-01-04T12:00:00Z"), us("2026-01-04T12:00:00Z"), utc), true);
  assert.equal(
    overlapsDailyTime(weekend, us("2026-01-05T00:00:00Z"), us("2026-01-05T12:00:00Z"), utc),
    false,
  );
  assert.equal(overlapsDailyTime(weekend, us("2026-01-02T12:00:00Z"), us("2026-01-03T00:00:00Z"), utc), true);
});

Deno.test("overlapsDailyTime() finds what a look at every minute finds", () => {
  const places = ["Europe/Berlin", "America/St_Johns", "Australia/Lord_Howe", "Asia/Kathmandu", "UTC"].map(
    placeTime,
  );
  const clock = fc.integer({ min: 0, max: 1439 });
  const changes = [
    "2026-03-29T00:00:00Z",
    "2026-10-25T00:00:00Z",
    "2026-04-04T14:00:00Z",
    "2026-03-08T05:00:00Z",
  ].map(us);
  fc.assert(
    fc.property(
      fc.constantFrom(...places),
      fc.constantFrom(...changes),
      fc.integer({ min: 0, max: 300 }),
      fc.integer({ min: 0, max: 200 }),
      fc.tuple(clock, clock).filter(([a, b]) => a !== b),
      fc.subarray([...DAYS]),
      (local, change, ahead, minutes, [from, to], days) => {
        const fromUs = change - HOUR_US + ahead * MINUTE_US;
        const toUs = fromUs + minutes * MINUTE_US;
        const rule = { times: [{ from, to }], days };
        let expected = false;
        for (let at = fromUs; at <= toUs; at += MINUTE_US) {
          expected ||= overlapsDailyTime(rule, at, at, local);
        }
        assert.equal(overlapsDailyTime(rule, fromUs, toUs, local), expected);
      },
    ),
    { numRuns: 150 },
  );
});

Deno.test("readDailyTime() refuses what is no time of the day", () => {
  for (
    const text of ["", "18:00", "18:00-25:00", "24:00-01:00", "18:60-19:00", "8-9", "09:00-09:00", "a-b"]
  ) {
    assert.throws(() => readDailyTime(text), SyntaxError, text);
  }
  assert.deepEqual(readDailyTime(" 8:05 - 24:00 "), { from: 485, to: 0 });
});
