import assert from "node:assert/strict";
import { CANARY, makeScene, NOW_MS, type Scene, serveScene } from "./scene.ts";
import { outboxDepth } from "../../lib/store/outbox.ts";
import { addSamples, samplesSince } from "../../lib/store/samples.ts";
import { readOrCreateWebToken, webTokenFile } from "../../lib/web/token.ts";
import { entriesOf } from "../fakes/entries.ts";

const tokenOf = ({ db }: Scene) => readOrCreateWebToken(webTokenFile(db.path));

Deno.test("the server answers over its socket with health, metrics, page and figures", async () => {
  using scene = await makeScene();
  await using web = serveScene(scene).web;
  const get = async (path: string) => {
    const headers = { authorization: `Bearer ${tokenOf(scene)}` };
    const response = await fetch(`http://127.0.0.1:${web.port}${path}`, { headers });
    return {
      status: response.status,
      type: response.headers.get("content-type"),
      text: await response.text(),
    };
  };
  assert.equal((await get("/healthz")).text, "ok\n");
  assert.equal((await get("/readyz")).text, "degraded\n");
  for (
    const path of [
      "/",
      "/app.js",
      "/lanes.js",
      "/charts.js",
      "/dom.js",
      "/words.js",
      "/uplot.js",
      "/style.css",
    ]
  ) {
    const { status, text } = await get(path);
    assert.equal(status, 200, path);
    assert.ok(text.length > 100, path);
  }
  const state = JSON.parse((await get("/board/state")).text);
  assert.equal(state.report.outbox.events, outboxDepth(scene.db));
  assert.equal(state.verdict.level, "degraded");
  assert.ok(JSON.parse((await get("/board/history")).text).atMs.length > 2000);
  const timeline = (await get("/board/timeline")).text;
  assert.ok(timeline.includes(CANARY));
});

Deno.test("the metrics are OpenMetrics, count what is told, and hold nothing of any event", async () => {
  using scene = await makeScene();
  const served = serveScene(scene);
  await using web = served.web;
  const { observer } = served.metrics;
  const took = { fromMs: 0, toMs: 1500 };
  const bucket = { id: "b", type: "currentwindow", hostname: "h", created: "" } as const;
  const result = { cached: 7, filtered: 2, withdrawn: 1, revised: 0, unencodable: 0, pages: 1 };
  observer.collected(bucket, result, took);
  observer.collected(bucket, undefined, took);
  observer.sent(entriesOf(CANARY, CANARY), { kind: "delivered" }, took);
  observer.sent(entriesOf(CANARY), { kind: "retry", reason: CANARY }, took);
  observer.drained({ delivered: 2, dead: 1, requests: 2 }, took);
  observer.drained(undefined, took);
  const response = await fetch(`http://127.0.0.1:${web.port}/metrics`, {
    headers: { authorization: `Bearer ${tokenOf(scene)}` },
  });
  assert.match(response.headers.get("content-type")!, /^application\/openmetrics-text; version=1\.0\.0/);
  const text = await response.text();
  for (
    const line of [
      'lifelog_agent_collected_events_total{type="currentwindow"} 7',
      'lifelog_agent_filtered_events_total{type="currentwindow"} 2',
      'lifelog_agent_collection_passes_total{type="currentwindow",outcome="failed"} 1',
      "lifelog_agent_delivered_events_total 2",
      "lifelog_agent_dead_letter_events_total 1",
      'lifelog_agent_delivery_requests_total{outcome="retry"} 1',
      "lifelog_agent_delivery_request_duration_seconds_sum 3",
      'lifelog_agent_outbox_events{bucket="aw-watcher-afk_laptop"} 0',
      "lifelog_agent_dead_letters 3",
      'lifelog_agent_level{level="degraded"} 1',
    ]
  ) assert.ok(text.includes(`\n${line}\n`), line);
  assert.ok(text.endsWith("# EOF\n"));
  assert.ok(!text.includes(CANARY));
  // A name's samples stand together behind one TYPE line, counters end in _total, and every name has its unit.
  const types = [...text.matchAll(/^# TYPE (\S+) (\S+)$/gm)];
  assert.equal(new Set(types.map(([, name]) => name)).size, types.length);
  for (const [, name, type] of types) {
    assert.match(name!, /^lifelog_agent_[a-z_]+$/);
    const samples = [...text.matchAll(new RegExp(`^(${name}\\w*)(?:\\{| )`, "gm"))].map(([, sample]) =>
      sample!
    );
    if (type === "counter") { for (const sample of samples) assert.equal(sample, `${name}_total`); }
  }
});

Deno.test("a port that another has is said at the start and hurts nobody", async () => {
  using scene = await makeScene();
  await using taken = serveScene(scene).web;
  assert.throws(() => serveScene(scene, { port: taken.port }), Deno.errors.AddrInUse);
});

Deno.test("the server listens on 127.0.0.1 and on no other address of the device", async () => {
  using scene = await makeScene();
  await using web = serveScene(scene).web;
  await assert.rejects(() => fetch(`http://127.0.0.2:${web.port}/healthz`));
});

Deno.test("samples are kept for two days, and those of a clock that ran ahead are forgotten", async () => {
  using scene = await makeScene();
  const { db } = scene;
  const hour = 3_600_000;
  const sample = (atMs: number) => addSamples(db, [{ atMs, waiting: 1, dead: 0, lagMs: null }]);
  sample(NOW_MS + 100 * hour);
  assert.equal(samplesSince(db, 0).length, 1);
  sample(NOW_MS);
  sample(NOW_MS + hour);
  sample(NOW_MS + 2 * hour);
  assert.deepEqual(samplesSince(db, NOW_MS + hour).map(({ atMs }) => atMs), [
    NOW_MS + hour,
    NOW_MS + 2 * hour,
  ]);
  sample(NOW_MS + 49 * hour);
  assert.equal(samplesSince(db, 0).length, 3);
});

Deno.test("all dead letters go back to the queue at once, but for those that have no form at the server", async () => {
  using scene = await makeScene();
  const { db } = scene;
  db.run("UPDATE dead_letter SET status = NULL WHERE seq = (SELECT min(seq) FROM dead_letter)");
  await using web = serveScene(scene).web;
  const waiting = outboxDepth(db);
  const response = await fetch(`http://127.0.0.1:${web.port}/board/dead-letters/retry`, {
    method: "POST",
    headers: { authorization: `Bearer ${tokenOf(scene)}` },
    body: JSON.stringify({ seqs: "all" }),
  });
  assert.deepEqual(await response.json(), { put: 2 });
  assert.equal(outboxDepth(db), waiting + 2);
});

Deno.test("an answer that hangs holds the end up for a second, and no longer", async () => {
  using scene = await makeScene();
  const asked = Promise.withResolvers<void>();
  const hung = {
    ...scene.source,
    // deno-lint-ignore require-yield
    async *pages() {
      asked.resolve();
      await new Promise(() => {});
    },
  };
  const { web } = serveScene({ ...scene, source: hung, [Symbol.dispose]() {} });
  const answer = fetch(`http://127.0.0.1:${web.port}/board/timeline`, {
    headers: { authorization: `Bearer ${tokenOf(scene)}` },
  }).then((response) => response.text());
  await asked.promise;
  await Promise.all([web[Symbol.asyncDispose](), assert.rejects(answer)]);
});
