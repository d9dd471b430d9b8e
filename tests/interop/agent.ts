/** The compiled program under test, in a home folder of its own. */

import { join } from "node:path";

const BINARY = Deno.env.get("LIFELOG_AGENT_BIN") ??
  join(
    import.meta.dirname!,
    "..",
    "..",
    "dist",
    Deno.build.os === "windows" ? "lifelog-agent.exe" : "lifelog-agent",
  );

/** What one run of the program came to. */
export interface AgentRun {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** The program with its settings; its cache and log file live below `home` and outlast each run. */
export class Agent {
  readonly #settings: Record<string, string>;
  #output = "";

  constructor(readonly home: string, settings: Record<string, string>) {
    this.#settings = {
      HOME: home,
      XDG_CONFIG_HOME: join(home, "config"),
      XDG_STATE_HOME: join(home, "state"),
      XDG_DATA_HOME: join(home, "data"),
      XDG_CACHE_HOME: join(home, "cache"),
      LOCAL_CACHE_DB_PATH: join(home, "cache.sqlite"),
      LOG_FILE: join(home, "agent.log"),
      LOG_LEVEL: "DEBUG",
      DEVICE_ID: "interop-device",
      RETRY_DELAY_SECONDS: "1",
      // Filters aside, what the server gets equals what ActivityWatch has.
      PRIVACY_PRESET: "full",
      ...settings,
    };
  }

  /** Runs `--once` with further arguments and waits for its end. */
  async once(args: string[] = [], settings: Record<string, string> = {}): Promise<AgentRun> {
    return await this.#spawn(["--once", ...args], settings).ended;
  }

  /** Runs a command, inside of another where one is given, and waits for its end. */
  async command(
    args: string[],
    settings: Record<string, string> = {},
    within: string[] = [],
  ): Promise<AgentRun> {
    return await this.#spawn(args, settings, within).ended;
  }

  /** Starts the daemon; `ended` tells what it came to after it was stopped. */
  daemon(settings: Record<string, string> = {}): RunningAgent {
    return this.#spawn([], settings);
  }

  /** All that was written to stdout, stderr and the log file by all runs so far. */
  async logs(): Promise<string> {
    let logs = this.#output;
    for await (const entry of Deno.readDir(this.home)) {
      if (entry.name.startsWith("agent.log")) logs += await Deno.readTextFile(join(this.home, entry.name));
    }
    return logs;
  }

  #spawn(args: string[], settings: Record<string, string>, within: string[] = []): RunningAgent {
    const [program = BINARY, ...rest] = [...within, BINARY, ...args];
    const process = new Deno.Command(program, {
      args: rest,
      env: { ...this.#settings, ...settings },
      clearEnv: true,
      stdin: "null",
      stdout: "piped",
      stderr: "piped",
    }).spawn();
    const ended = (async () => {
      const { code, stdout, stderr } = await process.output();
      const decoder = new TextDecoder();
      const run = { code, stdout: decoder.decode(stdout), stderr: decoder.decode(stderr) };
      this.#output += run.stdout + run.stderr;
      return run;
    })();
    return new RunningAgent(process, ended);
  }
}

/** A run that has not been waited for. */
export class RunningAgent {
  readonly #process: Deno.ChildProcess;
  readonly ended: Promise<AgentRun>;

  constructor(process: Deno.ChildProcess, ended: Promise<AgentRun>) {
    this.#process = process;
    this.ended = ended;
  }

  /** Ends the run: with SIGTERM as a service manager does, with SIGKILL as a power cut does. */
  async stop(signal: "SIGTERM" | "SIGINT" | "SIGKILL" = "SIGTERM"): Promise<AgentRun> {
    try {
      this.#process.kill(signal);
    } catch {
      // It has ended by itself: the caller sees by its code.
    }
    return await this.ended;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop("SIGKILL");
  }
}
