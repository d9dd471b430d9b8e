/** Hours of the agent's life by a simulated clock, with a real cache: prints what it wrote in use, then at rest. */

import { join } from "node:path";
import type { Source } from "../lib/event.ts";
import { openDatabase } from "../lib/store/database.ts";
import { startByHand } from "../tests/fakes/agent_by_hand.ts";
import { BUCKET, endUs, eventOf, START_US, STEP_US } from "./corpus.ts";

const folder = await Deno.makeTempDir({ prefix: "lifelog-bench-" });
const written = () => Number(/^write_bytes: (\d+)/m.exec(Deno.readTextFileSync("/proc/self/io"))![1]);
/** Two events in three of the corpus' raster: 180 an hour. */
const numbers = Array.from({ length: 1000 }, (_, n) => 2 * n);
try {
  using db = openDatabase(join(folder, "cache.sqlite"));
  let nowMs = endUs(600) / 1000;
  const startOf = (n: number) => START_US + n * STEP_US;
  /** When the watchers fall silent. */
  let silentMs = Infinity;
  const recordedMs = () => Math.min(nowMs, silentMs);
  const had = () => numbers.filter((n) => startOf(n) <= recordedMs() * 1000);
  const source: Source = {
    buckets: () => Promise.resolve([BUCKET]),
    newestStartUs: () => Promise.resolve(startOf(had().at(-1)!)),
    async *pages(_bucket, fromUs, toUs) {
      const events = had().map(eventOf);
      // The newest grows with each heartbeat.
      const newest = events.pop()!;
      events.push({ ...newest, durationSeconds: recordedMs() / 1000 - newest.startUs / 1e6 });
      yield { fromUs, toUs, events: events.filter(({ startUs }) => startUs >= fromUs && startUs < toUs) };
    },
  };
  let delivered = 0;
  const sink = {
    send: (
      batch: readonly unknown[],
    ) => (delivered += batch.length, Promise.resolve({ kind: "delivered" as const })),
  };
  const agent = await startByHand({ db, source, sink, now: () => nowMs, collectFromUs: START_US });
  let transactions = 0;
  const transaction = db.transaction.bind(db);
  db.transaction = (work) => {
    transactions++;
    return transaction(work);
  };
  const live = async (minutes: number) => {
    const before = written();
    delivered = 0;
    transactions = 0;
    for (let minute = 1; minute <= minutes; minute++) {
      nowMs += 60_000;
      await agent.collect();
      if (minute % 5 === 0) await agent.deliver();
    }
    return { delivered, writtenKb: (written() - before) / 1000, transactions };
  };
  const inUse = await live(60);
  silentMs = nowMs;
  // The newest event is taken once it can no longer grow.
  await live(15);
  const atRest = await live(60);
  console.log(JSON.stringify({ inUse, atRest }));
  await agent.stop();
} finally {
  await Deno.remove(folder, { recursive: true });
}
