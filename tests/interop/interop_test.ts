/** The compiled agent between a real aw-server, written to by the real aw-client, and a LifeLog server. */

import assert from "node:assert/strict";
import { hostname } from "node:os";
import type { ExportedEvent } from "./aw_server.ts";
import { CANARY, exceptGrowing, type Line, Scene } from "./scene.ts";

const MINUTE_MS = 60_000;
const HOUR_MS = 60 * MINUTE_MS;
const DAY_MS = 24 * HOUR_MS;
const BUCKETS = {
  window: `aw-watcher-window_${hostname()}`,
  afk: `aw-watcher-afk_${hostname()}`,
  web: `aw-watcher-web-firefox_${hostname()}`,
};
const TYPES = { window: "currentwindow", afk: "afkstatus", web: "web.tab.current" } as const;

Deno.test("the agent delivers a history exactly over several runs, with the filter for short events and without", async () => {
  await using scene = await Scene.open("history");
  const watchers = scene.watchers();
  await createBuckets(scene, watchers);
  const all = await scene.line({ AW_MIN_DURATION_SECONDS: "0", AW_SETTLE_SECONDS: "300" });
  const filtered = await scene.line({ AW_SETTLE_SECONDS: "300" });
  const both = async (step: string, settings: Record<string, string> = {}) => {
    const settleSeconds = Number(settings.AW_SETTLE_SECONDS ?? 300);
    for (const [line, label] of [[all, "all events"], [filtered, "from 5 s"]] as const) {
      const atMs = Date.now();
      await runOnce(line, [], settings);
      await scene.equal(line, `${step}, ${label}`, exceptGrowing(settleSeconds, atMs));
    }
  };

  const now = Date.now();
  await watchers.do({
    op: "simulate",
    buckets: BUCKETS,
    start: iso(now - 10 * HOUR_MS),
    hours: 1.5,
    seed: 1,
  });
  await watchers.do({ op: "flush" });
  await watchers.do({ op: "insert", bucket: BUCKETS.window, events: oddEvents(now - 7 * HOUR_MS) });
  // A heartbeat out of order, and one that merges with it: aw-server overwrites its newest row.
  const lateMs = now - 8 * HOUR_MS;
  for (const seconds of [0, 1, 2]) {
    const data = { app: "Late", title: `late ${CANARY}` };
    await watchers.do({
      op: "beat",
      bucket: BUCKETS.window,
      pulsetime: 2,
      beats: [[iso(lateMs + seconds * 1000), data]],
    });
  }
  await both("first run");

  await watchers.do({
    op: "simulate",
    buckets: BUCKETS,
    start: iso(now - 4 * HOUR_MS),
    hours: 0.3,
    seed: 2,
    queued: false,
  });
  await both("unqueued heartbeats");

  // Behind the newest event, as a queue on disk delivers them.
  const newest = Date.parse((await scene.aw.events(BUCKETS.window, 1))[0]!.timestamp);
  await watchers.do({
    op: "insert",
    bucket: BUCKETS.window,
    events: [...Array(20).keys()].map((n) => windowEvent(newest - n * 30_000 - 7, n, `late ${n}`)),
  });
  await both("late events");

  // The newest event grows between the runs and settles after them.
  const data = { app: "Grows", title: `grows ${CANARY}` };
  const growing = (fromS: number, toS: number): [string, unknown][] =>
    range(fromS, toS).map((s) => [iso(now - 250_000 + s * 1000), data]);
  await watchers.do({ op: "beat", bucket: BUCKETS.window, pulsetime: 2, beats: growing(0, 40) });
  await both("newest still grows");
  await watchers.do({ op: "beat", bucket: BUCKETS.window, pulsetime: 2, beats: growing(40, 160) });
  await both("newest has grown");
  await watchers.do({
    op: "beat",
    bucket: BUCKETS.window,
    pulsetime: 2,
    beats: range(0, 20).map((s) => [iso(now - 80_000 + s * 1000), { app: "Next", title: `next ${CANARY}` }]),
  });
  await both("a newer event came");
  await both("settled", { AW_SETTLE_SECONDS: "1" });
  await scene.equal(all, "at the end");
  assert.deepEqual([all.receiver.resent, filtered.receiver.resent], [0, 0]);
  await scene.assertLogsKeepSecrets();
});

