/** What compressing requests would gain. */

import { Buffer } from "node:buffer";
import { gzipSync } from "node:zlib";
import { encodeEvent } from "../lib/encode.ts";
import type { OutboxEntry } from "../lib/event.ts";
import { lifelogSink } from "../lib/sinks/lifelog.ts";
import { Receiver } from "./children.ts";
import { BUCKET, eventOf } from "./corpus.ts";
import { interleaved, median, type Report } from "./report.ts";

/** Sends the same batches plain and compressed, with the agent's own sink. */
export async function gzip(
  report: Report,
  { events, runs }: { events: number; runs: number },
): Promise<void> {
  report.heading("Compressed requests");
  await using receiver = await Receiver.start();
  const batches: OutboxEntry[][] = [];
  const utf8 = new TextEncoder();
  for (let n = 0; n < events; n += 500) {
    batches.push(Array.from({ length: Math.min(500, events - n) }, (_, i) => ({
      seq: n + i,
      body: utf8.encode(encodeEvent(eventOf(n + i), BUCKET.type)!),
    })));
  }
  const send = async (compress: boolean) => {
    const sink = lifelogSink({ endpoint: receiver.endpoint, token: "bench", deviceId: "bench", compress });
    const beganMs = performance.now();
    for (const batch of batches) {
      const { kind } = await sink.send(batch);
      if (kind !== "delivered") throw new Error(`The receiver did not take a batch: ${kind}`);
    }
    const tookMs = performance.now() - beganMs;
    return { tookMs, bytes: (await receiver.stats()).bytes };
  };
  const results = await interleaved(runs, { plain: () => send(false), compressed: () => send(true) });
  const body = Buffer.concat(batches[0]!.flatMap(({ body }) => [body, utf8.encode(",")]));
  const beganMs = performance.now();
  for (let n = 0; n < 20; n++) gzipSync(body);
  const gzipMs = (performance.now() - beganMs) / 20;
  report.text(
    "`COMPRESS_REQUESTS` is off by default, for the LifeLog server does not decode `Content-Encoding: gzip`; a proxy " +
      "before it may. Where a compressed request is refused and the same one plain is not, the agent goes on plain.",
  );
  report.table(
    ["", "bytes/event", "events/s"],
    ["plain", "compressed"].map((name) => [
      name,
      median(results[name]!.map(({ bytes }) => bytes / events)),
      median(results[name]!.map(({ tookMs }) => 1000 * events / tookMs)),
    ]),
  );
  report.text(
    `The titles of the corpus are more alike than real ones, which compress less. Compressing takes ${
      (1000 * gzipMs / 500).toFixed(1)
    } µs an event.`,
  );
}
