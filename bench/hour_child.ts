/** An hour of the agent's life by a simulated clock, with a real cache: prints what it wrote. */

import { join } from "node:path";
import { createAgent } from "../lib/agent.ts";
import { createCollector } from "../lib/collector.ts";
import { createDeliverer } from "../lib/deliverer.ts";
import type { Source } from "../lib/event.ts";
import { createRepeatGate } from "../lib/log.ts";
import { openDatabase } from "../lib/store/database.ts";
import { BUCKET, endUs, eventOf, START_US, STEP_US } from "./corpus.ts";

const folder = await Deno.makeTempDir({ prefix: "lifelog-bench-" });
const written = () => Number(/^write_bytes: (\d+)/m.exec(Deno.readTextFileSync("/proc/self/io"))![1]);
/** Two events in three of the corpus' raster: 180 an hour. */
const numbers = Array.from({ length: 1000 }, (_, n) => 2 * n);
try {
  using db = openDatabase(join(folder, "cache.sqlite"));
  let nowMs = endUs(600) / 1000;
  const startOf = (n: number) => START_US + n * STEP_US;
  const source: Source = {
    buckets: () => Promise.resolve([BUCKET]),
    newestStartUs: () => Promise.resolve(startOf(numbers.findLast((n) => startOf(n) <= nowMs * 1000)!)),
    async *pages(_bucket, fromUs, toUs) {
      const inside = numbers.filter((n) => startOf(n) >= fromUs && startOf(n) < toUs);
      yield { fromUs, toUs, events: inside.map(eventOf) };
    },
  };
  const now = () => nowMs;
  const collector = createCollector({
    db,
    source,
    filters: [],
    collectFromUs: START_US,
    now,
    monotonicMs: now,
  });
  let delivered = 0;
  const sink = {
    send: (
      batch: readonly unknown[],
    ) => (delivered += batch.length, Promise.resolve({ kind: "delivered" as const })),
  };
  const collectOnly = { db, source, collector, repeats: createRepeatGate({ now }), now, monotonicMs: now };
  const reader = createAgent(collectOnly);
  const sender = createAgent({
    ...collectOnly,
    deliverer: createDeliverer({ db, sink, now, monotonicMs: now }),
  });
  const signal = new AbortController().signal;
  await sender.once(signal);
  let transactions = 0;
  const transaction = db.transaction.bind(db);
  db.transaction = (work) => {
    transactions++;
    return transaction(work);
  };
  const before = written();
  delivered = 0;
  for (let minute = 1; minute <= 60; minute++) {
    nowMs += 60_000;
    await (minute % 5 === 0 ? sender : reader).once(signal);
  }
  console.log(JSON.stringify({ delivered, writtenKb: (written() - before) / 1000, transactions }));
} finally {
  await Deno.remove(folder, { recursive: true });
}
