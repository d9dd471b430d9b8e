import { join } from "node:path";
import { runProgram } from "../../lib/cli.ts";
import { createPolicy } from "../../lib/filters/privacy.ts";
import type { ActivityEvent, Bucket, SendResult } from "../../lib/event.ts";
import { SourceError } from "../../lib/errors.ts";

/** The program in this process, on a folder of its own, between a source and a sink that are told what to do. */
export class Program implements AsyncDisposable {
  readonly folder = Deno.makeTempDirSync({ prefix: "lifelog-program-" });
  readonly cachePath = join(this.folder, "cache.sqlite");
  readonly env: Record<string, string> = {
    HOME: this.folder,
    USERPROFILE: this.folder,
    LOCAL_CACHE_DB_PATH: this.cachePath,
    CENTRAL_SERVER_ENDPOINT: "https://lifelog.invalid/api/v1/ingest",
    SERVER_AUTH_TOKEN: "canary-token",
    MAX_SEND_RETRIES: "0",
    // Nothing of these events grows: no second look is needed.
    AW_SETTLE_SECONDS: "0",
    LOG_LEVEL: "CRITICAL",
  };
  buckets: Bucket[] = [{ id: "aw-watcher-window_h", type: "currentwindow", hostname: "h", created: "" }];
  events: ActivityEvent[] = [];
  down = false;
  answer: SendResult = { kind: "delivered" };
  clockAheadMs: number | undefined;

  /** Runs the program and gives its exit code and what it printed. */
  async run(...args: string[]): Promise<{ code: number; text: string }> {
    const lines: string[] = [];
    const guard = () => {
      if (this.down) throw new SourceError("Cannot read ActivityWatch: no connection");
    };
    const events = () => this.events;
    const code = await runProgram({
      args,
      env: (name) => this.env[name],
      terminate: () => {},
      print: (line) => void lines.push(line),
      policy: (settings, hashKey) => createPolicy({ ...settings.privacy, hashKey }),
      source: () => ({
        during: () => Promise.resolve([]),
        buckets: () => Promise.resolve().then(guard).then(() => this.buckets),
        newestStartUs: () => Promise.resolve(events().at(-1)?.startUs),
        async *pages(_bucket, fromUs, toUs) {
          guard();
          const within = events().filter(({ startUs }) => startUs >= fromUs && startUs < toUs);
          yield await Promise.resolve({ fromUs, toUs, events: within });
        },
      }),
      filters: () => [],
      sink: (settings) =>
        settings.endpoint && {
          send: () => Promise.resolve(this.answer),
          clockAheadMs: () => this.clockAheadMs,
        },
    });
    return { code, text: lines.join("\n") };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Deno.remove(this.folder, { recursive: true });
  }
}

/** An event that ended some hours ago, and so is final. */
export function eventHoursAgo(hours: number): ActivityEvent {
  return {
    startUs: Math.floor(Date.now() - hours * 3_600_000) * 1000,
    durationSeconds: 60,
    data: { app: "App", title: "canary-title" },
  };
}
