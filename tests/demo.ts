/**
 * A day in some seconds: watchers, ActivityWatch and a LifeLog server that stand in for the real ones, the real agent
 * between them over real sockets and a real SQLite file, and all that goes wrong in the life of such an agent.
 *
 * Run with `deno task demo`. Exits 1 when the server's events are not ActivityWatch's.
 */

import { join } from "node:path";
import { ActivityWatch } from "./demo/activitywatch.ts";
import { type RunningAgent, startAgent } from "./demo/agent.ts";
import { clockTime, DAY, makeDay } from "./demo/day.ts";
import { LifelogServer } from "./demo/lifelog_server.ts";
import { type Counts, fidelityTable, isExact, paintFor, sum, timeline } from "./demo/report.ts";
import { SimClock } from "./demo/sim_clock.ts";
import { type Heartbeat, Watchers } from "./demo/watchers.ts";
import { compare } from "./interop/fidelity_table.ts";

const MIDNIGHT_MS = Date.UTC(2026, 2, 10);
const TOKEN = "demo-token";
const MIN_DURATION_SECONDS = 5;
const BUCKETS = {
  window: "aw-watcher-window_laptop",
  afk: "aw-watcher-afk_laptop",
  web: "aw-watcher-web-firefox_laptop",
};
const TYPES = { window: "currentwindow", afk: "afkstatus", web: "web.tab.current" } as const;
const WIRE_TYPES = {
  window: "desktop_activity.window",
  afk: "desktop_activity.afk",
  web: "browser_activity.web",
} as const;

/** What {@link runDemo} may be told. */
export interface DemoOptions {
  readonly print: (line: string) => void;
  /** Default: plain text. */
  readonly colour?: boolean;
  /** Another seed is another day. Default: 7. */
  readonly seed?: number;
  /** Makes the server confirm the event of this number, from 1, and forget it. */
  readonly forget?: number;
}

/** What the demo found. */
export interface DemoResult {
  /** One row of counts for each kind of event. */
  readonly counts: Readonly<Record<keyof typeof BUCKETS, Counts>>;
  /** Events that the server was sent more than once; it stores them once. */
  readonly resent: number;
  readonly exact: boolean;
}

