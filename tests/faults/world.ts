/** The compiled program between an ActivityWatch and a LifeLog server that can fail, and what it must come to. */

import assert from "node:assert/strict";
import { DatabaseSync } from "node:sqlite";
import { join } from "node:path";
import { Agent, type AgentRun } from "../interop/agent.ts";
import { ActivityWatch } from "./activitywatch.ts";
import { Receiver, TOKEN } from "./receiver.ts";

/** The long form of the tests: every number as large as was promised. */
export const FULL = Deno.env.get("LIFELOG_FAULTS") === "full";

export const WINDOW = "aw-watcher-window_laptop";
export const AFK = "aw-watcher-afk_laptop";
const TYPES: Record<string, string> = {
  currentwindow: "desktop_activity.window",
  afkstatus: "desktop_activity.afk",
  "web.tab.current": "browser_activity.web",
};

/** What a world may be made with. */
export interface WorldOptions {
  /** Settings of the program beside those of the world. */
  readonly settings?: Record<string, string>;
  /** How many events there are at first. */
  readonly events?: number;
  readonly tls?: { cert: string; key: string };
  /** The folder of the cache. Default: the world's own. */
  readonly folder?: string;
}

export class World implements AsyncDisposable {
  readonly home: string;
  readonly cachePath: string;
  readonly activityWatch = new ActivityWatch();
  readonly receiver: Receiver;
  readonly agent: Agent;
  #added = 0;

  constructor(options: WorldOptions = {}) {
    this.home = Deno.makeTempDirSync({ prefix: "lifelog-faults-" });
    this.cachePath = join(options.folder ?? this.home, "cache.sqlite");
    this.receiver = new Receiver(options.tls);
    this.agent = new Agent(this.home, {
      AW_URL: this.activityWatch.url,
      CENTRAL_SERVER_ENDPOINT: this.receiver.endpoint,
      SERVER_AUTH_TOKEN: TOKEN,
      LOCAL_CACHE_DB_PATH: this.cachePath,
      LOG_FILE: "",
      LOG_LEVEL: "INFO",
      AW_MIN_DURATION_SECONDS: "0",
      RETRY_DELAY_SECONDS: "0",
      AW_SETTLE_SECONDS: "0",
      MAX_SEND_RETRIES: "1",
      REQUEST_TIMEOUT_SECONDS: "1",
      ...options.settings,
    });
    this.activityWatch.addBucket(WINDOW, "currentwindow");
    this.activityWatch.addBucket(AFK, "afkstatus");
    this.record(options.events ?? 40);
  }

  /** Records events of the last hours, the newest of which ended some while ago, so that they are final. */
  record(count: number): void {
    // Each batch comes after the one before, as time goes on.
    const firstMs = Date.now() - 20 * 3_600_000 + this.#added * 2_000;
    for (let n = 0; n < count; n++) {
      const startMs = firstMs + n * 2_000;
      const number = this.#added + n;
      if (number % 4 === 3) {
        this.activityWatch.add(AFK, startMs, 1.5, { status: number % 8 === 3 ? "afk" : "not-afk" });
      } else {
        this.activityWatch.add(WINDOW, startMs, 1 + (number % 7) / 8, {
          app: "App",
          title: `Title ${number}`,
        });
      }
    }
    this.#added += count;
  }

  /** What ActivityWatch has, in the words of the server. */
  truth(): string[] {
    return [...this.activityWatch.buckets.values()].flatMap(({ type, events }) =>
      events.filter(({ data }) => typeof data === "object" && data !== null && !Array.isArray(data)).map((
        { startMs, durationSeconds, data },
      ) => lineOf(TYPES[type]!, startMs, durationSeconds, titleOf(type, data as Record<string, unknown>)))
    ).sort();
  }

  /** What the server has. */
  received(): string[] {
    return this.receiver.events.map(({ timestamp, type, data }) =>
      lineOf(type, Date.parse(timestamp), data.duration_seconds, data.title)
    ).sort();
  }

  /** The server has exactly what ActivityWatch has: nothing lost, nothing twice, no wrong duration. */
  assertExact(but: readonly string[] = []): void {
    assert.deepEqual(this.received(), this.truth().filter((line) => !but.includes(line)));
  }

  once(args: string[] = [], settings: Record<string, string> = {}): Promise<AgentRun> {
    return this.agent.once(args, settings);
  }

  /** What `status` finds wrong, with what to do about it; its exit code says the same. */
  async status(): Promise<string[]> {
    const { code, stdout } = await this.agent.command(["status", "--json"]);
    const { findings } = JSON.parse(stdout).verdict as { findings: { message: string; hint: string }[] };
    assert.equal(code > 0, findings.length > 0, stdout);
    return findings.map(({ message, hint }) => `${message}. ${hint}`);
  }

  /** Asks a copy of the cache a question: looking into a file with a log would change what the next start finds. */
  ask<T>(sql: string): T {
    const copy = Deno.makeTempDirSync({ prefix: "lifelog-faults-" });
    try {
      for (const suffix of ["", "-wal"]) {
        try {
          Deno.copyFileSync(this.cachePath + suffix, join(copy, `cache.sqlite${suffix}`));
        } catch (error) {
          if (suffix === "" || !(error instanceof Deno.errors.NotFound)) throw error;
        }
      }
      using db = new DatabaseSync(join(copy, "cache.sqlite"));
      return Object.values(db.prepare(sql).get() ?? {})[0] as T;
    } finally {
      Deno.removeSync(copy, { recursive: true });
    }
  }

  waiting(): number {
    return this.ask<number>("SELECT coalesce(sum(waiting), 0) FROM bucket");
  }

  dead(): number {
    return this.ask<number>("SELECT count(*) FROM dead_letter");
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.activityWatch[Symbol.asyncDispose]();
    await this.receiver[Symbol.asyncDispose]();
    await Deno.remove(this.home, { recursive: true });
  }
}

function titleOf(type: string, data: Record<string, unknown>): unknown {
  return type === "afkstatus" ? data.status : data.title;
}

function lineOf(type: string, startMs: number, seconds: number, title: unknown): string {
  return `${new Date(startMs).toISOString()} ${type} ${seconds} ${title}`;
}

/** The lines of a log that say that something is wrong, without their times. */
export function complaints(run: AgentRun): string[] {
  return run.stderr.split("\n").flatMap((line) => /^\S+ (?:WARNING|ERROR)\s+(.*)$/.exec(line)?.[1] ?? []);
}

/** Waits until `condition` holds. */
export async function until(condition: () => boolean, what: string, timeoutMs = 20_000): Promise<void> {
  const endMs = performance.now() + timeoutMs;
  while (!condition()) {
    assert.ok(performance.now() < endMs, `Waited in vain until ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}
