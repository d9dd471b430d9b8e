import assert from "node:assert/strict";
import { createMetrics } from "../../lib/metrics.ts";
import { openOtlp } from "../../lib/otlp/exporter.ts";
import { readOtlpSettings } from "../../lib/otlp/settings.ts";
import { createLook } from "../../lib/status/look.ts";
import { CANARY, makeScene, NOW_MS } from "../web/scene.ts";
import { entriesOf } from "../fakes/entries.ts";

// deno-lint-ignore no-explicit-any
type Json = any;

/** A collector that keeps what it is sent, and answers with `status`. */
function collector() {
  const got: { path: string; headers: Headers; body: Json }[] = [];
  const state = { status: 200 };
  const server = Deno.serve({ hostname: "127.0.0.1", port: 0, onListen() {} }, async (request) => {
    const { pathname } = new URL(request.url);
    got.push({ path: pathname, headers: request.headers, body: await request.json() });
    return Response.json({}, { status: state.status });
  });
  return {
    got,
    state,
    url: `http://127.0.0.1:${server.addr.port}`,
    bodies: (path: string) => got.filter((one) => one.path === path).map(({ body }) => body),
    [Symbol.asyncDispose]: () => server.shutdown(),
  };
}

const bucket = { id: "aw-watcher-window_h", type: "currentwindow", hostname: "h", created: "" } as const;
const pass = { cached: 7, filtered: 2, withdrawn: 0, revised: 0, unencodable: 0, pages: 1 };
const took = { fromMs: NOW_MS - 1500, toMs: NOW_MS };

async function open(url: string) {
  const scene = await makeScene();
  const look = createLook({
    db: scene.db,
    delivers: true,
    collectionIntervalSeconds: 60,
    sendIntervalSeconds: 300,
    now: () => NOW_MS,
  });
  const metrics = createMetrics({ version: "1.2.3", look });
  const settings = readOtlpSettings((name) =>
    ({
      OTEL_EXPORTER_OTLP_ENDPOINT: url,
      OTEL_EXPORTER_OTLP_HEADERS: "x-key=k",
      OTEL_RESOURCE_ATTRIBUTES: "a=b",
    } as Record<string, string>)[name]
  )!;
  const otlp = openOtlp({ settings, metrics, version: "1.2.3", deviceId: "dev", now: () => NOW_MS });
  return { scene, metrics, otlp };
}

/** OTLP's attributes as an object. */
const plain = (attributes: Json[]) =>
  Object.fromEntries(attributes.map(({ key, value }) => [key, Object.values(value)[0]]));

Deno.test("at the end all that was gathered goes to the collector: spans of passes, drains and their requests", async () => {
  await using server = collector();
  const { scene, otlp } = await open(server.url);
  using _scene = scene;
  otlp.observer.collected(bucket, pass, took);
  otlp.observer.collected(bucket, undefined, took);
  otlp.observer.sent(entriesOf(CANARY), { kind: "retry", reason: CANARY, status: 503 }, took);
  otlp.observer.sent(entriesOf(CANARY), { kind: "delivered" }, took);
  otlp.observer.drained({ delivered: 1, dead: 0, requests: 2 }, took);
  otlp.observer.drained({ delivered: 0, dead: 0, requests: 0 }, took);
  await otlp[Symbol.asyncDispose]();
  const [body, ...more] = server.bodies("/v1/traces");
  assert.deepEqual(more, []);
  const [{ resource, scopeSpans: [{ spans }] }] = body.resourceSpans;
  assert.deepEqual(plain(resource.attributes), {
    "service.name": "lifelog-agent",
    "service.version": "1.2.3",
    "service.instance.id": "dev",
    "a": "b",
  });
  assert.deepEqual(spans.map(({ name }: Json) => name), ["collect", "collect", "send", "send", "deliver"]);
  const [first, failed, retry, sent, deliver] = spans;
  assert.equal(plain(first.attributes)["lifelog.events.cached"], "7");
  assert.deepEqual([first.status, failed.status, retry.status.code, sent.status], [{}, { code: 2 }, 2, {}]);
  assert.equal(plain(retry.attributes)["http.response.status_code"], "503");
  for (const request of [retry, sent]) {
    assert.deepEqual([request.traceId, request.parentSpanId], [deliver.traceId, deliver.spanId]);
  }
  for (const { traceId, spanId, startTimeUnixNano, endTimeUnixNano } of spans) {
    assert.match(traceId, /^[0-9a-f]{32}$/);
    assert.match(spanId, /^[0-9a-f]{16}$/);
    assert.equal(BigInt(endTimeUnixNano) - BigInt(startTimeUnixNano), 1_500_000_000n);
  }
  assert.equal(new Set(spans.map(({ spanId }: Json) => spanId)).size, spans.length);
  for (const { headers, body } of server.got) {
    assert.equal(headers.get("x-key"), "k");
    assert.equal(headers.get("content-type"), "application/json");
    assert.ok(!JSON.stringify(body).includes(CANARY));
  }
});

Deno.test("the metrics are those of /metrics, as cumulative sums, gauges and a histogram", async () => {
  await using server = collector();
  const { scene, metrics, otlp } = await open(server.url);
  using _scene = scene;
  metrics.observer.collected(bucket, pass, took);
  for (const ms of [10, 60, 70, 60_000]) {
    metrics.observer.sent([], { kind: "delivered" }, { fromMs: NOW_MS, toMs: NOW_MS + ms });
  }
  await otlp[Symbol.asyncDispose]();
  const [body] = server.bodies("/v1/metrics");
  const list: Json[] = body.resourceMetrics[0].scopeMetrics[0].metrics;
  const metric = (name: string) => list.find((one) => one.name === `lifelog_agent_${name}`);
  const sum = metric("collected_events").sum;
  assert.deepEqual([sum.isMonotonic, sum.aggregationTemporality, sum.dataPoints[0].asDouble], [true, 2, 7]);
  assert.equal(metric("outbox_events").gauge.dataPoints.length, 3);
  assert.equal(metric("bucket_lag_seconds").unit, "s");
  assert.equal(metric("cache_size_bytes").unit, "By");
  const [point] = metric("delivery_request_duration_seconds").histogram.dataPoints;
  assert.deepEqual(point.explicitBounds, [0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30]);
  assert.deepEqual(point.bucketCounts, ["1", "2", "0", "0", "0", "0", "0", "0", "0", "1"]);
  assert.deepEqual([point.count, point.sum], ["4", 60.14]);
  const { text } = await metrics.render();
  for (const { name } of list) assert.ok(text.includes(`# TYPE ${name} `), name);
});

Deno.test("a collector that refuses or is away costs no error, and a few spans' memory", async () => {
  await using server = collector();
  server.state.status = 500;
  const { scene, otlp } = await open(server.url);
  using _scene = scene;
  for (let i = 0; i < 5000; i++) otlp.observer.collected(bucket, pass, took);
  await otlp[Symbol.asyncDispose]();
  assert.equal(server.bodies("/v1/traces")[0].resourceSpans[0].scopeSpans[0].spans.length, 2048);
  const gone = await open("http://127.0.0.1:1");
  using _gone = gone.scene;
  gone.otlp.observer.collected(bucket, undefined, took);
  await gone.otlp[Symbol.asyncDispose]();
});
