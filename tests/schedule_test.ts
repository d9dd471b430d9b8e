import assert from "node:assert/strict";
import { startSchedule } from "../lib/schedule.ts";

/** A world with two clocks, and timers that go by the one that stands still in sleep and is never set. */
class World {
  wallMs = Date.UTC(2026, 0, 1);
  monotonicMs = 0;
  #timers: { dueMs: number; wake: () => void }[] = [];

  readonly sleep = (ms: number, { signal }: { signal?: AbortSignal | undefined } = {}): Promise<void> =>
    new Promise((resolve, reject) => {
      const timer = { dueMs: this.monotonicMs + ms, wake: resolve };
      this.#timers.push(timer);
      signal?.addEventListener("abort", () => {
        this.#timers = this.#timers.filter((other) => other !== timer);
        reject(signal.reason);
      }, { once: true });
    });

  /**
   * `Deno.cron` as it is: it waits, by a timer, for a time of the wall clock, and when the timer wakes it before that
   * time, because the clock was put back, it waits on.
   */
  readonly cron = (async (
    _name: string,
    _schedule: string,
    { signal }: { signal: AbortSignal },
    handler: () => Promise<void>,
  ) => {
    while (!signal.aborted) {
      const dueMs = (Math.floor(this.wallMs / 60_000) + 1) * 60_000;
      try {
        while (this.wallMs < dueMs) await this.sleep(dueMs - this.wallMs, { signal });
      } catch {
        return;
      }
      await handler();
    }
  }) as unknown as typeof Deno.cron;

  /** Lets time pass while the machine is awake. */
  async pass(ms: number): Promise<void> {
    const endMs = this.monotonicMs + ms;
    for (;;) {
      await settle();
      const next = this.#timers.filter(({ dueMs }) => dueMs <= endMs).sort((a, b) => a.dueMs - b.dueMs)[0];
      if (next === undefined) break;
      this.#timers = this.#timers.filter((other) => other !== next);
      const step = Math.max(0, next.dueMs - this.monotonicMs);
      this.monotonicMs += step;
      this.wallMs += step;
      next.wake();
    }
    this.wallMs += endMs - this.monotonicMs;
    this.monotonicMs = endMs;
    await settle();
  }
}

/** Lets everything that is ready run. */
async function settle(): Promise<void> {
  for (let n = 0; n < 20; n++) await Promise.resolve();
}

/** Starts a schedule and tells when it ran, in seconds that the machine was awake. */
function start(
  intervalSeconds: number,
  world = new World(),
  run: () => Promise<void> = () => Promise.resolve(),
) {
  const stop = new AbortController();
  const ranAtS: number[] = [];
  const ended = startSchedule({
    name: "test",
    intervalSeconds,
    splay: 0.25,
    signal: stop.signal,
    now: () => world.wallMs,
    monotonicMs: () => world.monotonicMs,
    sleep: world.sleep,
    cron: world.cron,
    run() {
      ranAtS.push(world.monotonicMs / 1000);
      return run();
    },
  });
  return {
    world,
    ranAtS,
    async stop() {
      stop.abort();
      await settle();
      await ended;
    },
  };
}

Deno.test("startSchedule() runs once in each interval, at the device's own moment", async () => {
  const { world, ranAtS, stop } = start(60);
  await world.pass(300_000);
  assert.deepEqual(ranAtS, [15, 75, 135, 195, 255]);
  await stop();
});

Deno.test("startSchedule() runs intervals that are shorter than a minute or divide none", async () => {
  const short = start(20);
  await short.world.pass(60_000);
  assert.deepEqual(short.ranAtS, [5, 25, 45]);
  await short.stop();
  const odd = start(90);
  await odd.world.pass(300_000);
  assert.deepEqual(
    odd.ranAtS.slice(1).map((at, n) => at - odd.ranAtS[n]!),
    Array(odd.ranAtS.length - 1).fill(90),
  );
  assert.ok(odd.ranAtS.length >= 3);
  await odd.stop();
});

Deno.test("startSchedule() makes up for a sleep, once, within a minute after the machine has come back", async () => {
  const { world, ranAtS, stop } = start(300);
  await world.pass(100_000);
  const before = ranAtS.length;
  world.wallMs += 8 * 3_600_000;
  await world.pass(60_000);
  assert.equal(ranAtS.length, before + 1);
  await stop();
});

Deno.test("startSchedule() goes on within two minutes when the clock is put back, by an hour or by ten years", async () => {
  for (const backMs of [3_600_000, 10 * 365 * 86_400_000]) {
    const { world, ranAtS, stop } = start(60);
    await world.pass(100_000);
    const before = ranAtS.length;
    world.wallMs -= backMs;
    await world.pass(120_000);
    assert.ok(ranAtS.length > before, "it does not wait for the clock to come to where it was");
    const soon = ranAtS.length;
    await world.pass(600_000);
    const more = ranAtS.length - soon;
    assert.ok(more >= 5 && more <= 11, `${more} runs in ten minutes`);
    await stop();
  }
});

Deno.test("startSchedule() runs on time when the clock leaps ahead, and not once for each turn left out", async () => {
  const { world, ranAtS, stop } = start(60);
  await world.pass(100_000);
  const before = ranAtS.length;
  world.wallMs += 30 * 86_400_000;
  await world.pass(60_000);
  assert.ok(ranAtS.length - before <= 2, `${ranAtS.length - before} runs`);
  await world.pass(300_000);
  assert.ok(ranAtS.length - before >= 5);
  await stop();
});

Deno.test("startSchedule() never runs twice at a time", async () => {
  const world = new World();
  let running = 0;
  let most = 0;
  const { ranAtS, stop } = start(60, world, async () => {
    most = Math.max(most, ++running);
    await world.sleep(200_000);
    running--;
  });
  await world.pass(1_000_000);
  assert.equal(most, 1);
  assert.ok(ranAtS.length >= 4);
  const stopped = stop();
  await world.pass(200_000);
  await stopped;
});
