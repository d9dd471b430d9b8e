import assert from "node:assert/strict";
import fc from "fast-check";
import { newestPassed, settledCount } from "../lib/settle.ts";

const NOW = 1_000_000_000;
const SETTLE = 300_000_000;
const event = (startS: number, durationSeconds: number) => ({
  startUs: NOW + startS * 1_000_000,
  durationSeconds,
  data: {},
});
const count = (events: [number, number][], newestS?: number) =>
  settledCount(events.map(([startS, seconds]) => event(startS, seconds)), {
    nowUs: NOW,
    settleUs: SETTLE,
    ...(newestS === undefined ? {} : { newestStartUs: NOW + newestS * 1_000_000 }),
  });

Deno.test("settledCount() takes all but the newest, and the newest once it ended longer ago than the settle time", () => {
  assert.equal(count([]), 0);
  assert.equal(count([[-20, 10], [-10, 10]]), 1);
  assert.equal(count([[-310, 9], [-310 + 9, 0.5]]), 2);
  assert.equal(count([[-310, 11]]), 0);
  assert.equal(count([[-310, 10]]), 1, "exactly as long ago");
});

Deno.test("settledCount() takes an event for final when a newer one is known from elsewhere", () => {
  assert.equal(count([[-20, 10]], -5), 1);
  assert.equal(count([[-20, 10]], -20), 0);
});

Deno.test("settledCount() cuts before a start, never between events of one start", () => {
  assert.equal(count([[-700, 1], [-500, 1], [-500, 400]]), 1);
  assert.equal(count([[-700, 1], [-500, 400], [-500, 1]]), 1);
});

Deno.test("settledCount() leaves what lies in the future, and is not moved by it", () => {
  assert.equal(count([[-20, 10], [50, 1]]), 0);
  assert.equal(count([[-400, 10], [50, 1]]), 1);
});

Deno.test("settledCount() never counts an event that may still be the growing one", () => {
  const events = fc.array(
    fc.tuple(fc.integer({ min: -2000, max: 100 }), fc.integer({ min: -10, max: 3000 })),
  );
  fc.assert(fc.property(events, (list) => {
    const sorted = list.sort(([a], [b]) => a - b);
    const newest = Math.max(...sorted.map(([startS]) => startS).filter((startS) => startS <= 0));
    for (const [startS, seconds] of sorted.slice(0, count(sorted))) {
      assert.ok(startS <= 0);
      assert.ok(startS < newest || startS + seconds <= -300, `${startS} ${seconds}`);
    }
  }));
});

Deno.test("newestPassed() passes over the future, and over what was seen when it was the future", () => {
  const events = [event(-30, 0), event(-10, 0), event(20, 0)];
  assert.equal(newestPassed(events, NOW), NOW - 10_000_000);
  assert.equal(newestPassed(events, NOW, new Set([NOW - 10_000_000])), NOW - 30_000_000);
  assert.equal(newestPassed([event(20, 0)], NOW), -Infinity);
});
