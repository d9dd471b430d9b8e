import assert from "node:assert/strict";
import type { Collector } from "../lib/collector.ts";
import type { Bucket } from "../lib/event.ts";
import {
  observeAll,
  observedCollector,
  observedDeliverer,
  observedSink,
  type Observer,
} from "../lib/observer.ts";
import { entriesOf } from "./fakes/entries.ts";

const BUCKET: Bucket = { id: "b", type: "currentwindow", hostname: "h", created: "" };
const RESULT = { cached: 1, filtered: 0, withdrawn: 0, revised: 0, unencodable: 0, pages: 1 };

/** Notes the names and the outcomes of all that it is told. */
function notes() {
  const told: unknown[] = [];
  const observer: Observer = {
    collected: (_bucket, result, took) => told.push(["collected", result, took]),
    sent: (batch, { kind }, took) => told.push(["sent", batch.length, kind, took]),
    drained: (result, took) => told.push(["drained", result, took]),
  };
  return { told, observer };
}

function clock(...times: number[]): () => number {
  return () => times.shift()!;
}

Deno.test("an observer is told of passes, requests and drains, with their times, and they come out as they went in", async () => {
  const { told, observer } = notes();
  const collector = observedCollector({ collect: () => Promise.resolve(RESULT) }, observer, clock(1, 5));
  assert.equal(await collector.collect(BUCKET), RESULT);
  const sink = observedSink(
    { send: () => Promise.resolve({ kind: "delivered" }), clockAheadMs: () => 7 },
    observer,
    clock(2, 3),
  );
  assert.deepEqual(await sink.send(entriesOf("{}")), { kind: "delivered" });
  assert.equal(sink.clockAheadMs?.(), 7);
  const drain = { delivered: 1, dead: 0, requests: 1 };
  const deliverer = observedDeliverer(
    { drain: () => Promise.resolve(drain), pauseMs: () => 9 },
    observer,
    clock(4, 4),
  );
  assert.equal(await deliverer.drain(), drain);
  assert.equal(deliverer.pauseMs(), 9);
  assert.deepEqual(told, [
    ["collected", RESULT, { fromMs: 1, toMs: 5 }],
    ["sent", 1, "delivered", { fromMs: 2, toMs: 3 }],
    ["drained", drain, { fromMs: 4, toMs: 4 }],
  ]);
});

Deno.test("what fails is told without a result, and fails for the loop as before", async () => {
  const { told, observer } = notes();
  const fault = new Error("no connection");
  const collector: Collector = observedCollector(
    { collect: () => Promise.reject(fault) },
    observer,
    clock(1, 2),
  );
  await assert.rejects(() => collector.collect(BUCKET), fault);
  assert.deepEqual(told, [["collected", undefined, { fromMs: 1, toMs: 2 }]]);
});

Deno.test("an observer that throws hurts neither the loops nor the observers after it", async () => {
  const { told, observer } = notes();
  const fault = new Error("broken");
  const broken = () => {
    throw fault;
  };
  const errors: unknown[] = [];
  const all = observeAll(
    [{ collected: broken, sent: broken, drained: broken }, observer],
    (e) => errors.push(e),
  );
  const collector = observedCollector({ collect: () => Promise.resolve(RESULT) }, all, clock(1, 2));
  assert.equal(await collector.collect(BUCKET), RESULT);
  assert.equal(told.length, 1);
  assert.deepEqual(errors, [fault]);
});
