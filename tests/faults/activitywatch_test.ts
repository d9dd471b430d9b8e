import assert from "node:assert/strict";
import type { Answer, RawRequest } from "./raw_server.ts";
import { faultTable } from "./table.ts";
import { AFK, complaints, FULL, until, WINDOW, World } from "./world.ts";

const tell = faultTable("ActivityWatch fails");
const EVENTS = 40;

interface Case {
  readonly name: string;
  readonly instead?: (request: RawRequest) => Answer | undefined;
  readonly cut?: "at-connect" | "in-body" | "before-body";
  readonly says: RegExp;
}

const onEvents = (answer: Answer) => ({ path }: RawRequest) => path.includes("/events") ? answer : undefined;
const always = (answer: Answer) => () => answer;

const CASES: readonly Case[] = [
  { name: "it hangs", instead: always({ wire: "silence" }), says: /no answer within 1 s/ },
  { name: "it hangs at events", instead: onEvents({ wire: "silence" }), says: /no answer within 1 s/ },
  {
    name: "it answers byte by byte",
    instead: onEvents({ wire: "slow-answer" }),
    says: /no answer within 1 s/,
  },
  { name: "500", instead: onEvents({ status: 500, body: "database is locked" }), says: /answered 500/ },
  { name: "401", instead: onEvents({ status: 401 }), says: /answered 401/ },
  {
    name: "redirect",
    instead: always({ status: 302, headers: { location: "http://127.0.0.1:1/" } }),
    says: /answered 302/,
  },
  { name: "truncated JSON", instead: onEvents({ status: 200, body: '[{"id":1,"timest' }), says: /no JSON/ },
  {
    name: "half an answer",
    instead: onEvents({ wire: "half-answer", body: "[]" }),
    says: /no connection|broke off/,
  },
  {
    name: "JSON of another shape",
    instead: onEvents({ status: 200, body: '{"events":[]}' }),
    says: /cannot be understood/,
  },
  {
    name: "an event without a time",
    instead: onEvents({ status: 200, body: '[{"id":1,"timestamp":"yesterday","duration":1,"data":{}}]' }),
    says: /cannot be understood/,
  },
  {
    name: "another program on its port",
    instead: always({
      status: 200,
      headers: { "content-type": "text/html" },
      body: "<html>It works!</html>",
    }),
    says: /no JSON/,
  },
  { name: "no HTTP on its port", instead: always({ wire: "rubbish" }), says: /no connection/ },
  { name: "reset", cut: "at-connect", says: /no connection/ },
];

for (const { name, instead, cut, says } of CASES) {
  Deno.test(`ActivityWatch fails: ${name}`, async () => {
    await using world = new World({ events: EVENTS });
    assert.equal((await world.once()).code, 0);
    world.record(15);
    if (instead !== undefined) world.activityWatch.instead = instead;
    world.activityWatch.cut = () => cut;
    const failed = await world.once();
    assert.equal(failed.code, 1);
    const said = complaints(failed);
    assert.ok(said.some((line) => says.test(line)), said.join("\n"));
    assert.ok(!failed.stderr.includes("Title "), "no title in the log");
    const found = await world.status();
    assert.ok(found.some((finding) => says.test(finding)), found.join("\n"));
    world.activityWatch.instead = () => undefined;
    world.activityWatch.cut = () => undefined;
    assert.equal((await world.once()).code, 0);
    world.assertExact();
    assert.equal(world.receiver.resent, 0);
    tell(name, { afterwards: "exact", "the log says": said.at(-1)! });
  });
}

Deno.test("ActivityWatch fails: it is down, and the daemon says so once and goes on when it is back", async () => {
  await using world = new World({
    events: EVENTS,
    settings: { COLLECTION_INTERVAL_SECONDS: "1", BATCH_SEND_INTERVAL_SECONDS: "1" },
  });
  await world.activityWatch.stop();
  const daemon = world.agent.daemon();
  await new Promise((resolve) => setTimeout(resolve, 3500));
  world.activityWatch.start();
  await until(() => world.receiver.events.length >= EVENTS - 2, "the events are there");
  const run = await daemon.stop();
  const said = complaints(run);
  assert.equal(said.filter((line) => /Cannot read ActivityWatch/.test(line)).length, 1, said.join("\n"));
  assert.match(run.stderr, /Works again/);
  assert.equal((await world.once()).code, 0);
  world.assertExact();
  tell("it is down", { afterwards: "exact", "the log says": said[0]! });
});

Deno.test("ActivityWatch changes: a bucket is deleted and made anew under its name", async () => {
  await using world = new World({ events: EVENTS });
  assert.equal((await world.once()).code, 0);
  const before = world.truth();
  world.activityWatch.buckets.delete(WINDOW);
  world.activityWatch.forgetIds();
  assert.equal((await world.once()).code, 0);
  world.activityWatch.addBucket(WINDOW, "currentwindow").created = "2030-01-01T00:00:00Z";
  world.record(20);
  const run = await world.once();
  assert.equal(run.code, 0, run.stderr);
  // What was delivered from the old bucket stays; nothing of it is counted as deleted by its user.
  assert.deepEqual(world.received(), [...new Set([...before, ...world.truth()])].sort());
  assert.ok(!/changed or deleted/.test(run.stderr));
  tell("bucket deleted and made anew", { afterwards: "exact", "the log says": "" });
});

