import assert from "node:assert/strict";
import fc from "fast-check";
import { lifelogSink } from "../../lib/sinks/lifelog.ts";
import { anyText, CANARY, mutated } from "./hostile.ts";
import { entriesOf } from "../fakes/entries.ts";

const TEXT = `{"title":"${CANARY}"}`;
const BATCH = entriesOf(TEXT, TEXT, TEXT);
const SUCCESS = {
  status: "success",
  source_id: "d",
  received_events: 3,
  ingestion_timestamp: "2026-01-01T00:00:00Z",
};
const REJECTION = {
  detail: [{ loc: ["body", "events", 1, "data"], msg: "Field required", type: "missing", input: CANARY }],
};
const anyAnswer = fc.record({
  status: fc.oneof(
    fc.constantFrom(200, 201, 204, 307, 400, 401, 408, 413, 422, 429, 500, 503),
    fc.integer({ min: 200, max: 599 }),
  ),
  text: fc.oneof(
    mutated(SUCCESS).map((value) => JSON.stringify(value) ?? ""),
    mutated(REJECTION).map((value) => JSON.stringify(value) ?? ""),
    anyText,
  ),
  retryAfter: fc.oneof(
    fc.constantFrom("", "-1", "1e9", "99999999999999999999", "Fri, 31 Dec 9999 23:59:59 GMT", "NaN", "0x10"),
    fc.string().map((text) => text.replace(/[^\x20-\x7e]/g, "?").trim()),
  ),
  date: fc.constantFrom("", "yesterday", "Thu, 01 Jan 1970 00:00:00 GMT"),
});

Deno.test("whatever the server answers, it is delivered, tried again, refused or rejected, and nothing is thrown", async () => {
  const kinds = new Set<string>();
  await fc.assert(
    fc.asyncProperty(anyAnswer, async ({ status, text, retryAfter, date }) => {
      const sink = lifelogSink({
        endpoint: new URL("https://lifelog.invalid/ingest"),
        deviceId: "d",
        fetch: () => {
          const body = [204, 205, 304].includes(status) ? null : text;
          return Promise.resolve(
            new Response(body, { status, headers: { "retry-after": retryAfter, date } }),
          );
        },
      });
      const result = await sink.send(BATCH);
      kinds.add(result.kind);
      if (result.kind === "delivered") {
        // Only a confirmation of all of them lets the cache forget them.
        const answer = JSON.parse(text);
        assert.ok(status < 300);
        assert.ok(answer.status === "success" || answer.received_events === 3, text);
        assert.ok(answer.received_events === undefined || answer.received_events === 3, text);
      }
      if (result.kind === "retry" && result.retryAfterMs !== undefined) {
        assert.ok(Number.isFinite(result.retryAfterMs) && result.retryAfterMs >= 0, `${result.retryAfterMs}`);
      }
      if (result.kind === "rejected") {
        assert.ok(result.indices.every((index) => Number.isInteger(index) && index >= 0 && index < 3));
        assert.deepEqual([...new Set(result.indices)], result.indices);
        for (const reason of result.reasons?.values() ?? []) assert.ok(reason.length <= 200);
      }
      if (result.kind !== "delivered") assert.ok(!result.reason.includes(CANARY), result.reason);
    }),
    { numRuns: 1500 },
  );
  assert.deepEqual([...kinds].sort(), ["delivered", "refused", "rejected", "retry", "too-large"]);
});
