import assert from "node:assert/strict";
import fc from "fast-check";
import { formatTimeUs, parseTimeUs, sleep, timeLimit } from "../lib/time.ts";

Deno.test("parseTimeUs() reads what both ActivityWatch servers write: no, three, six or nine digits, Z or an offset", () => {
  const base = Date.UTC(2026, 2, 29, 1, 30) * 1000;
  for (
    const [text, us] of [
      ["2026-03-29T01:30:00Z", 0],
      ["2026-03-29T01:30:00+00:00", 0],
      ["2026-03-29 01:30:00+00:00", 0],
      ["2026-03-29T01:30:00.5Z", 500_000],
      ["2026-03-29T01:30:00.123Z", 123_000],
      ["2026-03-29T01:30:00.123456+00:00", 123_456],
      ["2026-03-29T01:30:00.123456789Z", 123_456],
      ["2026-03-29T01:30:00.999999999Z", 999_999],
      ["2026-03-29T03:30:00.000001+02:00", 1],
      ["2026-03-28T20:00:00-05:30", 0],
    ] as const
  ) assert.equal(parseTimeUs(text), base + us, text);
});

Deno.test("parseTimeUs() takes nothing that is not a whole time with an offset", () => {
  for (
    const text of [
      "",
      "2026-03-29",
      "2026-03-29T01:30Z",
      "2026-03-29T01:30:00",
      "2026-13-29T01:30:00Z",
      "2026-03-29T25:30:00Z",
      "2026-03-29T01:30:00.1234567890Z",
      "2026-03-29T01:30:00 00:00",
      "+12026-03-29T01:30:00Z",
      "now",
    ]
  ) assert.equal(parseTimeUs(text), undefined, text);
});

Deno.test("parseTimeUs() reads a time alike whatever day it read before", () => {
  const day = Date.UTC(2026, 2, 29) * 1000;
  const time = fc.record({
    us: fc.integer({ min: 0, max: 86_400_000_000 - 1 }),
    end: fc.constantFrom("Z", "+00:00", "+02:00", "-00:30", "", "X"),
    spoilt: fc.option(
      fc.record({ at: fc.integer({ min: 0, max: 25 }), by: fc.constantFrom("9", "x", " ", "-", "٣") }),
    ),
  });
  fc.assert(
    fc.property(time, ({ us, end, spoilt }) => {
      let text = formatTimeUs(day + us).replace("+00:00", "");
      if (spoilt !== null) text = text.slice(0, spoilt.at) + spoilt.by + text.slice(spoilt.at + 1);
      text += end;
      parseTimeUs("2000-01-01T00:00:00.000000Z");
      const afterAnother = parseTimeUs(text);
      parseTimeUs("2026-03-29T12:00:00.000000Z");
      assert.equal(parseTimeUs(text), afterAnother, text);
      if (spoilt === null && end === "Z") assert.equal(afterAnother, day + us);
    }),
    { numRuns: 2000 },
  );
  assert.equal(parseTimeUs("2026-03-29T24:00:00.000000Z"), day + 86_400_000_000);
});

Deno.test("formatTimeUs() writes six digits always, and parseTimeUs() reads the same microsecond", () => {
  assert.equal(formatTimeUs(0), "1970-01-01T00:00:00.000000+00:00");
  assert.equal(formatTimeUs(-1), "1969-12-31T23:59:59.999999+00:00");
  fc.assert(fc.property(fc.integer({ min: 0, max: 4_000_000_000_000_000 }), (us) => {
    const text = formatTimeUs(us);
    assert.match(text, /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}\+00:00$/);
    assert.equal(parseTimeUs(text), us);
  }));
});

Deno.test("sleep() ends at once when it is aborted, before or meanwhile, with the signal's reason", async () => {
  await assert.rejects(sleep(60_000, { signal: AbortSignal.abort(new Error("before")) }), /before/);
  const stop = new AbortController();
  const slept = sleep(60_000, { signal: stop.signal });
  stop.abort(new Error("meanwhile"));
  await assert.rejects(slept, /meanwhile/);
  await sleep(0, { signal: new AbortController().signal });
});

Deno.test("timeLimit() aborts when its time is over, or with the other signal, and once it is disposed of, no more", async () => {
  {
    using limit = timeLimit(1);
    await new Promise((resolve) => limit.signal.addEventListener("abort", resolve));
    assert.ok(limit.isOver());
    assert.equal(limit.signal.reason.name, "TimeoutError");
  }
  const outer = new AbortController();
  const done = timeLimit(60_000, outer.signal);
  done[Symbol.dispose]();
  using limit = timeLimit(60_000, outer.signal);
  outer.abort("stop");
  assert.deepEqual([limit.signal.reason, limit.isOver()], ["stop", false]);
  assert.equal(done.signal.aborted, false);
  using late = timeLimit(60_000, outer.signal);
  assert.equal(late.signal.reason, "stop");
});
