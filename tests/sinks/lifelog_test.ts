import assert from "node:assert/strict";
import type { Batch, SendResult } from "../../lib/event.ts";
import { lifelogSink } from "../../lib/sinks/lifelog.ts";
import { entriesOf } from "../fakes/entries.ts";

const TEXTS = [
  '{"timestamp":"t1","type":"a","data":{"title":"ü \\u2028"}}',
  '{"timestamp":"t2","type":"b","data":{"n":2.0}}',
];
const BATCH = entriesOf(...TEXTS);
const OK = {
  status: "success",
  source_id: "d",
  received_events: 2,
  ingestion_timestamp: "2026-01-01T00:00:00",
};

async function send(response: Response | Error, batch: Batch = BATCH): Promise<SendResult> {
  const sink = lifelogSink({
    endpoint: new URL("https://lifelog.test/api/v1/ingest"),
    token: "t",
    deviceId: "d",
    fetch: () => response instanceof Error ? Promise.reject(response) : Promise.resolve(response),
  });
  return await sink.send(batch);
}

const json = (body: unknown, init?: ResponseInit) => Response.json(body, init);

Deno.test("send() puts the stored texts into the envelope as they are, and sends it as the contract has it", async () => {
  const requests: Request[] = [];
  const sink = lifelogSink({
    endpoint: new URL("http://127.0.0.1:1/api/v1/ingest"),
    token: "secret",
    deviceId: 'my "device"',
    now: () => Date.UTC(2026, 0, 2, 3, 4, 5, 678),
    fetch: (input, init) => {
      requests.push(new Request(input, init));
      return Promise.resolve(json(OK));
    },
  });
  assert.deepEqual(await sink.send(BATCH), { kind: "delivered" });
  const [request] = requests;
  assert.equal(request!.method, "POST");
  assert.equal(request!.redirect, "manual");
  assert.equal(request!.headers.get("content-type"), "application/json");
  assert.equal(request!.headers.get("authorization"), "Bearer secret");
  assert.equal(request!.headers.get("content-encoding"), null);
  assert.equal(
    await request!.text(),
    '{"source_id":"my \\"device\\"","sent_at_timestamp_utc":"2026-01-02T03:04:05.678000+00:00","events":[' +
      `${TEXTS.join(",")}]}`,
  );
});

Deno.test("send() takes for delivered what the server confirms, and nothing that only looks like it", async () => {
  assert.equal((await send(json(OK))).kind, "delivered");
  assert.equal((await send(json({ status: "success" }))).kind, "delivered");
  assert.equal((await send(json(OK, { status: 202 }))).kind, "delivered");
  for (
    const answer of [
      new Response("<html>Log in to the hotel's network</html>"),
      new Response(""),
      new Response(null, { status: 204 }),
      json({}),
      json([]),
      json({ status: "error" }),
      json({ ...OK, received_events: 1 }),
    ]
  ) assert.equal((await send(answer)).kind, "retry");
});

Deno.test("send() tells what an answer means for the batch", async () => {
  const kinds: [number, SendResult["kind"]][] = [
    [302, "refused"],
    [400, "rejected"],
    [401, "refused"],
    [403, "refused"],
    [404, "refused"],
    [407, "refused"],
    [408, "retry"],
    [413, "too-large"],
    [422, "rejected"],
    [425, "retry"],
    [429, "retry"],
    [500, "retry"],
    [502, "retry"],
    [503, "retry"],
    [504, "retry"],
  ];
  for (const [status, kind] of kinds) {
    const result = await send(new Response("<h1>No</h1>", { status }));
    assert.equal(result.kind, kind, `${status}`);
    assert.equal((result as { status?: number }).status, status);
    assert.match((result as { reason: string }).reason, new RegExp(`${status}`));
    if (result.kind === "refused") assert.match(result.hint, /Check|Set/);
  }
});

