import assert from "node:assert/strict";
import { inHome, run } from "./compiled.ts";

const TOKEN = "canary-token";

Deno.test("the compiled program is looked at, set up and mended with the permissions that it has", () =>
  inHome(async (home) => {
    const before = await run(home, ["status"]);
    assert.equal(before.code, 2);
    assert.match(before.stdout, /^FAILING {2}The agent has never run/);
    assert.equal((await run(home, ["config", "init"])).code, 0);
    assert.equal((await run(home, ["config", "check"])).code, 0);

    const asked: string[] = [];
    await using server = Deno.serve({ hostname: "127.0.0.1", port: 0, onListen() {} }, async (request) => {
      const { pathname } = new URL(request.url);
      if (pathname === "/api/0/info") return Response.json({ hostname: "h", version: "v0.13.2" });
      if (pathname === "/api/0/buckets/") return Response.json({});
      asked.push(await request.text());
      return request.headers.get("authorization") === `Bearer ${TOKEN}`
        ? Response.json({ detail: [{ loc: ["body", "events"], msg: "", type: "missing" }] }, { status: 422 })
        : Response.json({}, { status: 401 });
    });
    const origin = `http://127.0.0.1:${server.addr.port}`;
    const env = { AW_URL: origin, CENTRAL_SERVER_ENDPOINT: `${origin}/ingest`, SERVER_AUTH_TOKEN: TOKEN };
    await run(home, ["--once"], env);
    const doctor = await run(home, ["doctor"], env);
    assert.match(doctor.stdout, /\nok {4}[\d.]+ .?B are free on the disk of the cache\n/);
    assert.match(doctor.stdout, /\nok {4}The LifeLog server answers and accepts the token\n/);
    assert.match(doctor.stdout, /\nok {4}This device's clock and the server's agree/);
    assert.deepEqual(asked, ["{}", "{}"]);
    const config = await run(home, ["config"], env);
    assert.match(config.stdout, /\nSERVER_AUTH_TOKEN +environment +\*{8}\n/);
    const status = await run(home, ["status", "--json"], env);
    assert.equal(JSON.parse(status.stdout).agent.running, false);
    for (const { stdout, stderr } of [doctor, config, status]) {
      assert.equal(stderr, "");
      assert.ok(!stdout.includes(TOKEN));
      assert.doesNotMatch(stdout.replaceAll("\n", ""), /\p{Cc}/u);
    }
  }));

Deno.test("the compiled program prints completion and manual", () =>
  inHome(async (home) => {
    for (const shell of ["bash", "zsh", "fish", "powershell"]) {
      const { code, stdout } = await run(home, ["completion", shell]);
      assert.equal(code, 0);
      assert.match(stdout, /lifelog-agent/);
    }
    assert.equal((await run(home, ["completion", "tcsh"])).code, 2);
    assert.match((await run(home, ["man"])).stdout, /^\.TH LIFELOG-AGENT 1 /);
  }));
