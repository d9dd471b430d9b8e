import assert from "node:assert/strict";
import fc from "fast-check";
import { createSteadyClock } from "../lib/clock.ts";

function clockOf() {
  const time = { wall: 1e12, monotonic: 0 };
  return { time, clock: createSteadyClock({ wallMs: () => time.wall, monotonicMs: () => time.monotonic }) };
}

Deno.test("a steady clock goes on while the wall clock is put back", () => {
  const { time, clock } = clockOf();
  const began = clock();
  time.wall -= 86_400_000;
  time.monotonic += 5_000;
  time.wall += 5_000;
  assert.equal(clock() - began, 5_000);
  time.monotonic += 5_000;
  time.wall += 5_000;
  assert.equal(clock() - began, 10_000);
});

Deno.test("a steady clock counts a sleep, in which only the wall clock goes on", () => {
  const { time, clock } = clockOf();
  const began = clock();
  time.wall += 8 * 3_600_000;
  assert.equal(clock() - began, 8 * 3_600_000);
  time.wall += 1000;
  time.monotonic += 1000;
  assert.equal(clock() - began, 8 * 3_600_000 + 1000);
});

Deno.test("a steady clock never goes back and never gains by small corrections of the wall clock", () => {
  fc.assert(fc.property(
    fc.array(fc.tuple(fc.nat(10_000), fc.integer({ min: -1e9, max: 1e9 })), { maxLength: 50 }),
    (steps) => {
      const { time, clock } = clockOf();
      let last = clock();
      for (const [passed, stepped] of steps) {
        time.monotonic += passed;
        time.wall += passed + stepped;
        const now = clock();
        assert.ok(now >= last + passed);
        last = now;
      }
    },
  ));
  const { time, clock } = clockOf();
  const began = clock();
  for (let n = 0; n < 1000; n++) {
    time.monotonic += 1000;
    time.wall += 1000 + (n % 2 === 0 ? 900 : -900);
    clock();
  }
  assert.equal(clock() - began, 1_000_000);
});
