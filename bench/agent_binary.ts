/** The compiled agent, started in a folder of its own. */

import { join } from "node:path";
import { type Usage, usageOf } from "./children.ts";

const ROOT = new URL("../", import.meta.url).pathname;
const BINARY = join(ROOT, "dist", "lifelog-agent");

/** Returns the compiled agent's path; builds it where there is none or it is older than its sources. */
export async function ensureBinary(): Promise<string> {
  const built = await Deno.stat(BINARY).then(({ mtime }) => mtime?.getTime() ?? 0, () => 0);
  if (built > await newestSource(join(ROOT, "lib"))) return BINARY;
  const { code } = await new Deno.Command(Deno.execPath(), {
    args: ["task", "build"],
    cwd: ROOT,
    stdin: "null",
    stdout: "null",
    stderr: "null",
  }).output();
  if (code !== 0) throw new Error("Cannot build the agent: run `deno task build` to see why");
  return BINARY;
}

async function newestSource(folder: string): Promise<number> {
  let newest = 0;
  for await (const { name, isDirectory } of Deno.readDir(folder)) {
    const path = join(folder, name);
    const time = isDirectory ? await newestSource(path) : (await Deno.stat(path)).mtime?.getTime() ?? 0;
    newest = Math.max(newest, time);
  }
  return newest;
}

/** A run of the compiled agent. */
export class AgentProcess implements AsyncDisposable {
  readonly #process: Deno.ChildProcess;
  readonly #lines: ReadableStreamDefaultReader<string>;
  readonly #watch: number;
  #text = "";
  peakRssMb = 0;
  last: Usage = { cpuSeconds: 0, peakRssMb: 0, rssMb: 0, anonymousMb: 0 };

  constructor(args: readonly string[], folder: string, env: Record<string, string>) {
    this.#process = new Deno.Command(BINARY, {
      args: [...args],
      clearEnv: true,
      env: {
        HOME: folder,
        LOCAL_CACHE_DB_PATH: join(folder, "cache.sqlite"),
        AW_MIN_DURATION_SECONDS: "0",
        PRIVACY_PRESET: "full",
        SERVER_AUTH_TOKEN: "bench",
        NO_COLOR: "1",
        ...env,
      },
      stdin: "null",
      stdout: "null",
      stderr: "piped",
    }).spawn();
    this.#lines = this.#process.stderr.pipeThrough(new TextDecoderStream()).getReader();
    this.#watch = setInterval(() => this.look(), 50);
  }

  get pid(): number {
    return this.#process.pid;
  }

  look(): void {
    try {
      const usage = usageOf(this.pid);
      if (usage.rssMb === 0) return;
      this.last = usage;
      this.peakRssMb = Math.max(this.peakRssMb, usage.peakRssMb);
    } catch { /* it has ended */ }
  }

  /** Waits until it has said what matches. */
  async said(pattern: RegExp): Promise<void> {
    while (!pattern.test(this.#text)) {
      const { value, done } = await this.#lines.read();
      if (done) throw new Error(`The agent ended before it said ${pattern}: ${this.#text.slice(-500)}`);
      this.#text += value;
    }
  }

  /** Waits for its end and returns its exit code. */
  async ended(): Promise<number> {
    for (;;) {
      const { value, done } = await this.#lines.read();
      if (done) break;
      this.#text = (this.#text + value).slice(-4000);
    }
    const { code } = await this.#process.status;
    clearInterval(this.#watch);
    return code;
  }

  get text(): string {
    return this.#text;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    clearInterval(this.#watch);
    try {
      this.#process.kill("SIGTERM");
    } catch { /* it has ended */ }
    const timer = setTimeout(() => this.#process.kill("SIGKILL"), 12_000);
    await this.#lines.cancel().catch(() => {});
    await this.#process.status;
    clearTimeout(timer);
  }
}
