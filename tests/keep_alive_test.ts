/** That connections are used again: each new one costs the server a handshake, and the device a few milliseconds. */

import assert from "node:assert/strict";
import { createDeliverer } from "../lib/deliverer.ts";
import type { Bucket } from "../lib/event.ts";
import { lifelogSink } from "../lib/sinks/lifelog.ts";
import { activityWatchSource } from "../lib/sources/activitywatch.ts";
import { ensureBucket } from "../lib/store/cursors.ts";
import { openDatabase } from "../lib/store/database.ts";
import { addToOutbox } from "../lib/store/outbox.ts";
import { createTransport } from "../lib/transport.ts";
import { FakeActivityWatch } from "./fakes/activitywatch.ts";

const NOON_MS = Date.UTC(2026, 2, 10, 12);
const HOUR_MS = 3_600_000;
const BUCKET: Bucket = { id: "aw-watcher-window_x", type: "currentwindow", hostname: "x", created: "" };

/** Serves on a port of its own, and tells from how many connections how many requests came. */
function serve(answer: (request: Request, number: number) => Response | Promise<Response>) {
  const connections = new Set<number>();
  let requests = 0;
  const server = Deno.serve({ hostname: "127.0.0.1", port: 0, onListen() {} }, (request, { remoteAddr }) => {
    connections.add((remoteAddr as Deno.NetAddr).port);
    return answer(request, ++requests);
  });
  return {
    url: new URL(`http://127.0.0.1:${server.addr.port}`),
    counts: () => ({ connections: connections.size, requests }),
    [Symbol.asyncDispose]: () => server[Symbol.asyncDispose](),
  };
}

Deno.test("a backfill, polls and looks at buckets come to ActivityWatch over one connection, also after errors", async () => {
  const aw = new FakeActivityWatch();
  aw.addBucket(BUCKET.id, BUCKET.type, NOON_MS);
  aw.insert(
    BUCKET.id,
    Array.from({ length: 2000 }, (_, n) => ({
      startNs: BigInt(NOON_MS + n * 60_000) * 1_000_000n,
      durationSeconds: 60,
      data: { app: "A", title: `${n}` },
    })),
  );
  let broken: Response | undefined;
  await using server = serve((request) => {
    const answer = broken ?? aw.answer(request);
    broken = undefined;
    return answer;
  });
  using transport = createTransport(server.url);
  const source = activityWatchSource({ url: server.url, fetch: transport, sleep: () => Promise.resolve() });
  const read = async (fromMs: number, toMs: number) => {
    let count = 0;
    for await (const page of source.pages(BUCKET, fromMs * 1000, toMs * 1000)) count += page.events.length;
    return count;
  };
  await source.buckets();
  assert.equal(await read(NOON_MS, NOON_MS + 40 * HOUR_MS), 2000);
  const long = "There is a long page about it. ".repeat(2000);
  for (
    const answer of [
      new Response(long, { status: 500 }),
      new Response(long, { status: 404 }),
      new Response(null, { status: 503 }),
      new Response(long),
      Response.json([{ id: "none" }]),
    ]
  ) {
    broken = answer;
    await assert.rejects(read(NOON_MS, NOON_MS + HOUR_MS), { name: "SourceError" });
    assert.equal(await read(NOON_MS, NOON_MS + HOUR_MS), 60);
  }
  for (let poll = 0; poll < 10; poll++) await source.newestStartUs(BUCKET);
  const { requests, connections } = server.counts();
  assert.ok(requests > 30, `${requests} requests`);
  assert.equal(connections, 1);
});

Deno.test("drains come to the server over one connection, also after answers that are no success", async () => {
  using db = openDatabase(":memory:");
  const { id } = ensureBucket(db, BUCKET);
  const body = (n: number) =>
    `{"timestamp":"2026-01-01T00:00:00.000000+00:00","type":"desktop_activity.window","data":{"app":"${n}"}}`;
  db.transaction(() => {
    for (let n = 0; n < 200; n++) {
      addToOutbox(db, id, { startUs: n, digest: new Uint8Array([n]), durationSeconds: 1 }, body(n), 0);
    }
  });
  const long = "There is a long page about it. ".repeat(2000);
  const answers = [
    () => new Response(long, { status: 503 }),
    () => new Response(null, { status: 500 }),
    () => new Response(long, { status: 401 }),
    () => new Response(long, { status: 200 }),
    () => Response.json({ detail: "no" }, { status: 422 }),
    () => new Response(long, { status: 429, headers: { "retry-after": "1" } }),
  ];
  await using server = serve(async (request, number) => {
    const { events } = await request.json();
    if (number % 3 === 2) return answers[(number - 2) / 3]?.() ?? Response.json({ status: "success" });
    return Response.json({ status: "success", received_events: events.length });
  });
  using transport = createTransport(server.url);
  const sink = lifelogSink({ endpoint: server.url, token: "t", deviceId: "d", fetch: transport });
  let nowMs = 0;
  const deliverer = createDeliverer({
    db,
    sink,
    maxBatchSize: 5,
    maxRetries: 0,
    now: () => nowMs,
    monotonicMs: () => nowMs,
    sleep: () => Promise.resolve(),
  });
  let delivered = 0;
  for (let drain = 0; delivered < 200 && drain < 50; drain++) {
    delivered += (await deliverer.drain()).delivered;
    nowMs += HOUR_MS;
  }
  assert.equal(delivered, 200);
  const { requests, connections } = server.counts();
  assert.ok(requests > 40, `${requests} requests`);
  assert.equal(connections, 1);
});
