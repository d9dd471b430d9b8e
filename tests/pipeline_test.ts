/**
 * The whole agent over generated histories: whatever watchers, servers, clocks and crashes do, the LifeLog server
 * ends up with exactly what ActivityWatch has. `PIPELINE_RUNS` sets how many histories of each kind are tried,
 * `PIPELINE_SEED` which.
 */

import assert from "node:assert/strict";
import fc from "fast-check";
import { join } from "node:path";
import type { Policy } from "../lib/event.ts";
import { createPolicy } from "../lib/filters/privacy.ts";
import { readRules } from "../lib/filters/rule.ts";
import type { Dialect } from "./fakes/activitywatch.ts";
import type { Health } from "./fakes/lifelog_server.ts";
import { type Kill, MAX_CALLS, World } from "./fakes/world.ts";
import { storedIdentity, wireIdentity } from "./interop/fidelity_table.ts";

const RUNS = Number(Deno.env.get("PIPELINE_RUNS") ?? 8);
/** The same each time, so that nobody's change fails by another's luck; a longer search sets others. */
const SEED = Number(Deno.env.get("PIPELINE_SEED") ?? 1);
const SECOND_MS = 1000;
const MINUTE_MS = 60 * SECOND_MS;
const HOUR_MS = 60 * MINUTE_MS;
const DAY_MS = 24 * HOUR_MS;
/** When the agent is installed. */
const START_MS = Date.UTC(2026, 2, 29, 0, 30);
/** How long watchers record at most. */
const LIVE_MS = 3 * HOUR_MS;

type Kind = "window" | "afk" | "web";
const BUCKETS: Record<Kind, { id: string; type: string; pulsetimeSeconds: number }> = {
  window: { id: "aw-watcher-window_laptop", type: "currentwindow", pulsetimeSeconds: 2 },
  afk: { id: "aw-watcher-afk_laptop", type: "afkstatus", pulsetimeSeconds: 185 },
  web: { id: "aw-watcher-web-firefox", type: "web.tab.current", pulsetimeSeconds: 80 },
};
const KINDS = Object.keys(BUCKETS) as Kind[];
const TITLES = [
  "main.ts",
  "",
  "日本語 👩‍👩‍👧 🏳️‍🌈",
  "e\u0301 \u00e9 \u2028 \0",
  '"quoted" \\ </script>',
  "\ud83d alone",
];

function dataOf(kind: Kind, n: number, isReduced: boolean): Record<string, unknown> {
  const title = TITLES[n % TITLES.length]!;
  if (kind === "afk") return { status: n % 2 === 0 ? "not-afk" : "afk" };
  if (kind === "window") {
    return n === 5 ? { title, app: null } : { app: n === 0 ? "Firefox" : `App ${n % 3}`, title };
  }
  // `tabCount` is not sent: two events may differ in it alone.
  return {
    url: `https://example.org/${n % 2}${isReduced ? "" : `?q=ü#${n}`}`,
    title: TITLES[n % 2]!,
    tabCount: n,
    audible: n % 2 === 0,
  };
}

