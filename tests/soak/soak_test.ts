/**
 * Months in minutes: the agent's own parts and a real SQLite file on a simulated clock, with random faults on every
 * side. What the servers know is computed and not stored, so that memory that grows is the agent's.
 */

import assert from "node:assert/strict";
import { join } from "node:path";
import { createAgent } from "../../lib/agent.ts";
import { createCollector } from "../../lib/collector.ts";
import { createDeliverer } from "../../lib/deliverer.ts";
import { StoreError } from "../../lib/errors.ts";
import { createRepeatGate } from "../../lib/log.ts";
import type { startSchedule } from "../../lib/schedule.ts";
import { lifelogSink } from "../../lib/sinks/lifelog.ts";
import { activityWatchSource } from "../../lib/sources/activitywatch.ts";
import { createMarkKeeper } from "../../lib/store/mark.ts";
import { getMeta, setMeta } from "../../lib/store/meta.ts";
import { deadLetterCount, outboxDepth } from "../../lib/store/outbox.ts";
import { openCache } from "../../lib/store/recover.ts";
import { SimClock } from "../demo/sim_clock.ts";
import { randomOf } from "../faults/storage.ts";

const DAYS = Number(Deno.env.get("LIFELOG_SOAK_DAYS") ?? 31);
const SEED = Number(Deno.env.get("LIFELOG_SOAK_SEED") ?? 1);
const HOUR_MS = 3_600_000;
const DAY_MS = 24 * HOUR_MS;
const BEGIN_MS = Date.UTC(2026, 0, 5);
const END_MS = BEGIN_MS + DAYS * DAY_MS;
/** Requests are answered at once; but each has a timer of real time, which holds memory until it is over. */
const TIMEOUT_MS = 2_000;
/** From this day on all that is kept for a while is full: what grows after it grows for ever. */
const FULL_AFTER_DAYS = 9;

/** A bucket whose events follow from their number. */
interface ComputedBucket {
  readonly id: string;
  readonly type: string;
  readonly wireType: string;
  readonly everyMs: number;
  readonly durationMs: (n: number) => number;
  readonly data: (n: number) => Record<string, string>;
}

const BUCKETS: readonly ComputedBucket[] = [
  {
    id: "aw-watcher-window_soak",
    type: "currentwindow",
    wireType: "desktop_activity.window",
    everyMs: 45_000,
    durationMs: (n) => 20_000 + (n * 7919) % 24_000,
    data: (n) => ({ app: `App ${n % 9}`, title: `${n}` }),
  },
  {
    id: "aw-watcher-web-firefox_soak",
    type: "web.tab.current",
    wireType: "browser_activity.web",
    everyMs: 600_000,
    durationMs: (n) => 60_000 + (n * 104_729) % 500_000,
    data: (n) => ({ url: `https://example.org/${n}`, title: `${n}` }),
  },
];

const startOf = ({ everyMs }: ComputedBucket, n: number) => BEGIN_MS + n * everyMs;
const countAt = ({ everyMs }: ComputedBucket, ms: number) =>
  Math.max(0, Math.ceil((ms - BEGIN_MS) / everyMs));
/** Never accepted by the server. */
const isPoison = (n: number) => n % 4000 === 77;

/** aw-server over what follows from the time: the newest event grows, events are cut at what is asked for. */
function activityWatch(now: () => number, down: () => boolean): typeof fetch {
  const render = (bucket: ComputedBucket, n: number, fromMs = -Infinity, toMs = Infinity) => {
    const startMs = startOf(bucket, n);
    const endMs = startMs + Math.min(bucket.durationMs(n), now() - startMs);
    const cutStart = Math.max(startMs, fromMs);
    const seconds = (Math.min(endMs, toMs) - cutStart) / 1000;
    const timestamp = new Date(cutStart).toISOString().replace("Z", "000+00:00");
    return { id: n + 1, timestamp, duration: Math.max(0, seconds), data: bucket.data(n) };
  };
  return (input) => {
    if (down()) return Promise.reject(new TypeError("connection refused"));
    const { pathname, searchParams } = new URL(String(input));
    const json = (value: unknown) => Promise.resolve(Response.json(value));
    if (pathname === "/api/0/info") return json({ hostname: "soak", version: "v0.13.2" });
    if (pathname === "/api/0/buckets/") {
      return json(Object.fromEntries(
        BUCKETS.map(({ id, type }) => [id, { id, type, hostname: "soak", created: "2026-01-01T00:00:00Z" }]),
      ));
    }
    const [, id, item] = /^\/api\/0\/buckets\/([^/]+)\/events(?:\/(\d+))?$/.exec(pathname)!;
    const bucket = BUCKETS.find((bucket) => bucket.id === id)!;
    if (item !== undefined) return json(render(bucket, Number(item) - 1));
    const fromMs = Date.parse(searchParams.get("start") ?? new Date(BEGIN_MS).toISOString());
    const toMs = Date.parse(searchParams.get("end") ?? new Date(now()).toISOString());
    const rows = [];
    const last = Math.min(countAt(bucket, now()), countAt(bucket, toMs + 1)) - 1;
    const limit = Number(searchParams.get("limit") ?? Infinity);
    for (let n = last; n >= 0 && rows.length < limit; n--) {
      const startMs = startOf(bucket, n);
      if (startMs < fromMs - bucket.everyMs) break;
      if (startMs + Math.min(bucket.durationMs(n), now() - startMs) >= fromMs) {
        rows.push(render(bucket, n, fromMs, toMs));
      }
    }
    return json(rows);
  };
}

