/** The watchers' side: the real aw-client, driven through `heartbeats.py`. */

import { join } from "node:path";
import type { AwServer, ExportedEvent } from "./aw_server.ts";

/** The buckets that a simulation writes to. */
export interface WatchedBuckets {
  readonly window?: string;
  readonly afk?: string;
  readonly web?: string;
}

/** What `heartbeats.py` does for each command; its own text tells more. */
export type Command =
  | { op: "bucket"; bucket: string; type: string; hostname?: string; client?: string }
  | {
    op: "beat";
    bucket: string;
    pulsetime: number;
    beats: [string, unknown][];
    queued?: boolean;
    type?: string;
    client?: string;
  }
  | { op: "insert"; bucket: string; events: ExportedEvent[] }
  | { op: "simulate"; buckets: WatchedBuckets; start: string; hours: number; seed: number; queued?: boolean }
  | { op: "live"; buckets: WatchedBuckets; seed: number; queued?: boolean; pulsetime?: number }
  | { op: "rest" }
  | { op: "flush"; timeout?: number }
  | { op: "disconnect" };

/** A Python process with aw-client in it. Its queue files outlive it, as a watcher's do. */
export class Watchers {
  readonly #process: Deno.ChildProcess;
  readonly #input: WritableStreamDefaultWriter<Uint8Array>;
  readonly #lines: ReadableStreamDefaultReader<string>;
  #rest = "";

  constructor(server: AwServer) {
    const script = join(import.meta.dirname!, "heartbeats.py");
    this.#process = new Deno.Command(join(server.venv, "bin", "python"), {
      args: [script, "127.0.0.1", String(server.port)],
      env: server.env,
      clearEnv: true,
      stdin: "piped",
      stdout: "piped",
      stderr: "inherit",
    }).spawn();
    this.#input = this.#process.stdin.getWriter();
    this.#lines = this.#process.stdout.pipeThrough(new TextDecoderStream()).getReader();
  }

  /**
   * Carries out one command and waits for its answer.
   * @throws {Error} when aw-client or the server refused it
   */
  async do(command: Command): Promise<Record<string, unknown>> {
    await this.#input.write(new TextEncoder().encode(JSON.stringify(command) + "\n"));
    const { ok, error, ...answer } = JSON.parse(await this.#line());
    if (!ok) throw new Error(`Cannot carry out "${command.op}": ${error}`);
    return answer;
  }

  async #line(): Promise<string> {
    while (!this.#rest.includes("\n")) {
      const { value, done } = await this.#lines.read();
      if (done) throw new Error("Cannot read from heartbeats.py as it has ended");
      this.#rest += value;
    }
    const end = this.#rest.indexOf("\n");
    const line = this.#rest.slice(0, end);
    this.#rest = this.#rest.slice(end + 1);
    return line;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#input.close().catch(() => {});
    // Queue threads are daemons: the process ends with its input.
    await this.#lines.cancel().catch(() => {});
    await this.#process.status;
  }
}