/** A stretch of heartbeats with the same data, and what it is followed by. */
const segment = fc.record({
  data: fc.nat(5),
  beats: fc.integer({ min: 1, max: 40 }),
  stepMs: fc.constantFrom(250, 1000, 1000, 5000, 29_000),
  gapMs: fc.constantFrom(0, 1, 500, 3000, 60_000, 400_000),
  durationSeconds: fc.constantFrom(0, 0, 0, 0, 0.5, 12.25),
});
const durations = [0, 0.001, 0.5, 1 / 3, 1e-6, 4.999, 5, 61, 3600, 21_600, 86_400, 100_000, -3, 1234.567891];
const kind = fc.constantFrom(...KINDS);
/** An event from before the agent was installed, near where its reading may be cut. */
const pastEvent = fc.record({
  kind,
  edge: fc.nat(6),
  offsetMs: fc.constantFrom(-60_000, -1000, -1, 0, 0, 1, 999, 60_000, 3_600_000, 5_400_123),
  nanos: fc.constantFrom(0, 0, 1, 999, 500_000, 123_456),
  durationSeconds: fc.constantFrom(...durations),
  data: fc.nat(5),
  copies: fc.constantFrom(1, 1, 1, 2),
});
const atS = fc.integer({ min: 0, max: LIVE_MS / SECOND_MS });
const forS = fc.constantFrom(30, 400, 1500, 5000);
const late = fc.record({
  what: fc.constant("late" as const),
  kind,
  atS,
  backMs: fc.constantFrom(1, 1000, 60_000, 14 * MINUTE_MS, HOUR_MS, 3 * DAY_MS),
  durationSeconds: fc.constantFrom(...durations.filter((seconds) => seconds < 10_000)),
  data: fc.nat(5),
  count: fc.integer({ min: 1, max: 4 }),
});
const trouble = fc.oneof(
  fc.record({
    what: fc.constant("aw" as const),
    atS,
    forS,
    health: fc.constantFrom("down" as const, "error" as const, "nonsense" as const),
    restarted: fc.boolean(),
  }),
  fc.record({
    what: fc.constant("server" as const),
    atS,
    forS,
    health: fc.constantFrom<Health>("down", "sick", "answers-lost", "busy", "refuses"),
  }),
  fc.record({ what: fc.constant("restart" as const), atS, forS: fc.constantFrom(0, 60, 3000) }),
  fc.record({
    what: fc.constant("kill" as const),
    atS,
    forS: fc.constantFrom(0, 60, 3000),
    kill: fc.record({
      at: fc.constantFrom<Kill["at"]>("read", "send", "commit"),
      n: fc.nat(4),
      before: fc.boolean(),
    }),
  }),
);
const steps = { forward: [10 * MINUTE_MS, 3 * HOUR_MS, 20 * DAY_MS], back: [-10 * MINUTE_MS, -3 * HOUR_MS] };
const clock = (stepMs: number[]) =>
  fc.record({ what: fc.constant("clock" as const), atS, stepMs: fc.constantFrom(...stepMs) });
/** What changes events that may have been delivered. */
const meddling = fc.oneof(
  fc.record({
    what: fc.constant("edit" as const),
    kind,
    atS,
    pick: fc.nat(20),
    change: fc.constantFrom("data", "duration", "start", "nothing", "delete"),
  }),
  fc.record({ what: fc.constant("recreate" as const), kind, atS, restored: fc.boolean() }),
  fc.record({
    what: fc.constant("out of order" as const),
    kind,
    atS,
    backMs: fc.constantFrom(500, 5000, 90_000),
    data: fc.nat(5),
  }),
  fc.record({
    what: fc.constant("ahead" as const),
    kind,
    atS,
    aheadMs: fc.constantFrom(1, 1000, HOUR_MS),
    data: fc.nat(5),
  }),
);

type Incident =
  | (typeof late extends fc.Arbitrary<infer T> ? T : never)
  | (typeof trouble extends fc.Arbitrary<infer T> ? T : never)
  | (typeof meddling extends fc.Arbitrary<infer T> ? T : never)
  | { what: "clock"; atS: number; stepMs: number };

interface History {
  readonly dialect: Dialect;
  readonly daysBack: number;
  readonly minDurationSeconds: number;
  readonly latencyMs: number;
  readonly maxBatchSize: number;
  /** Judge by the privacy rules of the default, under which a browser's windows wait for what its pages were. */
  readonly privacy: boolean;
  /** Collect and deliver at once, as the daemon's two loops may. */
  readonly sideBySide: boolean;
  readonly past: readonly (typeof pastEvent extends fc.Arbitrary<infer T> ? T : never)[];
  readonly live: Record<Kind, readonly (typeof segment extends fc.Arbitrary<infer T> ? T : never)[]>;
  readonly incidents: readonly Incident[];
}