type ServerMood = "well" | "503" | "lost" | "hangs" | "401" | "500" | "429" | "413" | "html";

/** A LifeLog server that knows what it must be sent, and counts how often it was. */
class Server {
  mood: ServerMood = "well";
  requests = 0;
  readonly #received = BUCKETS.map((bucket) => new Uint8Array(countAt(bucket, END_MS) + 1));

  readonly fetch: typeof fetch = (_, init) => {
    this.requests++;
    const { events } = JSON.parse(new TextDecoder().decode((init as { body: Uint8Array }).body));
    const answer = (status: number, body: unknown, headers: Record<string, string> = {}) =>
      Promise.resolve(new Response(JSON.stringify(body), { status, headers }));
    switch (this.mood) {
      case "503":
        return answer(503, {});
      case "401":
        return answer(401, { detail: "Not authenticated" });
      case "500":
        return answer(500, {});
      case "429":
        return answer(429, {}, { "retry-after": "300" });
      case "413":
        if (events.length > 20) return answer(413, {});
        break;
      case "html":
        return Promise.resolve(new Response("<html>Log in</html>", { status: 200 }));
      case "hangs":
        return Promise.reject(new TypeError("connection closed before message completed"));
    }
    const numbers = (events as { type: string; timestamp: string; data: Record<string, unknown> }[]).map(
      (event) => {
        const at = BUCKETS.findIndex(({ wireType }) => wireType === event.type);
        const bucket = BUCKETS[at]!;
        const n = Number(event.data.title);
        // The exact event, with its final duration, or the test ends here.
        assert.equal(Date.parse(event.timestamp), startOf(bucket, n));
        assert.equal(event.data.duration_seconds, bucket.durationMs(n) / 1000);
        return { at, n };
      },
    );
    if (numbers.some(({ at, n }) => at === 0 && isPoison(n))) return answer(422, { detail: "not valid" });
    for (const { at, n } of numbers) this.#received[at]![n]! = 1;
    if (this.mood === "lost") return Promise.reject(new TypeError("connection reset"));
    return answer(200, { status: "success", received_events: events.length });
  };

