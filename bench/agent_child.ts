/**
 * Collects from ActivityWatch and delivers, in a process of its own, with the agent's own modules; prints what each took.
 * Arguments: ActivityWatch's address, the server's, how many events there are, and `paced` or `unpaced` reads.
 */

import { join } from "node:path";
import { createCollector } from "../lib/collector.ts";
import { createDeliverer } from "../lib/deliverer.ts";
import { lifelogSink } from "../lib/sinks/lifelog.ts";
import { activityWatchSource } from "../lib/sources/activitywatch.ts";
import { openDatabase } from "../lib/store/database.ts";
import { usageOf } from "./children.ts";
import { endUs, START_US } from "./corpus.ts";

const [aw, endpoint, count, pace] = Deno.args;
const events = Number(count);
const folder = await Deno.makeTempDir({ prefix: "lifelog-bench-" });
try {
  using db = openDatabase(join(folder, "cache.sqlite"));
  const source = activityWatchSource({
    url: new URL(aw!),
    ...(pace === "paced" ? {} : { sleep: () => Promise.resolve() }),
  });
  const [bucket] = await source.buckets();
  const collector = createCollector({
    db,
    source,
    filters: [],
    collectFromUs: START_US,
    trustAge: true,
    now: () => endUs(events) / 1000 + 3_600_000,
  });
  const before = usageOf("self");
  let beganMs = performance.now();
  const { cached, pages } = await collector.collect(bucket!);
  const collectMs = performance.now() - beganMs;
  const between = usageOf("self");
  const { size } = await Deno.stat(db.path);
  const sink = lifelogSink({ endpoint: new URL(endpoint!), token: "bench", deviceId: "bench" });
  beganMs = performance.now();
  const { delivered, requests } = await createDeliverer({ db, sink }).drain();
  const drainMs = performance.now() - beganMs;
  const after = usageOf("self");
  if (cached !== events || delivered !== events) {
    throw new Error(`Cannot go by these figures: ${cached} cached and ${delivered} delivered of ${events}`);
  }
  console.log(JSON.stringify({
    collectMs,
    drainMs,
    collectCpu: between.cpuSeconds - before.cpuSeconds,
    drainCpu: after.cpuSeconds - between.cpuSeconds,
    cpu: after.cpuSeconds,
    peakRssMb: after.peakRssMb,
    pages,
    requests,
    cacheBytes: size,
  }));
} finally {
  await Deno.remove(folder, { recursive: true });
}
