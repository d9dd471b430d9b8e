import assert from "node:assert/strict";
import { join } from "node:path";
import { readSettings } from "../../lib/config/load.ts";
import type { Check } from "../../lib/doctor/check.ts";
import { checkActivityWatch } from "../../lib/doctor/activitywatch.ts";
import { checkDevice } from "../../lib/doctor/device.ts";
import { checkServer } from "../../lib/doctor/server.ts";
import { SourceError } from "../../lib/errors.ts";
import type { Bucket, ProbeResult, Source } from "../../lib/event.ts";
import { type BucketReport, makeReport } from "../../lib/status/report.ts";
import { openDatabase } from "../../lib/store/database.ts";
import { serviceFile } from "../../lib/paths.ts";
import { Program } from "../commands/program.ts";

const NOW_MS = 1_800_000_000_000;
const MINUTE_MS = 60_000;
const signal = new AbortController().signal;
const WINDOW: Bucket = { id: "w", type: "currentwindow", hostname: "h", created: "" };
const AFK: Bucket = { id: "a", type: "afkstatus", hostname: "h", created: "" };

async function levels(checks: Iterable<Check> | AsyncIterable<Check>): Promise<Record<string, string>> {
  const found: Record<string, string> = {};
  for await (const { name, level, mend } of checks) {
    assert.equal(mend === undefined, level === "ok", name);
    // The worst of each name.
    if (found[name] !== "fail" && !(found[name] === "warn" && level === "ok")) found[name] = level;
  }
  return found;
}

/** A source whose every bucket holds one event. */
function source(buckets: Bucket[], event: { startMs: number; seconds: number } | SourceError): Source {
  const get = () => {
    if (event instanceof SourceError) throw event;
    return { startUs: event.startMs * 1000, durationSeconds: event.seconds, data: {} };
  };
  return {
    buckets: () => Promise.resolve().then(get).then(() => buckets),
    newestStartUs: () => Promise.resolve().then(get).then(({ startUs }) => startUs),
    async *pages(_bucket, fromUs, toUs) {
      yield await Promise.resolve({ fromUs, toUs, events: [get()] });
    },
  };
}

function activityWatch(source: Source, collected: Partial<BucketReport>[] = [], collecting = true) {
  return levels(checkActivityWatch({
    source,
    url: new URL("http://127.0.0.1:5600"),
    collected: collected as BucketReport[],
    collecting,
    graceMs: 10 * MINUTE_MS,
    nowMs: NOW_MS,
    signal,
  }));
}

Deno.test("doctor finds watchers alive by the end of their newest event, however long it is", async () => {
  const lively = source([WINDOW, AFK], { startMs: NOW_MS - 120 * MINUTE_MS, seconds: 120 * 60 - 10 });
  assert.deepEqual(await activityWatch(lively), { activitywatch: "ok", watcher: "ok" });
});

Deno.test("doctor finds a watcher that has ended, a missing bucket, and what was not collected", async () => {
  const quiet = source([WINDOW], { startMs: NOW_MS - 60 * MINUTE_MS, seconds: 5 });
  const behind = { id: "w", complete: true, coveredToMs: NOW_MS - 61 * MINUTE_MS };
  assert.deepEqual(await activityWatch(quiet, [behind]), {
    activitywatch: "ok",
    buckets: "warn",
    watcher: "warn",
    coverage: "fail",
  });
  // Without an agent nothing is late; what was taken is not missing.
  assert.equal((await activityWatch(quiet, [behind], false)).coverage, undefined);
  const taken = { ...behind, coveredToMs: NOW_MS - 60 * MINUTE_MS };
  assert.equal((await activityWatch(quiet, [taken])).coverage, undefined);
  assert.equal((await activityWatch(quiet, [{ ...behind, complete: false }])).coverage, "warn");
});

Deno.test("doctor says why ActivityWatch cannot be read", async () => {
  const fails = (status?: number) =>
    source([], new SourceError("no", status === undefined ? {} : { status }));
  assert.deepEqual(await activityWatch(fails()), { activitywatch: "fail" });
  const checks = checkActivityWatch({
    source: fails(401),
    url: new URL("http://127.0.0.1:5600"),
    collected: [],
    collecting: true,
    graceMs: 0,
    nowMs: NOW_MS,
    signal,
  });
  assert.match((await Array.fromAsync(checks))[0]!.mend!, /AW_API_KEY/);
});