  /** The numbers below `count` that were never received. */
  missing(at: number, count: number): number[] {
    return [...this.#received[at]!.subarray(0, count).entries()].flatMap(([n, got]) => got === 1 ? [] : [n]);
  }
}

const schedulesOf = (clock: SimClock, started: () => void): typeof startSchedule =>
(
  { name, intervalSeconds, run, signal },
) => {
  const loop = clock.work(async () => {
    while (!signal.aborted) {
      try {
        await clock.sleep(intervalSeconds * 1000, { signal });
      } catch {
        return;
      }
      await run();
    }
  });
  if (name === "deliver") started();
  return loop;
};

Deno.test(`${DAYS} days of faults: nothing lost, nothing twice, and neither memory nor the cache grows`, async () => {
  const folder = await Deno.makeTempDir({ prefix: "lifelog-soak-" });
  const path = join(folder, "cache.sqlite");
  const random = randomOf(SEED);
  const clock = new SimClock(BEGIN_MS + 1000);
  const { now, sleep } = clock;
  const server = new Server();
  let awDown = false;
  let damages = 0;
  let lives = 0;

  /** An agent on the cache, as the program starts one; `found` is the damage that the one before it ended with. */
  function live(found?: StoreError) {
    lives++;
    const stop = new AbortController();
    const { signal } = stop;
    const { db, loss } = openCache(path, { now, ...(found === undefined ? {} : { damage: found }) });
    let damage: StoreError | undefined;
    if (loss !== undefined) damages++;
    if (getMeta(db, "collect_from_us") === undefined) setMeta(db, "collect_from_us", String(BEGIN_MS * 1000));
    const mark = createMarkKeeper(db, { now, monotonicMs: now });
    mark.begin();
    const alive = <T extends typeof fetch>(request: T): typeof fetch => (input, init) => {
      signal.throwIfAborted();
      return request(input, init);
    };
    const source = activityWatchSource({
      fetch: alive(activityWatch(now, () => awDown)),
      monotonicMs: now,
      sleep,
      timeoutMs: TIMEOUT_MS,
    });
    const collector = createCollector({
      db,
      source,
      filters: [],
      collectFromUs: Number(getMeta(db, "collect_from_us")),
      now,
      monotonicMs: now,
    });
    const sink = lifelogSink({
      endpoint: new URL("https://lifelog.invalid/"),
      token: "t",
      deviceId: "soak",
      timeoutMs: TIMEOUT_MS,
      fetch: alive(server.fetch),
      now,
    });
    const deliverer = createDeliverer({
      db,
      sink,
      now,
      monotonicMs: now,
      sleep,
      random: () => random(1000) / 1000,
    });
    let starting = true;
    const started = () => {
      if (starting) clock.end();
      starting = false;
    };
    const agent = createAgent({
      db,
      source,
      collector,
      deliverer,
      repeats: createRepeatGate({ now }),
      onEmptied: mark.keep,
      now,
      monotonicMs: now,
      schedule: schedulesOf(clock, started),
    });
    clock.begin();
    const running = agent.run(signal).catch((error) => {
      if (!(error instanceof StoreError)) throw error;
      if (error.fault === "corrupt") damage = error;
    }).finally(() => {
      started();
      db[Symbol.dispose]();
    });
    return {
      db,
      damage: () => damage,
      async kill() {
        stop.abort();
        await running;
      },
    };
  }

  const moods: ServerMood[] = ["503", "lost", "hangs", "401", "500", "429", "413", "html"];
  const gc = (globalThis as { gc?: () => void }).gc;
  const samples: { day: number; heapMb: number; fileMb: number; usedMb: number }[] = [];
  let agent = live();
  for (let at = BEGIN_MS + HOUR_MS; at <= END_MS; at += HOUR_MS) {
    const calm = END_MS - at < 12 * HOUR_MS;
    server.mood = calm || random(3) > 0 ? "well" : moods[random(moods.length)]!;
    awDown = !calm && random(10) === 0;
    await clock.advanceTo(at);
    if (!calm && random(15) === 0) {
      await agent.kill();
      if (random(6) === 0) {
        const bytes = Deno.readFileSync(path);
        for (let n = 0; n < 20; n++) bytes[random(bytes.length)]! ^= 1 << random(8);
        Deno.writeFileSync(path, bytes);
      }
      agent = live();
    }
    // The program begins anew where it finds its cache damaged.
    const damage = agent.damage();
    if (damage !== undefined) {
      await agent.kill();
      agent = live(damage);
    }
    if ((at - BEGIN_MS) % DAY_MS === 0) {
      if (gc !== undefined) await new Promise((resolve) => setTimeout(resolve, TIMEOUT_MS + 100));
      gc?.();
      samples.push({
        day: (at - BEGIN_MS) / DAY_MS,
        heapMb: Deno.memoryUsage().heapUsed / 1e6,
        fileMb: Deno.statSync(path).size / 1e6,
        usedMb: agent.db.usedBytes() / 1e6,
      });
    }
  }
  const waiting = outboxDepth(agent.db);
  const dead = deadLetterCount(agent.db);
  await agent.kill();
  await Deno.remove(folder, { recursive: true });

  console.log(
    `\n${lives} lives, ${damages} damaged caches, ${server.requests} requests, ${dead} dead letters\n`,
  );
  console.log("day | heap MB | cache MB | of it used MB");
  for (const { day, heapMb, fileMb, usedMb } of samples) {
    console.log(
      `${String(day).padStart(3)} | ${heapMb.toFixed(1).padStart(7)} | ${fileMb.toFixed(1).padStart(8)} | ${
        usedMb.toFixed(1)
      }`,
    );
  }
  for (const [at, bucket] of BUCKETS.entries()) {
    // Events that ended an hour before the end are final, collected and delivered.
    const missing = server.missing(at, countAt(bucket, END_MS - HOUR_MS));
    assert.deepEqual(missing.filter((n) => !(at === 0 && isPoison(n))), [], `of ${bucket.id}`);
  }
  assert.ok(waiting < 20, `${waiting} waiting`);
  const full = samples.filter(({ day }) => day >= FULL_AFTER_DAYS);
  if (full.length < 3) return;
  const [first, last] = [full[0]!, full.at(-1)!];
  if (gc !== undefined) assert.ok(last.heapMb < first.heapMb * 1.2 + 3, "memory is flat");
  const most = Math.max(...full.slice(0, Math.ceil(full.length / 2)).map(({ fileMb }) => fileMb));
  assert.ok(last.fileMb < most * 1.25 + 1, "the cache is flat");
});
