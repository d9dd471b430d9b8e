/**
 * The bare work that a collector and a deliverer cannot leave out, in a process of its own as theirs is; prints what each
 * took. Arguments: ActivityWatch's address, the server's, how many events there are, and in how many pages to read them.
 */

import { Buffer } from "node:buffer";
import { createHash } from "node:crypto";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { encodeEvent } from "../lib/encode.ts";
import { usageOf } from "./children.ts";
import { BUCKET, endUs, eventOf, START_US, STEP_US } from "./corpus.ts";

const [aw, endpoint, count, pages] = Deno.args;
const events = Number(count);
const folder = await Deno.makeTempDir({ prefix: "lifelog-bench-" });
try {
  const before = usageOf("self");
  const collectMs = await bareCollect(join(folder, "bare.sqlite"));
  const between = usageOf("self");
  const bodies = readyBodies();
  const ready = usageOf("self");
  const drainMs = await bareDrain(bodies);
  const after = usageOf("self");
  console.log(JSON.stringify({
    collectMs,
    drainMs,
    collectCpu: between.cpuSeconds - before.cpuSeconds,
    drainCpu: after.cpuSeconds - ready.cpuSeconds,
  }));
} finally {
  await Deno.remove(folder, { recursive: true });
}

/** Fetches as large pages, parses them, hashes each event's data and inserts it into a table without an index. */
async function bareCollect(path: string): Promise<number> {
  const db = new DatabaseSync(path);
  db.exec("PRAGMA journal_mode = WAL");
  db.exec("PRAGMA synchronous = NORMAL");
  db.exec("CREATE TABLE event (digest BLOB, start TEXT, duration REAL, body TEXT)");
  const insert = db.prepare("INSERT INTO event VALUES (?, ?, ?, ?)");
  const pageUs = Math.ceil(events / Number(pages)) * STEP_US;
  const beganMs = performance.now();
  for (let at = START_US; at < endUs(events); at += pageUs) {
    const query = `start=${new Date(at / 1000).toISOString()}&end=${
      new Date((at + pageUs) / 1000).toISOString()
    }`;
    const response = await fetch(`${aw}/api/0/buckets/${BUCKET.id}/events?${query}`);
    const rows = await response.json();
    db.exec("BEGIN");
    for (const { timestamp, duration, data } of rows) {
      const body = JSON.stringify(data);
      insert.run(createHash("sha256").update(body).digest(), timestamp, duration, body);
    }
    db.exec("COMMIT");
  }
  const tookMs = performance.now() - beganMs;
  db.close();
  return tookMs;
}

/** The requests' bodies, ready in memory. */
function readyBodies(): Uint8Array<ArrayBuffer>[] {
  const bodies: Uint8Array<ArrayBuffer>[] = [];
  for (let n = 0; n < events; n += 500) {
    const texts = Array.from(
      { length: Math.min(500, events - n) },
      (_, i) => encodeEvent(eventOf(n + i), BUCKET.type),
    );
    bodies.push(Buffer.from(
      `{"source_id":"bench","sent_at_timestamp_utc":"2026-01-01T00:00:00.000000+00:00","events":[${
        texts.join(",")
      }]}`,
    ));
  }
  return bodies;
}

/** Posts them one after the other. */
async function bareDrain(bodies: readonly Uint8Array<ArrayBuffer>[]): Promise<number> {
  const beganMs = performance.now();
  for (const body of bodies) {
    const response = await fetch(endpoint!, {
      method: "POST",
      headers: { "content-type": "application/json", authorization: "Bearer bench" },
      body,
    });
    await response.text();
  }
  return performance.now() - beganMs;
}
