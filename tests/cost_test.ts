/** What work costs, counted and not timed: who makes it dearer shall see it here. */

import assert from "node:assert/strict";
import { join } from "node:path";
import { createCollector } from "../lib/collector.ts";
import { createDeliverer } from "../lib/deliverer.ts";
import type { ActivityEvent, Batch, Bucket, Source } from "../lib/event.ts";
import { lifelogSink } from "../lib/sinks/lifelog.ts";
import { type Database, openDatabase, type SqlValue } from "../lib/store/database.ts";
import { outboxDepth } from "../lib/store/outbox.ts";
import { SECOND_US } from "../lib/time.ts";
import { startByHand } from "./fakes/agent_by_hand.ts";

const BUCKET: Bucket = { id: "aw-watcher-window_x", type: "currentwindow", hostname: "x", created: "" };
const START_US = Date.UTC(2026, 0, 1) * 1000;
const EVENTS = 10_000;
const PAGE = 2_000;
const END_US = START_US + EVENTS * 10 * SECOND_US;

const events: ActivityEvent[] = Array.from({ length: EVENTS }, (_, n) => ({
  startUs: START_US + n * 10 * SECOND_US,
  durationSeconds: 9.5,
  data: { app: `App ${n % 20}`, title: `Window ${n}` },
}));

const source: Source = {
  buckets: () => Promise.resolve([BUCKET]),
  newestStartUs: () => Promise.resolve(events.at(-1)!.startUs),
  async *pages(_bucket, fromUs, toUs) {
    for (let at = fromUs; at < toUs; at += PAGE * 10 * SECOND_US) {
      const end = Math.min(toUs, at + PAGE * 10 * SECOND_US);
      yield {
        fromUs: at,
        toUs: end,
        events: events.filter(({ startUs }) => startUs >= at && startUs < end),
      };
    }
  },
};

/** Counts what is asked of the database from here on. */
function countOn(db: Database) {
  const counts = { reads: 0, writes: 0, rows: 0, transactions: 0 };
  const [run, get, all, lists, transaction] = [db.run, db.get, db.all, db.lists, db.transaction].map((f) =>
    f.bind(db)
  ) as [
    Database["run"],
    Database["get"],
    Database["all"],
    Database["lists"],
    Database["transaction"],
  ];
  db.run = (sql: string, ...values: SqlValue[]) => {
    const rows = run(sql, ...values);
    counts.writes++;
    counts.rows += rows;
    return rows;
  };
  db.get = <T>(sql: string, ...values: SqlValue[]) => {
    counts.reads++;
    return get<T>(sql, ...values);
  };
  db.all = <T>(sql: string, ...values: SqlValue[]) => {
    counts.reads++;
    return all<T>(sql, ...values);
  };
  db.lists = <T extends readonly SqlValue[]>(sql: string, ...values: SqlValue[]) => {
    counts.reads++;
    return lists<T>(sql, ...values);
  };
  db.transaction = <T>(work: () => T) => {
    counts.transactions++;
    return transaction(work);
  };
  return counts;
}

function collectorOn(db: Database) {
  return createCollector({
    db,
    source,
    filters: [],
    collectFromUs: START_US,
    trustAge: true,
    now: () => END_US / 1000 + 3_600_000,
  });
}

Deno.test("collecting takes one statement for many events, and one transaction a page", async () => {
  using db = openDatabase(":memory:");
  const counts = countOn(db);
  const { cached, pages } = await collectorOn(db).collect(BUCKET);
  assert.equal(cached, EVENTS);
  assert.ok(counts.transactions <= pages + 4, `${counts.transactions} transactions for ${pages} pages`);
  assert.ok(counts.writes <= EVENTS / 8, `${counts.writes} writing statements`);
  assert.ok(counts.reads <= 12 * pages + 20, `${counts.reads} reading statements`);
  // An outbox and a ledger row for each event, and little else.
  assert.ok(counts.rows >= 2 * EVENTS && counts.rows <= 2 * EVENTS + 10 * pages, `${counts.rows} rows`);
});