Deno.test("--since all delivers weeks of events exactly, with long ones and those on the edges of windows", async () => {
  await using scene = await Scene.open("weeks");
  const watchers = scene.watchers();
  await createBuckets(scene, watchers);
  const begin = Math.floor((Date.now() - 13 * DAY_MS) / DAY_MS) * DAY_MS;
  let at = begin;
  const events: ExportedEvent[] = [];
  for (let n = 0; n < 20_000 && at < Date.now() - 2 * HOUR_MS; n++) {
    const event = windowEvent(at, (n * 7919) % 90_000 / 1000, `${n}`);
    events.push(event);
    at += event.duration * 1000 + (n % 5) * 1000;
  }
  // Ids that do not follow the time.
  await watchers.do({ op: "insert", bucket: BUCKETS.window, events: events.filter((_, n) => n % 3 === 0) });
  await watchers.do({
    op: "insert",
    bucket: BUCKETS.window,
    events: events.filter((_, n) => n % 3 === 1).reverse(),
  });
  await watchers.do({ op: "insert", bucket: BUCKETS.window, events: events.filter((_, n) => n % 3 === 2) });
  for (let day = 0; day < 12; day++) {
    const start = begin + day * DAY_MS;
    await watchers.do({
      op: "insert",
      bucket: BUCKETS.window,
      events: [...oddEvents(start), ...edgeEvents(start)],
    });
  }
  await watchers.do({
    op: "insert",
    bucket: BUCKETS.afk,
    events: [
      ...range(0, 12 * 24).map((hour) => afkEvent(begin + hour * HOUR_MS, 3600, hour)),
      // Longer than a day, over each other.
      ...range(0, 5).map((day) => afkEvent(begin + day * DAY_MS + 1, 30 * 3600 + day * 86_400, day)),
    ],
  });
  const pages = range(0, 12 * 24).flatMap((hour) =>
    range(0, 10).map((n) => webEvent(begin + hour * HOUR_MS + n * 360_000, 359.999, hour * 10 + n))
  );
  await watchers.do({ op: "insert", bucket: BUCKETS.web, events: pages });
  const since = await scene.line({ AW_MIN_DURATION_SECONDS: "0" });
  await runOnce(since, ["--since", "all"]);
  await scene.equal(since, "--since all");
  const filtered = await scene.line();
  await runOnce(filtered, ["--since", iso(begin - DAY_MS).slice(0, 10)]);
  await scene.equal(filtered, "--since a day, from 5 s");
  await runOnce(since, ["--since", "all"]);
  await scene.equal(since, "--since all once more");
  assert.deepEqual([since.receiver.resent, filtered.receiver.resent], [0, 0]);
  await scene.assertLogsKeepSecrets();
});

Deno.test("the agent delivers afk events whose duration is below 0, wherever its windows are cut", async () => {
  await using scene = await Scene.open("negative");
  const watchers = scene.watchers();
  await createBuckets(scene, watchers);
  // No watcher sends them, but aw-server stores them, and finds them by an end that lies before their start.
  // So close together, over so many days, that any cut meets some of them.
  const begin = Date.now() - 15 * DAY_MS;
  const events = range(0, 14 * 288).map((n) => afkEvent(begin + n * 5 * MINUTE_MS, -1799, n));
  await watchers.do({ op: "insert", bucket: BUCKETS.afk, events });
  const line = await scene.line();
  await runOnce(line, ["--since", "all"]);
  await scene.equal(line, "--since all");
  await scene.assertLogsKeepSecrets();
});

