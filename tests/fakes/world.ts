/** One device in simulated time: watchers, ActivityWatch, the real agent and a LifeLog server, all in this process. */

import { type Agent, createAgent } from "../../lib/agent.ts";
import { createCollector } from "../../lib/collector.ts";
import { createDeliverer } from "../../lib/deliverer.ts";
import type { Policy } from "../../lib/event.ts";
import { minDuration } from "../../lib/filters/min_duration.ts";
import { createRepeatGate } from "../../lib/log.ts";
import { createRejudge } from "../../lib/rejudge.ts";
import { lifelogSink } from "../../lib/sinks/lifelog.ts";
import { activityWatchSource } from "../../lib/sources/activitywatch.ts";
import { type Database, openDatabase } from "../../lib/store/database.ts";
import { adoptRules } from "../../lib/store/rules.ts";
import { type Dialect, FakeActivityWatch, type GivenEvent, type StoredRow } from "./activitywatch.ts";
import { FakeLifelogServer } from "./lifelog_server.ts";

const TOKEN = "world-token";
/** More requests than any history of some hours is worth. */
export const MAX_CALLS = 30_000;

/** Where an agent is killed: at the `n`th call of this kind from now on, before it has its effect or after. */
export interface Kill {
  readonly at: "read" | "send" | "commit";
  readonly n: number;
  readonly before: boolean;
}

/** What {@link World} is made of. */
export interface WorldOptions {
  readonly dialect: Dialect;
  /** Where the agent's cache is. */
  readonly path: string;
  /** The wall clock at the start, in milliseconds since 1970. */
  readonly startMs: number;
  readonly collectFromUs: number;
  readonly minDurationSeconds: number;
  /** How long ActivityWatch takes to answer, in milliseconds of the simulated time; watchers go on meanwhile. */
  readonly latencyMs: number;
  readonly maxBatchSize?: number;
  /** The privacy rules at each start of the agent. Absent: there are none. */
  readonly policy?: () => Policy;
  readonly onStored?: (bucketId: string, row: Readonly<StoredRow>) => void;
}

/** Simulated time, in which everything happens in order. */
export class World implements AsyncDisposable {
  readonly aw: FakeActivityWatch;
  readonly server = new FakeLifelogServer(TOKEN);
  readonly #options: WorldOptions;
  readonly #handles: Database[] = [];
  #due: { atMs: number; act: () => void }[] = [];
  #monotonicMs = 0;
  #clockMs: number;
  #life: Life | undefined;
  #queues = new Map<string, { beat: GivenEvent; pulsetimeSeconds: number }[]>();
  /** How many requests the agent made of both servers. */
  calls = 0;
  /** How ActivityWatch answers. */
  awHealth: "well" | "down" | "error" | "nonsense" = "well";

  constructor(options: WorldOptions) {
    this.#options = options;
    this.#clockMs = options.startMs;
    this.aw = new FakeActivityWatch({
      dialect: options.dialect,
      ...(options.onStored === undefined ? {} : { onStored: options.onStored }),
    });
  }

  /** The wall clock in milliseconds since 1970. */
  readonly now = (): number => this.#clockMs + this.#monotonicMs;
  /** A clock that only goes forward. */
  readonly monotonicMs = (): number => this.#monotonicMs;

  /** Sets the wall clock forward or back. */
  stepClock(ms: number): void {
    this.#clockMs += ms;
  }

  /** Plans something for a moment after the start. */
  at(atMs: number, act: () => void): void {
    // From the last to the first; of one moment what was planned first comes first.
    const place = this.#due.findIndex((other) => other.atMs <= atMs);
    this.#due.splice(place === -1 ? this.#due.length : place, 0, { atMs, act });
  }

  /** Lets time pass: all that is planned until then happens in its order. */
  advance(ms: number): void {
    const toMs = this.#monotonicMs + ms;
    for (;;) {
      const next = this.#due.at(-1);
      if (next === undefined || next.atMs > toMs) break;
      this.#due.pop();
      this.#monotonicMs = Math.max(this.#monotonicMs, next.atMs);
      next.act();
    }
    this.#monotonicMs = toMs;
  }

  /** Sends a heartbeat as aw-client does: through a queue that keeps it, in order, while the server is down. */
  beat(bucketId: string, beat: GivenEvent, pulsetimeSeconds: number): void {
    let queue = this.#queues.get(bucketId);
    if (queue === undefined) this.#queues.set(bucketId, queue = []);
    queue.push({ beat, pulsetimeSeconds });
    if (queue.length === 1) this.#drain(bucketId);
  }

  #drain(bucketId: string): void {
    const queue = this.#queues.get(bucketId)!;
    if (this.awHealth === "well") {
      const { beat, pulsetimeSeconds } = queue[0]!;
      try {
        this.aw.heartbeat(bucketId, beat, pulsetimeSeconds);
        queue.shift();
      } catch { /* 500: aw-client tries again */ }
    }
    if (queue.length > 0) {
      this.at(this.#monotonicMs + (this.awHealth === "well" ? 20 : 1000), () => this.#drain(bucketId));
    }
  }

