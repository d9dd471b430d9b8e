import assert from "node:assert/strict";
import { faultTable } from "./table.ts";
import { FULL, World } from "./world.ts";

const tell = faultTable("The agent is killed");
const KILLS = FULL ? 200 : 20;

Deno.test(`kill -9 at ${KILLS} random moments of one history loses nothing and repeats nothing`, async () => {
  await using world = new World({
    events: 300,
    settings: {
      COLLECTION_INTERVAL_SECONDS: "1",
      BATCH_SEND_INTERVAL_SECONDS: "1",
      MAX_BATCH_SIZE: "9",
      MAX_SEND_RETRIES: "5",
    },
  });
  let lost = 0;
  world.receiver.fault = () => {
    if (Math.random() < 0.1) {
      lost++;
      return "lost";
    }
    return undefined;
  };
  // Each answer takes a moment, so that kills come between a request and its answer too.
  const moment = (mostMs: number) => new Promise((resolve) => setTimeout(resolve, Math.random() * mostMs));
  world.receiver.rest = () => moment(60);
  world.activityWatch.instead = async () => void await moment(6);
  let withWaiting = 0;
  let whileSending = 0;
  for (let kill = 0; kill < KILLS; kill++) {
    world.record(60);
    const before = world.receiver.requests.length;
    const daemon = world.agent.daemon();
    await new Promise((resolve) => setTimeout(resolve, 60 + Math.random() * 1000));
    const { code } = await daemon.stop("SIGKILL");
    assert.notEqual(code, 0, "it did not end by itself");
    if (world.receiver.requests.length > before) whileSending++;
    try {
      if (world.waiting() > 0) withWaiting++;
    } catch { /* killed before it had made its cache */ }
  }
  world.receiver.fault = undefined;
  world.receiver.rest = undefined;
  const last = await world.once();
  assert.equal(last.code, 0, last.stderr);
  world.assertExact();
  assert.equal(world.dead(), 0);
  assert.equal(world.ask("PRAGMA integrity_check"), "ok");
  tell(`kill -9, ${KILLS} times`, {
    events: world.truth().length,
    "killed with events waiting": withWaiting,
    "killed after it had begun to send": whileSending,
    "answers lost": lost,
    "sent again, same bytes": world.receiver.resent,
    afterwards: "exact",
  });
  assert.ok(withWaiting > 0 && whileSending > 0, "the moments were not all before the work began");
});

Deno.test("a second agent on the same cache says so and leaves with 4, and the first goes on", async () => {
  await using world = new World({ events: 20, settings: { COLLECTION_INTERVAL_SECONDS: "1" } });
  const first = world.agent.daemon();
  try {
    const begin = performance.now();
    while (world.receiver.events.length === 0 && performance.now() - begin < 15_000) {
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
    for (const args of [["--once"], []]) {
      const second = await world.agent.command(args);
      assert.equal(second.code, 4);
      assert.match(second.stderr, /Another lifelog-agent already works on this cache/);
    }
  } finally {
    const { code } = await first.stop();
    assert.equal(code, 0);
  }
  // What may still have grown while the first agent ran is final to one that runs once.
  assert.equal((await world.once()).code, 0);
  world.assertExact();
  tell("two agents at once", { events: 20, afterwards: "exact; the second leaves with exit code 4" });
});