Deno.test("ActivityWatch changes: the whole server is made anew, and gives ids out a second time", async () => {
  await using world = new World({ events: EVENTS });
  assert.equal((await world.once()).code, 0);
  const before = world.truth();
  world.activityWatch.buckets.clear();
  world.activityWatch.forgetIds();
  for (const [id, type] of [[WINDOW, "currentwindow"], [AFK, "afkstatus"]] as const) {
    world.activityWatch.addBucket(id, type).created = "2030-01-01T00:00:00Z";
  }
  world.record(30);
  const run = await world.once();
  assert.equal(run.code, 0, run.stderr);
  assert.deepEqual(world.received(), [...new Set([...before, ...world.truth()])].sort());
  tell("server made anew, ids reused", { afterwards: "exact", "the log says": "" });
});

const HOUR_MS = 3_600_000;

Deno.test("ActivityWatch holds odd events: negative, endless and equal ones, and data that is no object", async () => {
  await using world = new World({ events: EVENTS });
  const { activityWatch } = world;
  const atMs = Date.now() - 9 * HOUR_MS;
  activityWatch.add(WINDOW, atMs, -3.5, { app: "A", title: "negative" });
  activityWatch.add(WINDOW, atMs + 1000, 0, { app: "A", title: "zero" });
  activityWatch.add(AFK, Date.now() - 23 * HOUR_MS, 0.001, { status: "afk" });
  activityWatch.add(AFK, Date.now() - 22 * HOUR_MS, 2.5 * 86_400, { status: "not-afk" });
  activityWatch.add(WINDOW, atMs + 2000, 1, [1, 2]);
  activityWatch.add(WINDOW, atMs + 3000, 1, "text");
  activityWatch.add(WINDOW, atMs + 4000, 1, { app: "A", title: '\u0000 \ud83d\ude00 \u2028 "quoted" \\' });
  for (let n = 0; n < 50; n++) activityWatch.add(WINDOW, atMs + 5000, 2, { app: "A", title: `same ${n}` });
  const run = await world.once();
  // The one that reaches past now is final: its bucket has a newer one.
  world.assertExact();
  assert.equal(world.dead(), 2);
  assert.match(run.stderr, /2 events of .* hold no object/);
  tell("negative, over 24 h, no object, 50 at one time", {
    afterwards: "exact",
    "the log says": complaints(run).at(-1)!,
  });
});

const SAME = FULL ? 1_000_000 : 20_000;

Deno.test(`ActivityWatch holds ${SAME} events of one time`, async () => {
  await using world = new World({ events: 0, settings: { REQUEST_TIMEOUT_SECONDS: "120" } });
  const atMs = Date.now() - 9 * HOUR_MS;
  for (let n = 0; n < SAME; n++) world.activityWatch.add(WINDOW, atMs, 2, { app: "A", title: `${n}` });
  world.activityWatch.add(WINDOW, atMs + 60_000, 2, { app: "A", title: "later" });
  const run = await world.once();
  assert.equal(run.code, 0, run.stderr);
  assert.equal(world.receiver.events.length, SAME + 1);
  world.assertExact();
  tell(`${SAME} events of one time`, { afterwards: "exact", "the log says": "" });
});

Deno.test("clocks jump: events recorded while the clock was ahead, back, and through a change to summer time", async () => {
  await using world = new World({ events: EVENTS });
  assert.equal((await world.once()).code, 0);
  const { activityWatch } = world;
  const now = Date.now();
  // Recorded with a clock that was three hours ahead, and then with one that was put back by an hour.
  activityWatch.add(WINDOW, now + 3 * HOUR_MS, 5, { app: "A", title: "from the future" });
  const future = world.truth().filter((line) => line.includes("from the future"));
  for (let n = 0; n < 10; n++) {
    activityWatch.add(WINDOW, now - 2 * HOUR_MS + n * 7000, 3, { app: "A", title: `back ${n}` });
  }
  for (let n = 0; n < 10; n++) {
    activityWatch.add(WINDOW, now - 3 * HOUR_MS + n * 7000, 3, { app: "A", title: `twice ${n}` });
  }
  const run = await world.once([], { TZ: "Europe/Berlin" });
  assert.ok(run.code === 0 || run.code === 1, run.stderr);
  assert.equal((await world.once([], { TZ: "Pacific/Auckland" })).code, 0);
  world.assertExact(future);
  assert.equal(world.receiver.resent, 0);
  tell("clock ahead, put back, time zones", { afterwards: "exact; the future waits", "the log says": "" });
});