  /** Starts the agent, in place of the one that was stopped or killed. */
  async start(): Promise<void> {
    const db = openDatabase(this.#options.path);
    this.#handles.push(db);
    this.#life = new Life(db, this.#options, this);
    await this.#life.started;
  }

  /** Stops the agent in good order. */
  async stop(): Promise<void> {
    await this.#life?.stop();
    this.#life = undefined;
  }

  /** Tells whether the agent was killed, and clears it away: its database handle stays open, as after a crash. */
  async died(): Promise<boolean> {
    if (this.#life?.dead !== true) return false;
    await this.#life.stop();
    this.#life = undefined;
    return true;
  }

  kill(kill: Kill): void {
    if (this.#life !== undefined) this.#life.kill = { ...kill };
  }

  collect(): Promise<void> {
    return this.#life!.turns.collect!();
  }

  deliver(): Promise<void> {
    return this.#life!.turns.deliver!();
  }

  /** Reads from the cache beside the agent. */
  query<T>(sql: string): T {
    return this.#handles.at(-1)!.get<T>(sql)!;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop();
    for (const handle of this.#handles) handle[Symbol.dispose]();
  }
}

/** One life of the agent. */
class Life {
  readonly turns: Record<string, () => Promise<void>> = {};
  readonly started: Promise<void>;
  readonly #running: Promise<void>;
  readonly #stop = new AbortController();
  readonly #world: World;
  kill: { at: Kill["at"]; n: number; before: boolean } | undefined;
  dead = false;

  constructor(handle: Database, options: WorldOptions, world: World) {
    this.#world = world;
    const { now, monotonicMs } = world;
    const sleep = (ms: number, { signal }: { signal?: AbortSignal | undefined } = {}) => {
      signal?.throwIfAborted();
      world.advance(ms);
      return Promise.resolve();
    };
    const db = this.#mortal(handle);
    const source = activityWatchSource(
      {
        url: new URL("http://activitywatch.test"),
        now,
        monotonicMs,
        sleep,
        fetch: (input, init) =>
          this.#call("read", async () => {
            world.advance(options.latencyMs / 2);
            if (world.awHealth === "down") throw new TypeError("Connection refused");
            const response = world.awHealth === "error"
              ? new Response(null, { status: 500 })
              : world.awHealth === "nonsense"
              ? new Response("<html>")
              : await world.aw.answer(new Request(input, init));
            world.advance(options.latencyMs / 2);
            return response;
          }),
      } as Parameters<typeof activityWatchSource>[0],
    );
    const policy = options.policy?.();
    const rules = policy === undefined ? 0 : adoptRules(db, policy.fingerprint);
    const privacy = policy && { policy, rules, related: source };
    const collector = createCollector({
      db,
      source,
      privacy,
      filters: [minDuration(options.minDurationSeconds)],
      collectFromUs: options.collectFromUs,
      now,
      monotonicMs,
    });
    const sink = lifelogSink({
      endpoint: new URL("http://lifelog.test/api/v1/ingest"),
      token: TOKEN,
      deviceId: "world",
      now,
      fetch: (input, init) =>
        this.#call("send", async () => {
          const response = await world.server.answer(new Request(input, init));
          world.advance(100);
          return response;
        }),
    });
    const deliverer = createDeliverer({
      db,
      sink,
      rules,
      now,
      monotonicMs,
      sleep,
      random: () => 0.5,
      maxBatchSize: options.maxBatchSize ?? 500,
    });
    const agent: Agent = createAgent({
      db,
      source,
      collector,
      rejudge: privacy && createRejudge({ db, source, privacy, now }),
      deliverer,
      repeats: createRepeatGate({ now }),
      now,
      monotonicMs,
      schedule: ({ name, run, signal }) => {
        this.turns[name] = run;
        if (name === "deliver") ready();
        return new Promise((resolve) => {
          if (signal.aborted) resolve();
          signal.addEventListener("abort", () => resolve(), { once: true });
        });
      },
    });
    let ready = () => {};
    this.started = new Promise((resolve) => ready = resolve);
    this.#running = agent.run(this.#stop.signal).finally(() => ready());
  }

  async stop(): Promise<void> {
    this.#stop.abort();
    await this.#running;
  }

  /** A call of the outer world, at which the agent may die: nothing it does after that has any effect. */
  async #call(at: Kill["at"], call: () => Promise<Response>): Promise<Response> {
    this.#checkAlive();
    if (++this.#world.calls > MAX_CALLS) throw new Error("The agent asks without an end");
    this.#perhapsDie(at, true);
    const response = await call();
    this.#perhapsDie(at, false);
    this.#checkAlive();
    return response;
  }

  /** The database as a process has it: when the process dies, what was committed stays and nothing more comes. */
  #mortal(db: Database): Database {
    return new Proxy(db, {
      get: (target, key) => {
        const value = Reflect.get(target, key, target);
        if (typeof value !== "function") return value;
        return (...args: unknown[]) => {
          this.#checkAlive();
          if (key === "transaction") this.#perhapsDie("commit", true);
          const result = value.apply(target, args);
          if (key === "transaction") this.#perhapsDie("commit", false);
          return result;
        };
      },
    });
  }

  #perhapsDie(at: Kill["at"], before: boolean): void {
    const { kill } = this;
    if (kill === undefined || kill.at !== at || kill.before !== before || kill.n-- > 0) return;
    this.dead = true;
    this.#checkAlive();
  }

  #checkAlive(): void {
    if (this.dead) throw new Error("The agent was killed");
  }
}