function history(dialect: Dialect, incident: fc.Arbitrary<Incident>): fc.Arbitrary<History> {
  const segments = fc.array(segment, { maxLength: 10 });
  return fc.record({
    dialect: fc.constant(dialect),
    daysBack: fc.constantFrom(1 / 24, 1, 9, 40),
    minDurationSeconds: fc.constantFrom(0, 5),
    latencyMs: fc.constantFrom(0, 0, 100, 3000, 20_000),
    maxBatchSize: fc.constantFrom(1, 3, 500),
    privacy: fc.boolean(),
    sideBySide: fc.boolean(),
    past: fc.array(pastEvent, { maxLength: 12 }),
    live: fc.record({ window: segments, afk: segments, web: segments }),
    incidents: fc.array(incident, { maxLength: 8 }),
  });
}

/** The rules that are in force where nobody set any. */
function defaultPolicy(): Policy {
  return createPolicy({
    preset: "standard",
    own: readRules([], "pipeline"),
    hashKey: () => new Uint8Array(32),
  });
}

/** Plays a history and returns the world at its end, when everybody has been well and idle for long enough. */
async function play(past: History, path: string) {
  if (Deno.env.has("PIPELINE_TRACE")) {
    Deno.writeTextFileSync(Deno.env.get("PIPELINE_TRACE")!, JSON.stringify(past));
  }
  const collectFromMs = START_MS - past.daysBack * DAY_MS;
  const stood = new Map<string, number[]>();
  const typeOf = (bucketId: string) => Object.values(BUCKETS).find(({ id }) => id === bucketId)!.type;
  const world = new World({
    dialect: past.dialect,
    path,
    startMs: START_MS,
    collectFromUs: collectFromMs * 1000,
    minDurationSeconds: past.minDurationSeconds,
    latencyMs: past.latencyMs,
    maxBatchSize: past.maxBatchSize,
    ...(past.privacy ? { policy: defaultPolicy } : {}),
    onStored: (bucketId, { startNs, endNs, data }) => {
      const timestamp = isoOf(startNs);
      const identity = wireIdentity(typeOf(bucketId), { timestamp, duration: 0, data });
      if (identity === undefined) return;
      const seconds = past.dialect === "rust"
        ? Number(endNs - startNs) / 1e9
        : Number((endNs - startNs) / 1000n) / 1e6;
      stood.set(identity, [...stood.get(identity) ?? [], seconds]);
    },
  });
  const { aw, server } = world;
  for (const { id, type } of Object.values(BUCKETS)) {
    aw.addBucket(id, type, collectFromMs, id.includes("web") ? { hostname: "unknown" } : {});
  }

  const edgesHours = [0, 6, 18, 42, 90, 186, 354];
  for (const { kind, edge, offsetMs, nanos, durationSeconds, data, copies } of past.past) {
    const spanMs = past.daysBack * DAY_MS;
    const ms = collectFromMs + (edgesHours[edge]! * HOUR_MS) % spanMs + offsetMs;
    if (ms >= START_MS - 1000) continue;
    const event = {
      startNs: BigInt(Math.floor(ms)) * 1_000_000n + BigInt(nanos),
      durationSeconds,
      data: dataOf(kind, data, past.privacy),
    };
    aw.insert(BUCKETS[kind].id, Array(copies).fill(event));
  }
  for (const kind of KINDS) {
    const { id, pulsetimeSeconds } = BUCKETS[kind];
    let ms = 0;
    for (const { data, beats, stepMs, gapMs, durationSeconds } of past.live[kind]) {
      for (let n = 0; n < beats && ms < LIVE_MS; n++, ms += stepMs) {
        world.at(ms, () => {
          const startNs = BigInt(Math.floor(world.now())) * 1_000_000n + BigInt((ms * 7919) % 1_000_000);
          world.beat(
            id,
            { startNs, durationSeconds, data: dataOf(kind, data, past.privacy) },
            pulsetimeSeconds,
          );
        });
      }
      ms += gapMs;
    }
  }

  let awayUntilMs: number | undefined;
  let restartForS: number | undefined;
  for (const incident of past.incidents) {
    world.at(incident.atS * SECOND_MS + 1, () => {
      switch (incident.what) {
        case "aw":
          world.awHealth = incident.health;
          world.at(world.monotonicMs() + incident.forS * SECOND_MS, () => {
            world.awHealth = "well";
            if (incident.restarted) aw.restart();
          });
          break;
        case "server":
          server.health = incident.health;
          world.at(world.monotonicMs() + incident.forS * SECOND_MS, () => server.health = "well");
          break;
        case "restart":
          restartForS = incident.forS;
          break;
        case "kill":
          world.kill(incident.kill);
          restartForS = undefined;
          awayUntilMs = world.monotonicMs() + incident.forS * SECOND_MS;
          break;
        case "clock":
          world.stepClock(incident.stepMs);
          break;
        case "late":
        case "ahead": {
          const { id } = BUCKETS[incident.kind];
          const newest = aw.rows(id).at(-1);
          if (newest === undefined) break;
          const ms = incident.what === "late" ? -incident.backMs : incident.aheadMs;
          const startNs = newest.startNs + BigInt(ms) * 1_000_000n;
          const { durationSeconds, count } = incident.what === "late"
            ? incident
            : { durationSeconds: 0, count: 1 };
          const events = Array.from({ length: count }, (_, n) => ({
            startNs: startNs - BigInt(n) * 333_000_000n,
            durationSeconds,
            data: dataOf(incident.kind, incident.data + n, past.privacy),
          }));
          aw.insert(id, events);
          break;
        }
        case "edit": {
          const { id } = BUCKETS[incident.kind];
          const rows = aw.rows(id);
          const row = rows.at(-1 - incident.pick % Math.max(1, rows.length));
          const newest = rows.at(-1);
          // What is edited further back than the agent ever looks again is out of its power.
          if (row === undefined || newest!.startNs - row.startNs > BigInt(5 * DAY_MS) * 1_000_000n) break;
          const { startNs, endNs, data } = row;
          const event = { startNs, durationSeconds: Number(endNs - startNs) / 1e9, data };
          aw.deleteEvent(id, row.id);
          if (incident.change === "delete") break;
          if (incident.change === "data") event.data = dataOf(incident.kind, incident.pick + 1, past.privacy);
          if (incident.change === "duration") event.durationSeconds += 1.5;
          if (incident.change === "start") event.startNs += 1_234_000_000n;
          aw.insert(id, [event]);
          break;
        }
        case "recreate": {
          const { id, type } = BUCKETS[incident.kind];
          const rows = aw.rows(id);
          aw.deleteBucket(id);
          aw.addBucket(id, type, world.now(), id.includes("web") ? { hostname: "unknown" } : {});
          if (!incident.restored) break;
          aw.insert(
            id,
            rows.map(({ startNs, endNs, data }) => ({
              startNs,
              durationSeconds: Number(endNs - startNs) / 1e9,
              data,
            })),
          );
          break;
        }
        case "out of order": {
          const { id, pulsetimeSeconds } = BUCKETS[incident.kind];
          const startNs = BigInt(Math.floor(world.now() - incident.backMs)) * 1_000_000n;
          world.beat(
            id,
            { startNs, durationSeconds: 0, data: dataOf(incident.kind, incident.data, past.privacy) },
            pulsetimeSeconds,
          );
        }
      }
    });
  }

  await world.start();
  const rest = async () => {
    if (await world.died()) {
      world.advance(Math.max(0, (awayUntilMs ?? 0) - world.monotonicMs()));
      await world.start();
    } else if (restartForS !== undefined) {
      await world.stop();
      world.advance(restartForS * SECOND_MS);
      restartForS = undefined;
      await world.start();
    }
    restartForS = undefined;
  };
  const turn = async (deliver: boolean) => {
    if (past.sideBySide) await Promise.all([world.collect(), deliver ? world.deliver() : undefined]);
    else {
      await world.collect();
      if (deliver) await world.deliver();
    }
    // It may have been killed at its very start.
    for (let lives = 0; lives < 5; lives++) await rest();
  };
  for (let n = 1; world.monotonicMs() < LIVE_MS + MINUTE_MS; n++) {
    world.advance(Math.max(1, n * MINUTE_MS - world.monotonicMs()));
    await turn(n % 5 === 0);
  }
  world.awHealth = "well";
  server.health = "well";
  // Until all has settled, the clock has passed what was recorded ahead of it, and the past was read again.
  for (const ms of [HOUR_MS, MINUTE_MS, MINUTE_MS, 7 * HOUR_MS, MINUTE_MS, 3 * DAY_MS, 45 * DAY_MS]) {
    world.advance(ms);
    for (let n = 0; n < 4; n++) {
      await turn(true);
      world.advance(MINUTE_MS);
    }
  }
  return { world, stood, collectFromMs };
}