/** Plays the day, prints its story, the day as the server has it, and the table of fidelity. */
export async function runDemo(options: DemoOptions): Promise<DemoResult> {
  const { print, colour = false, seed = 7, forget } = options;
  const paint = paintFor(colour);
  const folder = await Deno.makeTempDir({ prefix: "lifelog-demo-" });
  const clock = new SimClock(MIDNIGHT_MS + DAY.fromS * 1000);
  await using activityWatch = new ActivityWatch();
  await using server = new LifelogServer({ token: TOKEN, now: clock.now, forget });
  for (const kind of ["window", "afk", "web"] as const) {
    activityWatch.addBucket(BUCKETS[kind], TYPES[kind], clock.now());
  }
  const say = (line: string) =>
    print(`  ${paint.bold(new Date(clock.now()).toISOString().slice(11, 16))}  ${line}`);

  let troubled = false;
  let deliveredSince = 0;
  function live(life: number): RunningAgent {
    const home = join(folder, String(life));
    Deno.mkdirSync(home, { recursive: true });
    return startAgent({
      clock,
      activityWatch: activityWatch.url,
      endpoint: server.endpoint,
      token: TOKEN,
      folder: home,
      collectFromUs: (MIDNIGHT_MS - 86_400_000) * 1000,
      minDurationSeconds: MIN_DURATION_SECONDS,
      onResult(batch, result) {
        if (result.kind === "delivered") {
          deliveredSince += batch.length;
          if (troubled) say(paint.green(`The server has taken ${batch.length} events that waited`));
          troubled = false;
        } else {
          if (!troubled) {
            say(paint.yellow(`A request fails (${"reason" in result ? result.reason : ""}); all is kept`));
          }
          troubled = true;
        }
      },
    });
  }
  let agent: RunningAgent | undefined = live(1);
  const waiting = () => `${agent?.depth() ?? 0} events wait in the outbox`;

  const watchers = new Watchers(makeDay(seed), MIDNIGHT_MS, BUCKETS, (beat) => send(activityWatch.url, beat));
  let dying: Promise<void> | undefined;
  const incidents = new Map<number, () => Promise<void> | void>([
    [clockTime(8), () => say("The watchers start, and the agent with an empty cache")],
    [clockTime(10, 30), () => {
      server.losesNextAnswer = true;
      say(paint.yellow("The server stores the next batch, but its answer is going to be lost"));
    }],
    [
      clockTime(10, 50),
      () => say(`${server.resent} events came to the server twice, the same to the byte: stored once`),
    ],
    [clockTime(12, 10), () => {
      server.sick = true;
      say(paint.yellow("The server goes down: it answers 503"));
    }],
    [clockTime(12, 50), async () => {
      await server.stop();
      say(paint.yellow(`Now it refuses connections; ${waiting()}`));
    }],
    [clockTime(13, 40), () => {
      say(paint.red(`The agent is killed in the middle of a read; ${waiting()}`));
      const next = join(folder, "2");
      Deno.mkdirSync(next);
      dying = agent!.killAtRead(BUCKETS.afk, next);
      agent = undefined;
    }],
    [clockTime(13, 55), async () => {
      await dying;
      agent = live(2);
      say(`The agent is started again; ${waiting()}`);
    }],
    [clockTime(14, 30), () => {
      server.sick = false;
      server.start();
      say(`The server is back; ${waiting()}`);
    }],
    [clockTime(16, 10), async () => {
      await activityWatch.stop();
      say(paint.yellow("ActivityWatch goes down; its watchers keep what they cannot send"));
    }],
    [clockTime(16, 25), () => {
      say(`ActivityWatch is back; its watchers deliver ${watchers.queued} heartbeats late`);
      activityWatch.start();
    }],
    [clockTime(18), async () => {
      await watchers.flush();
      say("The watchers end");
    }],
    [clockTime(18, 20), () => say(`The day is over: ${deliveredSince} events delivered, ${waiting()}`)],
  ]);

  print(paint.bold("A day with the agent (the clock is simulated; sockets, SQLite and agent are real)\n"));
  for (let s = DAY.fromS; s <= clockTime(18, 20); s++) {
    const nowMs = MIDNIGHT_MS + s * 1000;
    await clock.advanceTo(nowMs);
    await incidents.get(s)?.();
    await watchers.second(nowMs);
  }
  await agent?.stop();

  print(paint.bold("\nThe day as the LifeLog server has it (one letter: two minutes)\n"));
  for (const line of timeline(server.events, paint)) print(line);

  const truth = activityWatch.export();
  const countsOf = (kind: keyof typeof BUCKETS): Counts => {
    const bucket = truth.filter(({ id }) => id === BUCKETS[kind]);
    const events = bucket.flatMap(({ events }) => events);
    const { received, lost, repeated, wrong, unexpected } = compare(
      bucket,
      server.events.filter(({ type }) => type === WIRE_TYPES[kind]),
      { minDurationSeconds: MIN_DURATION_SECONDS },
    );
    return {
      inActivityWatch: events.length,
      tooShort: kind === "afk" ? 0 : events.filter(({ duration }) => duration < MIN_DURATION_SECONDS).length,
      received,
      lost,
      repeated,
      wrongDuration: wrong,
      unknown: unexpected,
    };
  };
  const counts = { window: countsOf("window"), afk: countsOf("afk"), web: countsOf("web") };
  const all = sum(Object.values(counts));
  const exact = isExact(all) && all.received === all.inActivityWatch - all.tooShort;
  print(paint.bold("\nWhat ActivityWatch has against what the LifeLog server has\n"));
  for (const line of fidelityTable(counts, paint)) print(line);
  print(
    exact
      ? paint.green(`\n  Exact: ${all.received} events, each of them once and with its last duration.`)
      : paint.red("\n  Not exact."),
  );
  await Deno.remove(folder, { recursive: true });
  return { counts, resent: server.resent, exact };
}

/** Sends a heartbeat as aw-client does; `false` when ActivityWatch is down. */
async function send(url: URL, beat: Heartbeat): Promise<boolean> {
  const path = `/api/0/buckets/${beat.bucketId}/heartbeat?pulsetime=${beat.pulsetimeSeconds}`;
  try {
    const response = await fetch(new URL(path, url), {
      method: "POST",
      body: JSON.stringify({
        timestamp: new Date(beat.startMs).toISOString(),
        duration: beat.durationSeconds,
        data: beat.data,
      }),
    });
    await response.body?.cancel();
    return response.ok;
  } catch {
    return false;
  }
}

if (import.meta.main) {
  const colour = Deno.stdout.isTerminal() && (Deno.env.get("NO_COLOR") ?? "") === "";
  const { exact } = await runDemo({ print: console.log, colour });
  Deno.exit(exact ? 0 : 1);
}