Deno.test("the daemon delivers what is recorded meanwhile exactly, through crashes of all three programs", async () => {
  await using scene = await Scene.open("daemon");
  const watchers = scene.watchers();
  await createBuckets(scene, watchers);
  const line = await scene.line({
    AW_MIN_DURATION_SECONDS: "0",
    AW_SETTLE_SECONDS: "6",
    COLLECTION_INTERVAL_SECONDS: "1",
    BATCH_SEND_INTERVAL_SECONDS: "1",
  });
  await watchers.do({
    op: "simulate",
    buckets: BUCKETS,
    start: iso(Date.now() - 2 * HOUR_MS),
    hours: 0.3,
    seed: 3,
  });
  await watchers.do({ op: "flush" });
  await watchers.do({ op: "live", buckets: BUCKETS, seed: 4, queued: true, pulsetime: 2 });

  const phase = async (act: () => unknown) => {
    await sleep(5_000);
    await act();
  };
  const daemon = { running: line.agent.daemon() };
  try {
    await phase(() => scene.aw.kill("SIGTERM"));
    await sleep(2_500);
    await scene.aw.restart();
    // A second writer, behind what the daemon has collected by now.
    const late = range(0, 10).map((n) => windowEvent(Date.now() - 3 * MINUTE_MS - n * 5_003, 4, `late ${n}`));
    await watchers.do({ op: "insert", bucket: BUCKETS.window, events: late });
    await phase(() => line.receiver.health = "sick");
    await phase(() => line.receiver.health = "answers-lost");
    await phase(async () => {
      const { code } = await daemon.running.stop("SIGKILL");
      assert.notEqual(code, 0);
      daemon.running = line.agent.daemon();
    });
    line.receiver.health = "well";
    await phase(async () => {
      const stopped = performance.now();
      const { code, stderr } = await daemon.running.stop("SIGTERM");
      assert.equal(code, 0, stderr);
      assert.ok(performance.now() - stopped < 10_000, "SIGTERM took longer than 10 s");
      daemon.running = line.agent.daemon();
    });
    await phase(() => scene.aw.kill("SIGKILL"));
    await sleep(1_000);
    await scene.aw.restart();
    await sleep(6_000);
    const { sent } = await watchers.do({ op: "rest" });
    assert.ok(Number(sent) > 200, `Only ${sent} heartbeats were sent`);
    await watchers.do({ op: "flush" });
    const before = line.receiver.events.length;
    assert.ok(before > 50, `The daemon delivered ${before} events only`);
    assert.equal((await daemon.running.stop("SIGINT")).code, 0);
  } finally {
    await daemon.running.stop("SIGKILL");
  }
  await sleep(7_000);
  await runOnce(line);
  await scene.equal(line, "after 45 s of heartbeats and 5 crashes");
  await scene.assertLogsKeepSecrets();
});

Deno.test("the agent delivers what edits and deletes have left before it delivered", async () => {
  await using scene = await Scene.open("edits");
  const watchers = scene.watchers();
  await createBuckets(scene, watchers);
  const line = await scene.line();
  const begin = Date.now() - 20 * MINUTE_MS;
  await watchers.do({
    op: "insert",
    bucket: BUCKETS.window,
    events: range(0, 40).map((n) => windowEvent(begin + n * 15_000, 10 + n / 1000, `before ${n}`)),
  });
  const change = async (from: number) => {
    const events = (await scene.aw.events(BUCKETS.window)).reverse();
    await scene.aw.edit(BUCKETS.window, events[from]!, {
      data: { app: "Edited", title: `edited ${CANARY} ${from}` },
    });
    await scene.aw.edit(BUCKETS.window, events[from + 1]!, { duration: 12.345 });
    await scene.aw.delete(BUCKETS.window, events[from + 2]!.id);
    const { timestamp } = events[from + 3]!;
    const moved = iso(Date.parse(timestamp) + 1_234);
    await scene.aw.edit(BUCKETS.window, events[from + 3]!, { timestamp: moved });
    // Deleted and inserted again as it was: another id, the same event.
    await scene.aw.edit(BUCKETS.window, events[from + 4]!, {});
  };
  await change(2);
  line.receiver.health = "sick";
  assert.equal((await line.agent.once()).code, 1);
  assert.equal(line.receiver.events.length, 0);
  await change(20);
  assert.equal((await line.agent.once()).code, 1);
  line.receiver.health = "well";
  await runOnce(line);
  await scene.equal(line, "edited before and after they were cached");
  await runOnce(line);
  await scene.equal(line, "read once more");
  assert.equal(line.receiver.resent, 0);
  await scene.assertLogsKeepSecrets();
});