Deno.test("reading again what is known writes no event, and asks the database a few things a page", async () => {
  using db = openDatabase(":memory:");
  const collector = collectorOn(db);
  await collector.collect(BUCKET);
  const counts = countOn(db);
  const { cached, pages } = await collector.collect(BUCKET);
  assert.equal(cached, 0);
  assert.ok(counts.rows <= 5 * (pages + 1), `${counts.rows} rows written`);
  assert.ok(counts.reads <= 12 * (pages + 1), `${counts.reads} reading statements`);
});

Deno.test("an hour at rest writes next to nothing: a note of the time every quarter of an hour", async () => {
  const folder = await Deno.makeTempDir({ prefix: "lifelog-rest-" });
  try {
    using db = openDatabase(join(folder, "cache.sqlite"));
    let nowMs = END_US / 1000 + 3_600_000;
    const sink = { send: () => Promise.resolve({ kind: "delivered" as const }) };
    const agent = await startByHand({
      db,
      source,
      sink,
      now: () => nowMs,
      collectFromUs: START_US,
      trustAge: true,
    });
    assert.equal(outboxDepth(db), 0);
    const counts = countOn(db);
    db.get("PRAGMA wal_checkpoint(TRUNCATE)");
    for (let minute = 1; minute <= 60; minute++) {
      nowMs += 60_000;
      await agent.collect();
      if (minute % 5 === 0) await agent.deliver();
    }
    // Each time the bucket, and how both sides fare.
    assert.equal(counts.rows, 4 * 3);
    const { size } = await Deno.stat(`${db.path}-wal`);
    assert.ok(size <= 4 * 3 * 4200, `${size} bytes written`);
    await agent.stop();
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});

Deno.test("delivering takes the least requests, a few statements for each, and no bytes but the events' own", async () => {
  using db = openDatabase(":memory:");
  await collectorOn(db).collect(BUCKET);
  const ready = db.get<{ bytes: number }>("SELECT sum(octet_length(body)) AS bytes FROM outbox")!.bytes;
  const counts = countOn(db);
  let requests = 0;
  let bytes = 0;
  const sink = lifelogSink({
    endpoint: new URL("http://127.0.0.1:1/api/v1/ingest"),
    deviceId: "d",
    fetch: async (input, init) => {
      requests++;
      bytes += (await new Request(input, init).arrayBuffer()).byteLength;
      return Response.json({ status: "success" });
    },
  });
  const { delivered } = await createDeliverer({ db, sink }).drain();
  assert.equal(delivered, EVENTS);
  assert.equal(requests, EVENTS / 500);
  assert.ok(counts.transactions <= 3 * requests + 3, `${counts.transactions} transactions`);
  assert.ok(counts.writes + counts.reads <= 14 * requests + 10, `${counts.writes + counts.reads} statements`);
  // A comma for each event, and an envelope for each request.
  assert.ok(bytes <= ready + EVENTS + 200 * requests, `${bytes - ready} bytes more than the events`);
});

Deno.test("a request reads no more of the cache than it sends", async () => {
  using db = openDatabase(":memory:");
  await collectorOn(db).collect(BUCKET);
  let largest = 0;
  const get = db.get.bind(db);
  db.get = <T>(sql: string, ...values: SqlValue[]) => {
    const row = get<T>(sql, ...values);
    const bodies = Object.values(row ?? {}).filter((value) => value instanceof Uint8Array);
    largest = Math.max(largest, bodies.reduce((sum, { length }) => sum + length, 0));
    return row;
  };
  const sent: Batch[] = [];
  const sink = {
    send: (batch: Batch) => {
      sent.push(batch);
      return Promise.resolve({ kind: "delivered" as const });
    },
  };
  await createDeliverer({ db, sink, maxBatchBytes: 10_000 }).drain();
  assert.ok(sent.length > 50);
  assert.ok(
    largest > 5_000 && largest <= 10_000,
    `${largest} bytes of bodies for one request of 10,000 bytes`,
  );
});

Deno.test("the number of waiting events is told without a look at any of them", () => {
  using db = openDatabase(":memory:");
  let asked = "";
  const get = db.get.bind(db);
  db.get = <T>(sql: string, ...values: SqlValue[]) => {
    asked = sql;
    return get<T>(sql, ...values);
  };
  outboxDepth(db);
  const plan = db.all<{ detail: string }>(`EXPLAIN QUERY PLAN ${asked}`).map(({ detail }) => detail).join();
  assert.doesNotMatch(plan, /outbox/);
});
