/** Prints how fast events are collected into the cache and delivered from it: medians of five runs. */

import { join } from "node:path";
import { createCollector } from "../lib/collector.ts";
import { createDeliverer } from "../lib/deliverer.ts";
import type { ActivityEvent, Bucket, Source } from "../lib/event.ts";
import { lifelogSink } from "../lib/sinks/lifelog.ts";
import { openDatabase } from "../lib/store/database.ts";
import { SECOND_US } from "../lib/time.ts";

const EVENTS = 50_000;
const RUNS = 5;
const PAGE = 2_000;
const START_US = Date.UTC(2026, 0, 1) * 1000;
const BUCKET: Bucket = { id: "window", type: "currentwindow", hostname: "bench", created: "" };

const events: ActivityEvent[] = Array.from({ length: EVENTS }, (_, n) => ({
  startUs: START_US + n * 10 * SECOND_US,
  durationSeconds: 9.5,
  data: { app: `App ${n % 20}`, title: `A window's title, of a usual length: ${n}` },
}));
const endUs = START_US + EVENTS * 10 * SECOND_US;

const source: Source = {
  buckets: () => Promise.resolve([BUCKET]),
  newestStartUs: () => Promise.resolve(events.at(-1)!.startUs),
  async *pages(_bucket, fromUs, toUs) {
    const pageUs = PAGE * 10 * SECOND_US;
    for (let at = fromUs; at < toUs; at += pageUs) {
      const end = Math.min(toUs, at + pageUs);
      const first = Math.max(0, Math.ceil((at - START_US) / (10 * SECOND_US)));
      const past = Math.max(0, Math.ceil((end - START_US) / (10 * SECOND_US)));
      yield { fromUs: at, toUs: end, events: events.slice(first, past) };
    }
  },
};

async function measure(run: number, folder: string, endpoint: URL) {
  using db = openDatabase(join(folder, `${run}.sqlite`));
  const now = () => endUs / 1000 + 3_600_000;
  const collector = createCollector({
    db,
    source,
    filters: [],
    collectFromUs: START_US,
    trustAge: true,
    now,
  });
  const began = performance.now();
  const { cached } = await collector.collect(BUCKET);
  const collected = performance.now();
  const sink = lifelogSink({ endpoint, token: "bench", deviceId: "bench" });
  const { delivered } = await createDeliverer({ db, sink }).drain();
  const ended = performance.now();
  if (cached !== EVENTS || delivered !== EVENTS) throw new Error(`${cached} cached, ${delivered} delivered`);
  return { collect: EVENTS / (collected - began) * 1000, deliver: EVENTS / (ended - collected) * 1000 };
}

const folder = await Deno.makeTempDir({ prefix: "lifelog-bench-" });
await using server = Deno.serve({ hostname: "127.0.0.1", port: 0, onListen() {} }, async (request) => {
  const batch = await request.json();
  return Response.json({ status: "success", received_events: batch.events.length });
});
const endpoint = new URL(`http://127.0.0.1:${server.addr.port}/api/v1/ingest`);
const results = [];
for (let run = 0; run < RUNS; run++) results.push(await measure(run, folder, endpoint));
await Deno.remove(folder, { recursive: true });

console.log(`${EVENTS} events, median of ${RUNS} runs, Deno ${Deno.version.deno}, ${Deno.build.target}`);
for (const what of ["collect", "deliver"] as const) {
  const rates = results.map((result) => result[what]).sort((a, b) => a - b);
  console.log(`${what.padEnd(8)} ${Math.round(rates[RUNS >> 1]!).toLocaleString("en").padStart(9)} events/s`);
}
