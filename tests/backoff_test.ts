import assert from "node:assert/strict";
import fc from "fast-check";
import { backoffMs, retryAfterMs } from "../lib/backoff.ts";

const unit = fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true });

Deno.test("backoffMs() stays between 0 and the smaller of the cap and the doubled base", () => {
  fc.assert(fc.property(
    fc.nat(2000),
    fc.integer({ min: 1, max: 100_000 }),
    fc.integer({ min: 1, max: 1_000_000 }),
    unit,
    (attempt, baseMs, capMs, random) => {
      const delay = backoffMs(attempt, { baseMs, capMs, random: () => random });
      assert.ok(delay >= 0 && delay <= capMs && delay <= baseMs * 2 ** attempt);
    },
  ));
});

Deno.test("backoffMs() uses the whole range, so that devices do not come back together", () => {
  const at = (random: number) => backoffMs(3, { baseMs: 100, capMs: 1e9, random: () => random });
  assert.deepEqual([at(0), at(0.5), at(0.75)], [0, 400, 600]);
});

Deno.test("backoffMs() waits no shorter than the server asked, and little longer, whatever the cap", () => {
  fc.assert(fc.property(fc.nat(100), unit, fc.nat(10_000_000), (attempt, random, wishMs) => {
    const delay = backoffMs(attempt, { baseMs: 60_000, capMs: 1000, random: () => random }, wishMs);
    assert.ok(delay >= wishMs && delay <= wishMs + 10_000);
  }));
});

Deno.test("retryAfterMs() reads seconds and the three forms of an HTTP date", () => {
  const now = Date.UTC(1994, 10, 6, 8, 49, 7);
  assert.equal(retryAfterMs("120", now), 120_000);
  assert.equal(retryAfterMs(" 0 ", now), 0);
  assert.equal(retryAfterMs("Sun, 06 Nov 1994 08:49:37 GMT", now), 30_000);
  assert.equal(retryAfterMs("Sunday, 06-Nov-94 08:49:37 GMT", now), 30_000);
});

Deno.test("retryAfterMs() takes a date in the past for now", () => {
  assert.equal(retryAfterMs("Thu, 01 Jan 1970 00:00:00 GMT", 1), 0);
});

Deno.test("retryAfterMs() passes over what it cannot read", () => {
  for (const header of [null, "", "soon", "-5", "1.5", "1e3", "12345678901", "2026-01-01", "Xyz, 99 Foo"]) {
    assert.equal(retryAfterMs(header, 0), undefined, `${header}`);
  }
});