function server(result: ProbeResult, options: { hasToken?: boolean; resolves?: boolean } = {}) {
  const { hasToken = true, resolves = true } = options;
  return levels(checkServer({
    endpoint: new URL("https://lifelog.example.org/api/v1/ingest"),
    hasToken,
    sink: {
      send: () => Promise.reject(new Error("doctor must not send")),
      probe: () => Promise.resolve(result),
    },
    signal,
    resolve: () => resolves ? Promise.resolve([{ address: "192.0.2.1" }]) : Promise.reject(new Error()),
  }));
}

Deno.test("doctor looks at name, token, server and clocks, and sends no batch", async () => {
  const ready = { kind: "ready", reason: "it answered 422", asksForToken: true, clockAheadMs: 900 } as const;
  assert.deepEqual(await server(ready), { dns: "ok", server: "ok", clock: "ok" });
  assert.deepEqual(await server({ ...ready, clockAheadMs: -10 * MINUTE_MS }), {
    dns: "ok",
    server: "ok",
    clock: "warn",
  });
  assert.deepEqual(await server(ready, { hasToken: false, resolves: false }), {
    dns: "warn",
    token: "warn",
    server: "ok",
    clock: "ok",
  });
  assert.equal((await server({ kind: "refused", reason: "" })).server, "fail");
  assert.equal((await server({ kind: "unavailable", reason: "" })).server, "warn");
  assert.equal((await server({ kind: "unreachable", reason: "" })).server, "fail");
  assert.equal((await server({ kind: "stranger", reason: "" })).server, "fail");
});

Deno.test("doctor looks at files, disk and service of this device", {
  ignore: Deno.build.os === "windows",
}, async () => {
  const home = await Deno.makeTempDir({ prefix: "lifelog-doctor-" });
  try {
    Deno.chmodSync(home, 0o700);
    const cachePath = join(home, "cache.sqlite");
    const file = join(home, "c.toml");
    Deno.writeTextFileSync(file, 'server_auth_token = "t"\n', { mode: 0o600 });
    openDatabase(cachePath)[Symbol.dispose]();
    Deno.chmodSync(cachePath, 0o600);
    const env = (name: string) =>
      ({ HOME: home, LOCAL_CACHE_DB_PATH: cachePath } as Record<string, string>)[name];
    const look = (freeBytes: number) => {
      const report = makeReport({ cachePath });
      return levels(checkDevice({
        loaded: readSettings({ env, config: file }),
        report: { ...report, cache: { ...report.cache, freeBytes } },
        env,
        os: "linux",
      }));
    };
    const well = { settings: "ok", agent: "warn", service: "warn", cache: "ok", disk: "ok" };
    assert.deepEqual(await look(1e12), well);
    assert.equal((await look(1e8)).disk, "warn");
    assert.equal((await look(1e6)).disk, "fail");
    const service = serviceFile({ env, os: "linux" });
    const wants = join(service, "..", "default.target.wants");
    Deno.mkdirSync(wants, { recursive: true });
    Deno.writeTextFileSync(service, "");
    assert.equal((await look(1e12)).service, "warn");
    Deno.symlinkSync("/nowhere", join(wants, "lifelog-agent.service"));
    assert.equal((await look(1e12)).service, "ok");
    Deno.chmodSync(file, 0o644);
    assert.equal((await look(1e12)).permissions, "warn");
    Deno.chmodSync(file, 0o600);
    Deno.chmodSync(cachePath, 0o640);
    assert.equal((await look(1e12)).permissions, "warn");
    Deno.writeTextFileSync(cachePath, "no database at all, but text that goes on and on".repeat(50));
    assert.equal((await look(1e12)).cache, "fail");
  } finally {
    await Deno.remove(home, { recursive: true });
  }
});

Deno.test("doctor goes through all of it in order, for people and for programs", async () => {
  await using program = new Program();
  program.env.CENTRAL_SERVER_ENDPOINT = "";
  const { code, text } = await program.run("doctor");
  assert.equal(code, 1);
  assert.match(text, /^ok {4}The settings can be used/);
  assert.match(text, /\nwarn {2}No endpoint is set: nothing is delivered\n {8}Set CENTRAL_SERVER_ENDPOINT/);
  assert.match(text, /\n\n0 failures, \d warnings, \d+ checks$/);
  assert.doesNotMatch(text, /canary/);
  program.env.MAX_BATCH_SIZE = "0";
  const json = await program.run("doctor", "--json");
  assert.equal(json.code, 2);
  const { ok, checks } = JSON.parse(json.text);
  assert.equal(ok, false);
  assert.deepEqual(checks.map((c: Check) => [c.name, c.level]), [["settings", "fail"]]);
});
