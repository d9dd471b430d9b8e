/** A real aw-server in a folder of its own, made from the packages that ActivityWatch publishes. */

import { join } from "node:path";
import { tmpdir } from "node:os";

/** An event as `/api/0/export` tells it: no id, since ids are no identity. */
export interface ExportedEvent {
  readonly timestamp: string;
  readonly duration: number;
  readonly data: unknown;
}

/** A bucket as `/api/0/export` tells it. */
export interface ExportedBucket {
  readonly id: string;
  readonly type: string;
  readonly hostname: string;
  readonly created: string;
  readonly events: readonly ExportedEvent[];
}

/** An event as `/events` tells it. */
export interface StoredEvent extends ExportedEvent {
  readonly id: number;
}

/**
 * aw-core 0.5 asks for peewee 3 or newer, and fails with peewee 4: every bucket read is answered with 500
 * (`expected string or bytes-like object, got 'datetime.datetime'`).
 */
const REQUIREMENTS = ["aw-server>=0.12,<0.14", "aw-client>=0.5.15,<0.6", "peewee<4"];

/**
 * Returns the folder of a virtual environment with aw-server and aw-client: `AW_VENV` where that is set, else
 * one that is made on first use below the system's temporary folder and kept.
 * @throws {Error} when it cannot be made, or has packages that do not work together
 */
export async function ensureVenv(folder = Deno.env.get("AW_VENV")): Promise<string> {
  const probe =
    "import aw_client, aw_server, peewee; assert int(peewee.__version__.split('.')[0]) < 4, 'peewee 4'";
  if (folder === undefined) return await makeVenv("lifelog-agent-interop-venv", probe, REQUIREMENTS);
  if (await runsIn(folder, probe)) return folder;
  throw new Error(`Cannot use AW_VENV as it lacks aw-server, aw-client or peewee 3: got ${folder}`);
}

/**
 * Makes a virtual environment of that name on first use, below the system's temporary folder, and keeps it.
 * @param probe what runs where the packages work
 * @returns its folder
 * @throws {Error} when it cannot be made, or has packages that do not work together
 */
export async function makeVenv(
  name: string,
  probe: string,
  requirements: readonly string[],
): Promise<string> {
  const venv = join(tmpdir(), name);
  if (await runsIn(venv, probe)) return venv;
  await must("python3", ["-m", "venv", "--clear", venv]);
  await must(join(venv, "bin", "pip"), ["install", "-q", "--disable-pip-version-check", ...requirements]);
  if (await runsIn(venv, probe)) return venv;
  throw new Error(`Cannot make an environment with ${requirements[0]} in ${venv}`);
}

async function runsIn(venv: string, probe: string): Promise<boolean> {
  return (await run(join(venv, "bin", "python"), ["-c", probe])).code === 0;
}

/** A running aw-server; its data and logs live below `home`. */
export class AwServer {
  #process: Deno.ChildProcess | undefined;

  private constructor(readonly venv: string, readonly home: string, readonly port: number) {}

  /** Starts a server on a free port, with its data below `home`, and waits until it answers. */
  static async start(venv: string, home: string): Promise<AwServer> {
    const server = new AwServer(venv, home, freePort());
    await server.restart();
    return server;
  }

  get url(): string {
    return `http://127.0.0.1:${this.port}`;
  }

  /** What aw-server and aw-client need of the environment; all they write is below `home`. */
  get env(): Record<string, string> {
    return {
      HOME: this.home,
      PATH: Deno.env.get("PATH") ?? "",
      PYTHONUNBUFFERED: "1",
      XDG_DATA_HOME: join(this.home, "data"),
      XDG_CONFIG_HOME: join(this.home, "config"),
      XDG_CACHE_HOME: join(this.home, "cache"),
    };
  }

  /** Starts the server again on the same port with the same database. */
  async restart(): Promise<void> {
    if (this.#process !== undefined) throw new Error("Cannot start aw-server as it runs already");
    this.#process = new Deno.Command(join(this.venv, "bin", "aw-server"), {
      args: ["--host", "127.0.0.1", "--port", String(this.port), "--storage", "peewee"],
      env: this.env,
      clearEnv: true,
      stdin: "null",
      stdout: "null",
      stderr: "null",
    }).spawn();
    for (let tries = 0; tries < 300; tries++) {
      try {
        await this.json("/info");
        return;
      } catch {
        await new Promise((resolve) => setTimeout(resolve, 50));
      }
    }
    await this.kill();
    throw new Error("Cannot reach aw-server within 15 s of its start");
  }

  /** Ends the server: with SIGTERM as a logout does, with SIGKILL as a crash does. */
  async kill(signal: "SIGTERM" | "SIGKILL" = "SIGTERM"): Promise<void> {
    const process = this.#process;
    this.#process = undefined;
    if (process === undefined) return;
    process.kill(signal);
    await process.status;
  }

  /**
   * Asks the server for JSON; `path` follows `/api/0`.
   * @throws {Error} when it is not answered with a status from 200 to 299
   */
  async json<T = unknown>(path: string, init: { method?: string; body?: unknown } = {}): Promise<T> {
    const response = await fetch(`${this.url}/api/0${path}`, {
      method: init.method ?? (init.body === undefined ? "GET" : "POST"),
      ...(init.body === undefined
        ? {}
        : { body: JSON.stringify(init.body), headers: { "content-type": "application/json" } }),
    });
    const text = await response.text();
    if (!response.ok) throw new Error(`Cannot ask aw-server for ${path}: got ${response.status}`);
    return JSON.parse(text) as T;
  }

  /** Everything that the server has: the truth that the agent's deliveries are held against. */
  async export(): Promise<ExportedBucket[]> {
    const { buckets } = await this.json<{ buckets: Record<string, ExportedBucket> }>("/export");
    return Object.values(buckets);
  }

  /** The newest `limit` events of a bucket with their ids, newest first, not clipped. */
  events(bucket: string, limit = -1): Promise<StoredEvent[]> {
    return this.json(`/buckets/${encodeURIComponent(bucket)}/events?limit=${limit}`);
  }

  /** Deletes the bucket's event of that id, as the web UI does. */
  async delete(bucket: string, id: number): Promise<void> {
    await this.json(`/buckets/${encodeURIComponent(bucket)}/events/${id}`, { method: "DELETE" });
  }

  /** Changes an event as the web UI does: deletes it and inserts its successor, which gets another id. */
  async edit(bucket: string, event: StoredEvent, change: Partial<ExportedEvent>): Promise<void> {
    const { id, ...rest } = event;
    await this.delete(bucket, id);
    await this.json(`/buckets/${encodeURIComponent(bucket)}/events`, { body: [{ ...rest, ...change }] });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.kill("SIGKILL");
  }
}

function freePort(): number {
  using listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  return listener.addr.port;
}

async function run(command: string, args: string[]): Promise<{ code: number; stderr: string }> {
  try {
    const { code, stderr } = await new Deno.Command(command, { args, stdin: "null", stdout: "null" })
      .output();
    return { code, stderr: new TextDecoder().decode(stderr) };
  } catch (cause) {
    return { code: 127, stderr: String(cause) };
  }
}

async function must(command: string, args: string[]): Promise<void> {
  const { code, stderr } = await run(command, args);
  if (code !== 0) throw new Error(`Cannot run ${command} ${args[0]}: ${stderr.trim()}`);
}
