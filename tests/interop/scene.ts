/** One test's world: a real aw-server with watchers, a LifeLog server, and agents that stand between them. */

import assert from "node:assert/strict";
import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import { Agent } from "./agent.ts";
import { AwServer, ensureVenv, type ExportedBucket } from "./aw_server.ts";
import { compare, type Expectation, HEAD, row } from "./fidelity_table.ts";
import { Receiver } from "./receiver.ts";
import { Watchers } from "./watchers.ts";

/** What every title, URL and token of the tests carries, and no log may. */
export const CANARY = "kanarie";
const TOKEN = `token-${CANARY}-1234567890`;

let headPrinted = false;

/** An agent with the server that it delivers to. */
export interface Line {
  readonly agent: Agent;
  readonly receiver: Receiver;
  readonly minDurationSeconds: number;
}

/** Holds what one test started, and ends it with the test. */
export class Scene {
  readonly #held = new AsyncDisposableStack();
  readonly #lines: Line[] = [];

  private constructor(readonly name: string, readonly folder: string, readonly aw: AwServer) {}

  /** Starts an aw-server in a new folder. `name` stands in the fidelity table. */
  static async open(name: string): Promise<Scene> {
    const folder = await Deno.makeTempDir({ prefix: "lifelog-interop-" });
    const home = join(folder, "activitywatch");
    await mkdir(home);
    const scene = new Scene(name, folder, await AwServer.start(await ensureVenv(), home));
    scene.#held.use(scene.aw);
    return scene;
  }

  /** Starts the watchers' process. */
  watchers(): Watchers {
    return this.#held.use(new Watchers(this.aw));
  }

  /** Adds an agent with a cache of its own, and the server that it delivers to. */
  async line(settings: Record<string, string> = {}): Promise<Line> {
    const home = join(this.folder, `agent-${this.#lines.length + 1}`);
    await mkdir(home);
    const receiver = this.#held.use(new Receiver(TOKEN, join(home, "lifelog.sqlite")));
    const agent = new Agent(home, {
      AW_URL: this.aw.url,
      CENTRAL_SERVER_ENDPOINT: receiver.endpoint,
      SERVER_AUTH_TOKEN: TOKEN,
      // What lies in the past here does not grow, so that one second is enough to see it.
      AW_SETTLE_SECONDS: "1",
      ...settings,
    });
    const line = { agent, receiver, minDurationSeconds: Number(settings.AW_MIN_DURATION_SECONDS ?? 5) };
    this.#lines.push(line);
    return line;
  }

  /** Asserts that a line's server has ActivityWatch's events exactly, and prints a row of the table. */
  async equal(line: Line, step: string, expectation: Partial<Expectation> = {}): Promise<void> {
    const { minDurationSeconds } = line;
    const truth = await this.aw.export();
    const difference = compare(truth, line.receiver.events, { minDurationSeconds, ...expectation });
    if (!headPrinted) console.log(HEAD);
    headPrinted = true;
    console.log(row(`${this.name}: ${step}`, difference));
    const { lost, repeated, wrong, unexpected } = difference;
    const exact = { lost: 0, repeated: 0, wrong: 0, unexpected: 0 };
    assert.deepEqual({ lost, repeated, wrong, unexpected }, exact, difference.examples.join("\n"));
    assert.equal(line.receiver.invalid, 0, "The server was sent what is not valid");
    assert.ok(difference.expected > 0, "Nothing was expected, so nothing was shown");
  }

  /** Asserts that no log of any agent holds a title, a URL or the token. */
  async assertLogsKeepSecrets(): Promise<void> {
    for (const { agent, receiver } of this.#lines) {
      const logs = await agent.logs();
      assert.ok(logs.length > 0, "The agent logged nothing, so nothing was shown");
      assert.ok(!logs.includes(CANARY), `A log holds a secret: ${around(logs, CANARY)}`);
      assert.ok(!logs.includes(TOKEN), "A log holds the token");
      // Titles without the canary are short words that logs may hold by chance; long ones are not.
      for (const { data } of receiver.events) {
        for (const text of [data.title, data.url]) {
          if (typeof text === "string" && text.length >= 12) {
            assert.ok(!logs.includes(text), `A log holds a title: ${around(logs, text)}`);
          }
        }
      }
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#held.disposeAsync();
    await Deno.remove(this.folder, { recursive: true });
  }
}

/**
 * Makes an expectation of `--once` at a moment: each bucket's newest event is left out where it ended less than
 * `settleSeconds` before.
 */
export function exceptGrowing(settleSeconds: number, atMs: number): Pick<Expectation, "without"> {
  const startOf = (bucket: ExportedBucket, index: number) => Date.parse(bucket.events[index]!.timestamp);
  return {
    without: (bucket, index) => {
      const newest = Math.max(...bucket.events.map((_, at) => startOf(bucket, at)));
      if (startOf(bucket, index) < newest) return false;
      return bucket.events.some((event, at) =>
        startOf(bucket, at) === newest && newest + event.duration * 1000 > atMs - settleSeconds * 1000
      );
    },
  };
}

function around(text: string, part: string): string {
  const at = text.indexOf(part);
  return JSON.stringify(text.slice(Math.max(0, at - 80), at + part.length + 20));
}