/** What differs between the two ends, in the server's form. */
function difference({ world, collectFromMs }: Awaited<ReturnType<typeof play>>, minDurationSeconds: number) {
  const all = new Set<string>();
  const due = new Set<string>();
  for (const { type, events } of world.aw.export()) {
    for (const event of events) {
      const identity = wireIdentity(type, event);
      if (identity === undefined) continue;
      const key = `${identity} ${event.duration}`;
      all.add(key);
      const short = minDurationSeconds > 0 && type !== "afkstatus" && event.duration < minDurationSeconds;
      if (!short && Date.parse(event.timestamp) >= collectFromMs) due.add(key);
    }
  }
  const has = new Set(
    world.server.events.map((event) => `${storedIdentity(event)} ${event.data.duration_seconds}`),
  );
  return {
    missing: [...due].filter((key) => !has.has(key)),
    extra: [...has].filter((key) => !all.has(key)),
    due: due.size,
  };
}

async function withFolder(work: (path: string) => Promise<void>): Promise<void> {
  const folder = await Deno.makeTempDir({ prefix: "lifelog-pipeline-" });
  try {
    await work(join(folder, "cache.sqlite"));
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

async function check(
  histories: fc.Arbitrary<History>,
  holds: (end: Awaited<ReturnType<typeof play>>, past: History) => void,
) {
  await fc.assert(
    fc.asyncProperty(histories, (past) =>
      withFolder(async (path) => {
        const end = await play(past, path);
        await using world = end.world;
        assert.ok(world.calls < MAX_CALLS, "The agent asks without an end");
        assert.equal(world.server.resentOtherwise, 0, "An event was sent again in other bytes");
        assert.equal(world.server.rejected, 0, "An event was sent that is none");
        holds(end, past);
      })),
    {
      numRuns: RUNS,
      seed: SEED,
      endOnFailure: Deno.env.get("PIPELINE_SHRINK") === undefined,
    },
  );
}

let exercised = 0;
for (const dialect of ["python", "rust"] as const) {
  // aw-server (Python) itself overwrites older events when its watchers' clock is set back.
  const calm = fc.oneof(
    late,
    trouble,
    clock(dialect === "rust" ? [...steps.forward, ...steps.back] : steps.forward),
  );
  Deno.test(`the server has exactly what aw-server (${dialect}) has, whatever fails in between`, async () => {
    await check(history(dialect, calm), (end, past) => {
      const { missing, extra, due } = difference(end, past.minDurationSeconds);
      exercised += due;
      assert.deepEqual({ missing, extra }, { missing: [], extra: [] });
      const mayResend = past.incidents.some(({ what }) =>
        what === "kill" || what === "server" || what === "restart"
      );
      if (!mayResend) {
        assert.equal(end.world.server.resent, 0, "Events were sent twice though no answer was lost");
      }
    });
    assert.ok(exercised > RUNS, "Hardly any event was expected, so nothing was shown");
  });

  const wild = fc.oneof(late, trouble, meddling, clock([...steps.forward, ...steps.back]));
  Deno.test(`nothing of aw-server (${dialect}) is missing, and nothing is invented, when history is rewritten`, async () => {
    await check(history(dialect, wild), (end, past) => {
      const { missing, extra } = difference(end, past.minDurationSeconds);
      assert.deepEqual(missing, []);
      for (const key of extra) {
        const at = key.lastIndexOf(" ");
        const seconds = Number(key.slice(at + 1));
        assert.ok(end.stood.get(key.slice(0, at))?.includes(seconds), `ActivityWatch never had ${key}`);
      }
    });
  });
}

function isoOf(ns: bigint): string {
  const ms = ns / 1_000_000n;
  return new Date(Number(ms)).toISOString().replace("Z", `${String(ns % 1_000_000n).padStart(6, "0")}Z`);
}
