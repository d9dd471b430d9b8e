import assert from "node:assert/strict";
import { join } from "node:path";
import { BINARY } from "./compiled.ts";

const TITLE = "canary-title";
const TOKEN = "canary-token";

/** ActivityWatch with one event, a LifeLog server that takes all, and an OpenTelemetry collector, in one. */
function world() {
  const startMs = Date.now() - 3_600_000;
  const data = { app: "App", title: TITLE };
  const event = { id: 1, timestamp: new Date(startMs).toISOString(), duration: 60, data };
  const telemetry: string[] = [];
  const delivered = Promise.withResolvers<void>();
  const server = Deno.serve({ hostname: "127.0.0.1", port: 0, onListen() {} }, async (request) => {
    const { pathname, searchParams } = new URL(request.url);
    if (pathname.startsWith("/v1/")) {
      telemetry.push(`${pathname} ${await request.text()}`);
      return Response.json({});
    }
    if (pathname === "/ingest") {
      const { events } = await request.json();
      delivered.resolve();
      return Response.json({ status: "success", received_events: events.length });
    }
    if (pathname === "/api/0/info") return Response.json({ hostname: "h", version: "v0.13.2" });
    if (pathname === "/api/0/buckets/") {
      const bucket = { id: "w", type: "currentwindow", hostname: "h", created: "2026-01-01T00:00:00Z" };
      return Response.json({ w: bucket });
    }
    const within = (name: string, byDefault: number) => Date.parse(searchParams.get(name) ?? "") || byDefault;
    const asked = within("start", 0) <= startMs + 60_000 && within("end", Infinity) >= startMs;
    return Response.json(pathname.endsWith("/events/1") ? event : asked ? [event] : []);
  });
  const url = `http://127.0.0.1:${server.addr.port}`;
  return { url, telemetry, delivered: delivered.promise, [Symbol.asyncDispose]: () => server.shutdown() };
}

function freePort(): number {
  using listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  return (listener.addr as Deno.NetAddr).port;
}

Deno.test("the compiled agent serves health, metrics and dashboard, sends telemetry, and ends when it is told to", async () => {
  await using it = world();
  const home = await Deno.makeTempDir({ prefix: "lifelog-binary-web-" });
  const port = freePort();
  const env = {
    HOME: home,
    AW_URL: it.url,
    AW_SETTLE_SECONDS: "0",
    CENTRAL_SERVER_ENDPOINT: `${it.url}/ingest`,
    SERVER_AUTH_TOKEN: TOKEN,
    LOCAL_CACHE_DB_PATH: join(home, "cache.sqlite"),
    HEALTH_PORT: String(port),
    OTEL_EXPORTER_OTLP_ENDPOINT: it.url,
    LOG_LEVEL: "DEBUG",
  };
  const options = { clearEnv: true, env, stdin: "null", stdout: "piped", stderr: "piped" } as const;
  const agent = new Deno.Command(BINARY, options).spawn();
  const output = agent.output();
  try {
    await it.delivered;
    const origin = `http://127.0.0.1:${port}`;
    const printed = await new Deno.Command(BINARY, { ...options, args: ["dashboard"] }).output();
    const address = new TextDecoder().decode(printed.stdout).trim();
    assert.match(address, new RegExp(`^${origin}/#token=[\\w-]{43}$`));
    const get = async (path: string, token = address.split("=")[1]!) => {
      const response = await fetch(`${origin}${path}`, { headers: { authorization: `Bearer ${token}` } });
      return { status: response.status, text: await response.text() };
    };
    assert.deepEqual(await get("/healthz", ""), { status: 200, text: "ok\n" });
    assert.equal((await get("/readyz", "")).status, 200);
    assert.equal((await get("/metrics", "wrong")).status, 401);
    const metrics = (await get("/metrics")).text;
    assert.match(metrics, /^lifelog_agent_collected_events_total\{type="currentwindow"\} 1$/m);
    assert.ok(!metrics.includes(TITLE));
    const page = (await get("/", "")).text;
    for (const [, path] of page.matchAll(/(?:src|href)="(\/[^"]*)"/g)) {
      assert.equal((await get(path!, "")).status, 200, path);
    }
    const timeline = JSON.parse((await get("/board/timeline")).text);
    assert.equal(timeline.buckets[0].id, "w");
    if (Deno.build.os !== "windows") {
      assert.equal(Deno.statSync(join(home, "dashboard-token")).mode! & 0o777, 0o600);
    }
    agent.kill("SIGTERM");
    const { code, stderr } = await output;
    const log = new TextDecoder().decode(stderr);
    assert.equal(code, 0, log);
    assert.match(log, new RegExp(`Health, metrics and dashboard at ${origin}`));
    assert.deepEqual([...new Set(it.telemetry.map((text) => text.split(" ")[0]))].sort(), [
      "/v1/metrics",
      "/v1/traces",
    ]);
    const told = `${log}${it.telemetry.join("")}`;
    for (const secret of [TITLE, TOKEN, address.split("=")[1]!]) assert.ok(!told.includes(secret), secret);
  } finally {
    try {
      agent.kill("SIGKILL");
    } catch { /* it has ended */ }
    await output;
    await Deno.remove(home, { recursive: true });
  }
});