Deno.test("the agent catches up after ActivityWatch, aw-client's queue or the LifeLog server was away", async () => {
  await using scene = await Scene.open("outages");
  const line = await scene.line({ AW_MIN_DURATION_SECONDS: "0" });
  const begin = Date.now() - 3 * HOUR_MS;
  {
    await using watchers = scene.watchers();
    await createBuckets(scene, watchers);
    await watchers.do({ op: "simulate", buckets: BUCKETS, start: iso(begin), hours: 0.3, seed: 5 });
    await watchers.do({ op: "flush" });
    await watchers.do({ op: "disconnect" });
  }
  await runOnce(line);
  await scene.equal(line, "before");

  await scene.aw.kill("SIGKILL");
  const down = await line.agent.once();
  assert.equal(down.code, 1, down.stderr);
  assert.match(down.stderr + down.stdout, /ActivityWatch/);
  // Watchers started while the server is down: what they record stays in aw-client's queue on disk.
  {
    await using watchers = scene.watchers();
    const beats = (
      every: number,
      data: (s: number) => unknown,
    ): [string, unknown][] =>
      range(0, 600).filter((s) => s % every === 0).map((s) => [iso(begin + HOUR_MS + s * 1000), data(s)]);
    for (
      const [kind, pulsetime, every, data] of [
        ["window", 2, 1, (s) => ({ app: "Offline", title: `offline ${CANARY} ${Math.floor(s / 17)}` })],
        ["afk", 185, 5, (s) => ({ status: s < 300 ? "not-afk" : "afk" })],
        [
          "web",
          80,
          20,
          (s) => ({ url: `https://${CANARY}.example/${Math.floor(s / 90)}`, title: "Offline" }),
        ],
      ] as [keyof typeof TYPES, number, number, (s: number) => unknown][]
    ) {
      const client = `aw-watcher-${kind}`;
      const [bucket, type] = [BUCKETS[kind], TYPES[kind]];
      await watchers.do({
        op: "beat",
        bucket,
        type,
        client,
        pulsetime,
        queued: true,
        beats: beats(every, data),
      });
    }
    await watchers.do({ op: "disconnect" });
  }
  const before = await scene.aw.restart().then(() => scene.aw.events(BUCKETS.window));
  await runOnce(line);
  await scene.equal(line, "server back, queue not yet");
  {
    await using watchers = scene.watchers();
    for (const kind of ["window", "afk", "web"] as const) {
      const [bucket, type, client] = [BUCKETS[kind], TYPES[kind], `aw-watcher-${kind}`];
      await watchers.do({ op: "beat", bucket, type, client, pulsetime: 1, queued: true, beats: [] });
    }
    await watchers.do({ op: "flush" });
    await watchers.do({ op: "disconnect" });
  }
  assert.ok(
    (await scene.aw.events(BUCKETS.window)).length > before.length + 20,
    "The queue was not replayed",
  );
  line.receiver.health = "sick";
  const refused = await line.agent.once();
  assert.equal(refused.code, 1, refused.stderr);
  line.receiver.health = "answers-lost";
  assert.equal((await line.agent.once()).code, 1);
  line.receiver.health = "well";
  await runOnce(line);
  await scene.equal(line, "queue replayed, answers lost");
  await scene.assertLogsKeepSecrets();
});

Deno.test("the agent leaves other devices' buckets alone, and takes the buckets that the settings name", async () => {
  await using scene = await Scene.open("buckets");
  const watchers = scene.watchers();
  const own = ["own-window", "aw-watcher-window_another-of-mine"];
  const others = [
    `aw-watcher-window_desk-synced-from-desk`,
    "aw-watcher-window_elsewhere",
    "aw-watcher-vscode_mine",
  ];
  const create = (bucket: string, host: string, type: string) =>
    watchers.do({ op: "bucket", bucket, type, hostname: host });
  for (const bucket of own) await create(bucket, hostname(), "currentwindow");
  await create(others[0]!, hostname(), "currentwindow");
  await create(others[1]!, "elsewhere", "currentwindow");
  await create(others[2]!, hostname(), "app.editor.activity");
  // From before watchers told the device's name.
  await create("aw-watcher-web-chrome", "unknown", "web.tab.current");
  const begin = Date.now() - 2 * HOUR_MS;
  for (const [n, bucket] of [...own, ...others].entries()) {
    const events = range(0, 30).map((k) => windowEvent(begin + k * 60_000 + n, 30, `${bucket} ${k}`));
    await watchers.do({ op: "insert", bucket, events });
  }
  const pages = range(0, 30).map((k) => webEvent(begin + k * 60_000, 40, k));
  await watchers.do({ op: "insert", bucket: "aw-watcher-web-chrome", events: pages });

  const found = await scene.line();
  await runOnce(found);
  await scene.equal(found, "found by type", { skipped: others });

  const named = await scene.line({ AW_WINDOW_BUCKET_ID: "aw-watcher-window_elsewhere" });
  await runOnce(named);
  await scene.equal(named, "named in the settings", { skipped: [...own, others[0]!, others[2]!] });
  await scene.assertLogsKeepSecrets();
});

