import assert from "node:assert/strict";
import { join } from "node:path";
import { takeLock } from "../../lib/lock.ts";
import { eventHoursAgo, Program } from "./program.ts";

async function codes(program: Program): Promise<[number, string[]]> {
  const { code, text } = await program.run("status", "--json");
  return [code, JSON.parse(text).verdict.findings.map((f: { code: string }) => f.code)];
}

Deno.test("status tells a person that all is well while an agent runs, and shows no content", async () => {
  await using program = new Program();
  program.events = [eventHoursAgo(3), eventHoursAgo(0.1)];
  assert.equal((await program.run("--once")).code, 0);
  using _agent = takeLock(`${program.cachePath}.lock`);
  const { code, text } = await program.run("status");
  assert.match(text, /^WELL {2}All well: recorded and delivered, read within the last [12] s\n/);
  assert.equal(code, 0);
  assert.match(text, /\nWaiting +nothing\n/);
  assert.match(text, /\naw-watcher-window_h +[-\d:]+ +[12] s +[-\d:]+ +0$/);
  assert.doesNotMatch(text, /canary/);
});

Deno.test("status says what fails, with exit code 2, and what is behind it", async () => {
  await using program = new Program();
  program.events = [eventHoursAgo(3), eventHoursAgo(2)];
  program.answer = {
    kind: "refused",
    reason: "it answered 401",
    status: 401,
    hint: "Check SERVER_AUTH_TOKEN",
  };
  assert.equal((await program.run("--once")).code, 1);
  {
    using _agent = takeLock(`${program.cachePath}.lock`);
    const { code, text } = await program.run("status");
    assert.equal(code, 2);
    assert.match(text, /^FAILING {2}The LifeLog server does not take events: it answered 401/);
    assert.match(text, /\n {4}Check SERVER_AUTH_TOKEN\n/);
    assert.match(text, /\nWaiting +2 events \(\d+ B\), the oldest for 0 s\n/);
  }
  // What comes to be well is no longer a fault.
  program.answer = { kind: "delivered" };
  assert.equal((await program.run("--once")).code, 0);
  assert.deepEqual(await codes(program), [0, []]);
});

Deno.test("status sees ActivityWatch down, missing buckets, a wrong clock and dead letters", async () => {
  await using program = new Program();
  program.events = [eventHoursAgo(3), eventHoursAgo(2)];
  program.down = true;
  await program.run("--once");
  assert.deepEqual(await codes(program), [1, ["collecting-fails"]]);
  program.down = false;
  program.buckets = [];
  await program.run("--once");
  assert.match((await program.run("status")).text, /no window, afk or web bucket/);
  program.buckets = [{ id: "w", type: "currentwindow", hostname: "h", created: "" }];
  program.answer = { kind: "rejected", reason: "it answered 422", status: 422, indices: [0] };
  program.clockAheadMs = 600_000;
  await program.run("--once");
  assert.deepEqual(await codes(program), [1, ["clock-skew", "dead-letters"]]);
});

Deno.test("status counts what waits in an encrypted cache without its key, and shows nothing of it", async () => {
  await using program = new Program();
  const key = join(program.folder, "key");
  assert.equal((await program.run("encryption", "new-key", key)).code, 0);
  program.env.CACHE_KEY_FILE = key;
  program.events = [eventHoursAgo(3), eventHoursAgo(2)];
  program.answer = { kind: "retry", reason: "it answered 503", status: 503 };
  await program.run("--once");
  assert.equal((await program.run("encryption", "enable")).code, 0);
  delete program.env.CACHE_KEY_FILE;
  const { text } = await program.run("status");
  assert.match(text, /\nWaiting +2 events \(\d+ B\)/);
  assert.match(text, /it answered 503/);
  assert.doesNotMatch(text, /canary/);
  assert.match((await program.run("doctor")).text, /\nfail {2}.*key.*\n {8}/);
  program.env.CACHE_KEY_FILE = key;
  assert.match(
    (await program.run("doctor")).text,
    /\nok {4}The cache is encrypted, and the key that is set opens it\n/,
  );
});

Deno.test("status looks at the cache without a trace of itself, and takes no lock from an agent", async () => {
  await using program = new Program();
  assert.equal((await program.run("status")).code, 2);
  assert.deepEqual([...Deno.readDirSync(program.folder)], []);
});
