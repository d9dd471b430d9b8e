/** Processes that the benchmarks start, and what they cost. */

/** What a process has used so far. */
export interface Usage {
  readonly cpuSeconds: number;
  readonly peakRssMb: number;
  readonly rssMb: number;
  /** The part of it that is no part of a file: how much of the program's own file is mapped changes from copy to copy. */
  readonly anonymousMb: number;
}

/** A process that prints lines; ended with its standard input or, at the latest, with the scope that holds it. */
export class Child implements AsyncDisposable {
  readonly #process: Deno.ChildProcess;
  readonly #lines: ReadableStreamDefaultReader<string>;
  #rest = "";
  #ended = false;

  constructor(
    command: string,
    args: readonly string[],
    options: { env?: Record<string, string>; cwd?: string; quiet?: boolean } = {},
  ) {
    this.#process = new Deno.Command(command, {
      args: [...args],
      ...(options.env === undefined ? {} : { env: options.env }),
      ...(options.cwd === undefined ? {} : { cwd: options.cwd }),
      stdin: "piped",
      stdout: "piped",
      stderr: options.quiet ? "null" : "inherit",
    }).spawn();
    this.#process.status.then(() => this.#ended = true);
    this.#lines = this.#process.stdout.pipeThrough(new TextDecoderStream()).getReader();
  }

  /** Starts a program of this folder with the same Deno. */
  static deno(script: string, ...args: (string | number)[]): Child {
    const path = new URL(script, import.meta.url).pathname;
    return new Child(Deno.execPath(), ["run", "--no-prompt", "-A", path, ...args.map(String)]);
  }

  get pid(): number {
    return this.#process.pid;
  }

  /** The next line that it prints. */
  async line(): Promise<string> {
    while (!this.#rest.includes("\n")) {
      const { value, done } = await this.#lines.read();
      if (done) throw new Error(`Cannot read from process ${this.pid} as it has ended`);
      this.#rest += value;
    }
    const end = this.#rest.indexOf("\n");
    const line = this.#rest.slice(0, end);
    this.#rest = this.#rest.slice(end + 1);
    return line;
  }

  async json<T>(): Promise<T> {
    return JSON.parse(await this.line()) as T;
  }

  /** Writes to its standard input. */
  async say(text: string): Promise<void> {
    const writer = this.#process.stdin.getWriter();
    await writer.write(new TextEncoder().encode(text));
    writer.releaseLock();
  }

  kill(signal: Deno.Signal = "SIGTERM"): void {
    if (!this.#ended) this.#process.kill(signal);
  }

  /** Ends its input and waits for its end; kills it when that takes longer than 10 s. */
  async end(): Promise<void> {
    await this.#process.stdin.close().catch(() => {});
    await this.#lines.cancel().catch(() => {});
    const timer = setTimeout(() => this.kill("SIGKILL"), 10_000);
    await this.#process.status;
    clearTimeout(timer);
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.end();
  }
}

/** What a running process has used; Linux only. */
export function usageOf(pid: number | "self"): Usage {
  const status = Deno.readTextFileSync(`/proc/${pid}/status`);
  const kb = (name: string) => Number(new RegExp(`^${name}:\\s+(\\d+)`, "m").exec(status)?.[1] ?? 0);
  const fields = Deno.readTextFileSync(`/proc/${pid}/stat`).replace(/^.*\) /, "").split(" ");
  return {
    cpuSeconds: (Number(fields[11]) + Number(fields[12])) / 100,
    peakRssMb: kb("VmHWM") / 1024,
    rssMb: kb("VmRSS") / 1024,
    anonymousMb: kb("RssAnon") / 1024,
  };
}

/** A LifeLog server's front door (see receiver.ts). */
export class Receiver implements AsyncDisposable {
  private constructor(readonly child: Child, readonly port: number) {}

  static async start(mode: "decode" | "count" = "decode", delayMs = 0): Promise<Receiver> {
    const child = Child.deno("./receiver.ts", mode, delayMs);
    return new Receiver(child, Number(await child.line()));
  }

  /** FastAPI in the place of the real server's front door, by a Python that has it. */
  static async fastapi(python: string): Promise<Receiver> {
    const child = new Child(python, [new URL("./peers/fastapi_server.py", import.meta.url).pathname]);
    const receiver = new Receiver(child, Number(await child.line()));
    for (let tries = 0; tries < 50; tries++) {
      try {
        await (await fetch(receiver.endpoint)).body?.cancel();
        break;
      } catch {
        await new Promise((resolve) => setTimeout(resolve, 100));
      }
    }
    return receiver;
  }

  get endpoint(): URL {
    return new URL(`http://127.0.0.1:${this.port}/api/v1/ingest`);
  }

  /** What came in since this was last asked. */
  async stats(): Promise<{ requests: number; events: number; bytes: number; connections: number }> {
    return await (await fetch(new URL("/stats", this.endpoint))).json();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.child.end();
  }
}
