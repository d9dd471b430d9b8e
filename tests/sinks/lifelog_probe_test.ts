import assert from "node:assert/strict";
import type { ProbeResult } from "../../lib/event.ts";
import { lifelogSink } from "../../lib/sinks/lifelog.ts";

const MISSING = { detail: [{ loc: ["body", "source_id"], msg: "Field required", type: "missing" }] };

/** Probes a server that answers as told, and hands back what it was asked. */
async function probe(
  answer: (request: Request) => Response,
  token?: string,
): Promise<{ result: ProbeResult; asked: { authorization: string | null; body: string }[] }> {
  const asked: { authorization: string | null; body: string }[] = [];
  await using server = Deno.serve({ hostname: "127.0.0.1", port: 0, onListen() {} }, async (request) => {
    asked.push({ authorization: request.headers.get("authorization"), body: await request.text() });
    return answer(request);
  });
  const endpoint = new URL(`http://127.0.0.1:${server.addr.port}/api/v1/ingest`);
  const sink = lifelogSink({ endpoint, token, deviceId: "d", timeoutMs: 5000 });
  return { result: await sink.probe!(), asked };
}

/** As the LifeLog server: the token first, then the body. */
const lifelog = (request: Request) =>
  request.headers.get("authorization") === "Bearer right"
    ? Response.json(MISSING, { status: 422 })
    : Response.json({ detail: "Not authenticated" }, { status: 401 });

Deno.test("probe() proves a good token without a batch that could be stored", async () => {
  const { result, asked } = await probe(lifelog, "right");
  assert.equal(result.kind, "ready");
  assert.equal(result.asksForToken, true);
  assert.ok(Math.abs(result.clockAheadMs!) < 60_000);
  assert.deepEqual(asked, [{ authorization: "Bearer right", body: "{}" }, {
    authorization: null,
    body: "{}",
  }]);
});

Deno.test("probe() tells a bad token, and asks once", async () => {
  const { result, asked } = await probe(lifelog, "wrong");
  assert.equal(result.kind, "refused");
  assert.equal(result.status, 401);
  assert.equal(asked.length, 1);
});

Deno.test("probe() tells that a server does not look at the token", async () => {
  const { result } = await probe(() => Response.json(MISSING, { status: 422 }), "any");
  assert.equal(result.kind, "ready");
  assert.equal(result.asksForToken, false);
});

for (
  const [name, answer, kind] of [
    ["a server that is down", () => new Response("x", { status: 503 }), "unavailable"],
    ["a wrong path", () => Response.json({ detail: "Not Found" }, { status: 404 }), "stranger"],
    ["a log-in page", () => new Response("<html>", { status: 200 }), "stranger"],
    ["a redirect", () => new Response(null, { status: 302, headers: { location: "/x" } }), "stranger"],
    ["another program's 422", () => new Response("<html>", { status: 422 }), "stranger"],
  ] as const
) {
  Deno.test(`probe() knows ${name}`, async () => {
    assert.equal((await probe(answer, "t")).result.kind, kind);
  });
}

Deno.test("probe() knows a port where nobody listens, and a server that never answers", async () => {
  const listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const { port } = listener.addr;
  const sink = lifelogSink({ endpoint: new URL(`http://127.0.0.1:${port}/`), deviceId: "d", timeoutMs: 50 });
  const silent = await sink.probe!();
  assert.deepEqual(silent, { kind: "unreachable", reason: "no answer within 0.05 s" });
  listener.close();
  assert.equal((await sink.probe!()).kind, "unreachable");
});
