import assert from "node:assert/strict";
import type { Answer } from "./raw_server.ts";
import type { ReceivedEvent } from "./receiver.ts";
import { faultTable } from "./table.ts";
import { WINDOW, World } from "./world.ts";

const tell = faultTable("Events that the server does not accept (k among n = 500)");
const N = 500;
/** What the search may cost above k·log2(n) + k: the first request, and one or two that ask whether others are taken. */
const SLACK = 8;

async function worldOf(count = N): Promise<World> {
  const world = new World({ events: 0, settings: { MAX_SEND_RETRIES: "0" } });
  const firstMs = Date.now() - 10 * 3_600_000;
  for (let n = 0; n < count; n++) {
    world.activityWatch.add(WINDOW, firstMs + n * 5000, 4.25, { app: "App", title: `Title ${n}` });
  }
  await Promise.resolve();
  return world;
}

const spread = (k: number) => Array.from({ length: k }, (_, n) => Math.floor((n + 0.5) * N / k));
const inARow = (k: number) => Array.from({ length: k }, (_, n) => 300 + n);

interface Case {
  readonly name: string;
  readonly poison: readonly number[];
  readonly status: number;
  /** The server names the events. */
  readonly loc?: boolean;
}

const CASES: readonly Case[] = [
  { name: "1, without loc", poison: [321], status: 422 },
  { name: "1, the first", poison: [0], status: 422 },
  { name: "1, the last", poison: [499], status: 422 },
  { name: "10 spread, without loc", poison: spread(10), status: 422 },
  { name: "10 in a row, without loc", poison: inARow(10), status: 422 },
  { name: "1, named by loc", poison: [321], status: 422, loc: true },
  { name: "10, named by loc", poison: spread(10), status: 422, loc: true },
  { name: "1, answered with 400", poison: [123], status: 400 },
  { name: "10, answered with 400", poison: spread(10), status: 400 },
  { name: "1, answered with 409", poison: [123], status: 409 },
  { name: "1, refused with 403 by a firewall", poison: [200], status: 403 },
  { name: "all, without loc", poison: spread(N), status: 422 },
  { name: "all, named by loc", poison: spread(N), status: 422, loc: true },
];

for (const { name, poison, status, loc = false } of CASES) {
  Deno.test(`poison among 500: ${name}`, async () => {
    await using world = await worldOf();
    const bad = new Set(poison.map((n) => `Title ${n}`));
    world.receiver.fault = (events: ReceivedEvent[]): Answer | undefined => {
      const indices = events.flatMap(({ data }, index) => bad.has(String(data.title)) ? [index] : []);
      if (indices.length === 0) return undefined;
      const detail = loc
        ? indices.map((n) => ({ loc: ["body", "events", n, "data"], msg: "Input is not valid", type: "bad" }))
        : "Unprocessable";
      return { status, body: JSON.stringify({ detail }) };
    };
    const run = await world.once();
    assert.equal(run.code, 1, "what was given up is no success");
    const requests = world.receiver.requests.length;
    const k = poison.length;
    const bound = loc ? 3 : k === N ? N + 60 : k * Math.log2(N) + k + SLACK;
    assert.ok(requests <= bound, `${requests} requests of at most ${bound}`);
    assert.equal(world.dead(), k);
    assert.equal(world.waiting(), 0);
    world.assertExact(world.truth().filter((line) => bad.has(line.slice(line.indexOf("Title")))));
    assert.match(run.stderr, new RegExp(`does not accept ${k} events?:`));
    const reason = world.ask<string>("SELECT reason FROM dead_letter LIMIT 1");
    assert.match(
      reason,
      loc ? /^body\.events\.\d+\.data: Input is not valid \(bad\)$/ : new RegExp(String(status)),
    );
    assert.ok(!run.stderr.includes("Title"), "no title in the log");
    tell(name, {
      "given up": k,
      delivered: N - k,
      requests,
      "k·log2(n)+k": loc ? "-" : Math.ceil(k * Math.log2(N) + k),
      reason,
    });

    // The server was mended: all of them go where they belong.
    world.receiver.fault = undefined;
    const retried = await world.agent.command(["dead-letters", "retry", "--all"]);
    assert.match(retried.stdout, new RegExp(`^${k} dead letters? put back`));
    assert.equal((await world.once()).code, 0);
    world.assertExact();
    assert.equal(world.receiver.resent, 0);
  });
}