async function createBuckets(scene: Scene, watchers: ReturnType<Scene["watchers"]>): Promise<void> {
  for (const kind of ["window", "afk", "web"] as const) {
    await watchers.do({
      op: "bucket",
      bucket: BUCKETS[kind],
      type: TYPES[kind],
      client: `aw-watcher-${kind}`,
    });
  }
  const known = Object.keys(await scene.aw.json<Record<string, unknown>>("/buckets/"));
  assert.deepEqual(known.sort(), Object.values(BUCKETS).sort());
}

async function runOnce(
  line: Line,
  args: string[] = [],
  settings: Record<string, string> = {},
): Promise<void> {
  const { code, stderr } = await line.agent.once(args, settings);
  assert.equal(code, 0, stderr);
}

function iso(ms: number): string {
  return new Date(ms).toISOString();
}

function range(from: number, to: number): number[] {
  return Array.from({ length: to - from }, (_, n) => from + n);
}

function sleep(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

function windowEvent(startMs: number, duration: number, name: string): ExportedEvent {
  return { timestamp: iso(startMs), duration, data: { app: "Code", title: `${name} ${CANARY}` } };
}

function afkEvent(startMs: number, duration: number, n: number): ExportedEvent {
  return { timestamp: iso(startMs), duration, data: { status: n % 2 === 0 ? "afk" : "not-afk" } };
}

function webEvent(startMs: number, duration: number, n: number): ExportedEvent {
  const url = `https://${CANARY}.example/${n}?q=%20&r=ü`;
  return {
    timestamp: iso(startMs),
    duration,
    data: { url, title: `page ${n}`, audible: n % 2 === 0, tabCount: n },
  };
}

/** Events as no careful program expects them: no duration, one start, and every kind of text. */
function oddEvents(startMs: number): ExportedEvent[] {
  const titles = [
    "",
    "👩‍👩‍👧 🏳️‍🌈",
    "\ud83d alone \ude00",
    "مستند جديد",
    "\u202Eright to left",
    "nul \0 in it",
    "é and e\u0301",
    'quote " back \\ slash / </script>',
    "line\r\nbreak \u2028 \u2029",
    "x".repeat(5_000),
  ];
  const at = (seconds: number) => startMs + seconds * 1000;
  return [
    ...titles.map((title, n) => ({
      timestamp: iso(at(n)),
      duration: n,
      data: { app: "Odd", title: `${title}${CANARY}` },
    })),
    // One start, and nothing else to tell them apart but the data or the duration.
    ...range(0, 5).map((n) => windowEvent(at(60), 0, `same start ${n}`)),
    ...range(0, 5).map((n) => windowEvent(at(61), n * 1.5, "same start and data")),
    windowEvent(at(62), 0, "twice"),
    windowEvent(at(62), 0, "twice"),
    // Floats: what JSON makes of them must come out as it went in.
    ...[0.001, 0.1, 1 / 3, 1e-6, 5e-5, 4.999999, 5, 1234567.891234].map((duration, n) =>
      windowEvent(at(100 + n), duration, `float ${n}`)
    ),
    { timestamp: iso(at(120)), duration: 7, data: {} },
    { timestamp: iso(at(121)), duration: 7, data: { app: null, title: 5, url: ["a"], incognito: true } },
    {
      timestamp: iso(at(122)),
      duration: 7,
      data: { app: "Browser", title: "t", url: `https://${CANARY}.example/` },
    },
    { timestamp: iso(at(123)), duration: 7, data: [1, 2] },
    { timestamp: iso(at(124)), duration: 7, data: "text" },
    { timestamp: iso(at(125)), duration: -3, data: { app: "Negative", title: CANARY } },
  ];
}

/** Events that begin or end exactly where a reader may cut, and a millisecond beside it. */
function edgeEvents(dayMs: number): ExportedEvent[] {
  return range(0, 24).flatMap((hour) =>
    [-1, 0, 1].flatMap((ms) => [
      windowEvent(dayMs + hour * HOUR_MS + ms, 0, `edge ${hour} ${ms}`),
      windowEvent(dayMs + hour * HOUR_MS + ms, 3600, `hour ${hour} ${ms}`),
      windowEvent(dayMs + hour * HOUR_MS - 10_000, 10 + ms / 1000, `ends at ${hour} ${ms}`),
    ])
  );
}
