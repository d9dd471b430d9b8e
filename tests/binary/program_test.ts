import assert from "node:assert/strict";
import { join } from "node:path";
import { takeLock } from "../../lib/lock.ts";
import { BINARY, inHome, run } from "./compiled.ts";

const TITLE = "canary-title";
const TOKEN = "canary-token";

Deno.test("--version tells the versions of agent, Deno and SQLite", () =>
  inHome(async (home) => {
    const { code, stdout } = await run(home, ["--version"]);
    assert.equal(code, 0);
    assert.match(stdout, /^lifelog-agent \d+\.\d+\.\d+\ndeno \d+\.\d+\.\d+\nsqlite \d+\.\d+\.\d+\n$/);
  }));

Deno.test("an unknown option and a wrong setting end with 2 and say what to do", () =>
  inHome(async (home) => {
    const option = await run(home, ["--no-such-option"]);
    assert.equal(option.code, 2);
    assert.match(option.stderr, /--no-such-option[^]*--help/);
    const setting = await run(home, ["--once"], { MAX_BATCH_SIZE: "0" });
    assert.equal(setting.code, 2);
    assert.match(setting.stderr, /"MAX_BATCH_SIZE" as it must be a whole number from 1 to 10000: got "0"/);
  }));

Deno.test({
  name: "a crash names the places in the sources, by their files",
  ignore: Deno.build.os !== "linux",
  fn: () =>
    inHome(async (home) => {
      const { code, stderr } = await run(home, ["-c", '"$0" config >/dev/full', BINARY], {}, "/bin/sh");
      assert.equal(code, 70);
      assert.match(
        stderr,
        /^lifelog-agent: It failed by a fault of its own[^]*^ {2}at \w+ lib\/cli\.ts:\d+:\d+$/m,
      );
    }),
});

Deno.test("a second agent on one cache leaves with 4", () =>
  inHome(async (home) => {
    const cache = join(home, "cache.sqlite");
    using _held = takeLock(`${cache}.lock`);
    const { code, stderr } = await run(home, ["--once"], { LOCAL_CACHE_DB_PATH: cache });
    assert.equal(code, 4);
    assert.match(stderr, /Another lifelog-agent/);
  }));

Deno.test("--once delivers an event, keeps secrets out of what it prints, and its files to its user", () =>
  inHome(async (home) => {
    const startMs = Date.now() - 3_600_000;
    const event = {
      id: 1,
      timestamp: new Date(startMs).toISOString(),
      duration: 60,
      data: { app: "App", title: TITLE },
    };
    const received: unknown[] = [];
    await using server = Deno.serve({ hostname: "127.0.0.1", port: 0, onListen() {} }, async (request) => {
      const { pathname, searchParams } = new URL(request.url);
      if (pathname === "/ingest") {
        assert.equal(request.headers.get("authorization"), `Bearer ${TOKEN}`);
        const { events } = await request.json();
        received.push(...events);
        return Response.json({ status: "success", received_events: events.length });
      }
      if (pathname === "/api/0/info") return Response.json({ hostname: "h", version: "v0.13.2" });
      if (pathname === "/api/0/buckets/") {
        const bucket = { id: "w", type: "currentwindow", hostname: "h", created: "2026-01-01T00:00:00Z" };
        return Response.json({ w: bucket });
      }
      const within = (name: string, byDefault: number) =>
        Date.parse(searchParams.get(name) ?? "") || byDefault;
      const asked = within("start", 0) <= startMs + 60_000 && within("end", Infinity) >= startMs;
      return Response.json(pathname.endsWith("/events/1") ? event : asked ? [event] : []);
    });
    const origin = `http://127.0.0.1:${server.addr.port}`;
    const cache = join(home, "cache.sqlite");
    const env = {
      AW_URL: origin,
      CENTRAL_SERVER_ENDPOINT: `${origin}/ingest`,
      SERVER_AUTH_TOKEN: TOKEN,
      LOCAL_CACHE_DB_PATH: cache,
      LOG_LEVEL: "DEBUG",
    };
    for (let turn = 0; turn < 2; turn++) {
      const { code, stdout, stderr } = await run(home, ["--once"], env);
      assert.equal(code, 0, stderr);
      for (const secret of [TITLE, TOKEN]) assert.ok(!(stdout + stderr).includes(secret), secret);
    }
    assert.deepEqual(received, [{
      timestamp: new Date(startMs).toISOString().replace("Z", "000+00:00"),
      type: "desktop_activity.window",
      data: { app: "App", title: TITLE, url: null, duration_seconds: 60 },
    }]);
    if (Deno.build.os !== "windows") {
      for (const path of [cache, `${cache}.lock`]) {
        assert.equal(Deno.statSync(path).mode! & 0o777, 0o600, path);
      }
    }
  }));