Deno.test("send() reads which events are at fault, and keeps nothing of their input", async () => {
  const detail = [
    {
      loc: ["body", "events", 1, "timestamp"],
      msg: "Input should be valid",
      type: "datetime",
      input: "SECRET",
    },
    { loc: ["body", "events", 1, "type"], msg: "again", type: "x" },
    { loc: ["body", "events", 7, "type"], msg: "there is no such event", type: "x" },
  ];
  const result = await send(json({ detail }, { status: 422 }));
  assert.equal(result.kind, "rejected");
  if (result.kind !== "rejected") return;
  assert.deepEqual(result.indices, [1]);
  assert.equal(result.reasons!.get(1), "body.events.1.timestamp: Input should be valid (datetime)");
  assert.ok(!Deno.inspect(result, { depth: 9 }).includes("SECRET"));

  const envelope = await send(json({ detail: [{ loc: ["body", "source_id"], msg: "no" }] }, { status: 422 }));
  assert.equal(envelope.kind, "refused", "No event is at fault where the envelope is");
  const many = await send(
    json({ detail: [{ loc: ["body", "events"], msg: "", type: "too_long" }] }, { status: 422 }),
  );
  assert.equal(many.kind, "too-large");
});

Deno.test("send() reads Retry-After, in seconds or as a date by the server's own clock", async () => {
  const wait = async (headers: Record<string, string>) =>
    (await send(new Response(null, { status: 503, headers })) as { retryAfterMs?: number }).retryAfterMs;
  assert.equal(await wait({ "retry-after": "120" }), 120_000);
  assert.equal(await wait({}), undefined);
  const dates = { date: "Sun, 01 Mar 2020 00:00:00 GMT", "retry-after": "Sun, 01 Mar 2020 00:02:00 GMT" };
  const ms = await wait(dates);
  assert.ok(ms !== undefined && ms >= 115_000 && ms <= 120_000, `${ms}`);
});

Deno.test("send() tries again after any fault of the connection, and says nothing of the address", async () => {
  for (
    const text of [
      "Connection refused (os error 111)",
      "dns error",
      "connection reset",
      "invalid peer certificate",
    ]
  ) {
    const result = await send(
      new TypeError(`error sending request for url (https://lifelog.test/): ${text}`),
    );
    assert.equal(result.kind, "retry");
    assert.ok(!(result as { reason: string }).reason.includes("lifelog.test"));
  }
});

Deno.test("send() gives up when its signal is aborted", async () => {
  const stop = new AbortController();
  const sink = lifelogSink({
    endpoint: new URL("https://lifelog.test/"),
    deviceId: "d",
    fetch: (input, init) => {
      const { signal } = new Request(input, init);
      queueMicrotask(() => stop.abort());
      return new Promise((_, reject) => signal.addEventListener("abort", () => reject(signal.reason)));
    },
  });
  await assert.rejects(sink.send(BATCH, { signal: stop.signal }), { name: "AbortError" });
});

Deno.test("send() compresses where it is told to, and goes on plain where the server does not decode it", async () => {
  const sent: (string | null)[] = [];
  let decodes = true;
  const sink = lifelogSink({
    endpoint: new URL("http://127.0.0.1:1/api/v1/ingest"),
    deviceId: "d",
    compress: true,
    fetch: async (input, init) => {
      const request = new Request(input, init);
      const encoding = request.headers.get("content-encoding");
      sent.push(encoding);
      if (encoding === null) return json(OK);
      const text = await new Response(request.body!.pipeThrough(new DecompressionStream("gzip"))).text();
      assert.equal(JSON.parse(text).events.length, 2);
      return decodes
        ? json(OK)
        : json({ detail: [{ loc: ["body", 0], msg: "JSON decode error" }] }, { status: 422 });
    },
  });
  assert.deepEqual(await sink.send(BATCH), { kind: "delivered" });
  decodes = false;
  // No event is judged by an answer to what the server could not read.
  assert.deepEqual(await sink.send(BATCH), { kind: "delivered" });
  assert.deepEqual(await sink.send(BATCH), { kind: "delivered" });
  assert.deepEqual(sent, ["gzip", "gzip", null, null]);
});

Deno.test("send() goes on compressed where the server finds the same fault with the plain request", async () => {
  const sent: (string | null)[] = [];
  const sink = lifelogSink({
    endpoint: new URL("http://127.0.0.1:1/api/v1/ingest"),
    deviceId: "d",
    compress: true,
    fetch: (input, init) => {
      sent.push(new Request(input, init).headers.get("content-encoding"));
      return Promise.resolve(json({ detail: [{ loc: ["body", "events", 1], msg: "bad" }] }, { status: 422 }));
    },
  });
  for (let n = 0; n < 2; n++) assert.equal((await sink.send(BATCH)).kind, "rejected");
  assert.deepEqual(sent, ["gzip", null, "gzip", null]);
});
