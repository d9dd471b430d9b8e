/** What a backfill does to the watchers beside it, with a real aw-server and a real aw-client. */

import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { AwServer } from "../tests/interop/aw_server.ts";
import { AgentProcess } from "./agent_binary.ts";
import { Child, Receiver } from "./children.ts";
import { eventOf, START_US } from "./corpus.ts";
import { figure, percentile, type Report } from "./report.ts";

export interface KindnessOptions {
  /** A virtual environment with aw-server and aw-client. */
  readonly venv: string;
  readonly events: number;
  readonly quietSeconds: number;
}

/** Heartbeats alone, then beside a full backfill; and how long that takes. */
export async function kindness(
  report: Report,
  { venv, events, quietSeconds }: KindnessOptions,
): Promise<void> {
  report.heading("Kind to ActivityWatch");
  const home = await Deno.makeTempDir({ prefix: "lifelog-bench-" });
  try {
    await using server = await AwServer.start(venv, home);
    await server.json("/buckets/aw-watcher-window_bench", {
      body: {
        type: "currentwindow",
        client: "bench",
        hostname: (await server.json<{ hostname: string }>("/info")).hostname,
      },
    });
    await server.kill();
    fill(await findDatabase(home), events);
    await server.restart();
    await using watcher = new Child(join(venv, "bin", "python"), [
      new URL("./peers/heartbeats.py", import.meta.url).pathname,
      String(server.port),
    ], { env: server.env });
    const beats = async (seconds: number) => {
      await watcher.say(`${seconds}\n`);
      return await watcher.json<{ took: number[]; failed: number; sent: number }>();
    };
    await beats(2);
    const quiet = await beats(quietSeconds);
    await using receiver = await Receiver.start("count");
    const beganMs = performance.now();
    await using agent = new AgentProcess(["--once", "--since", "2025-12-31"], home, {
      AW_URL: server.url,
      CENTRAL_SERVER_ENDPOINT: receiver.endpoint.href,
      AW_WINDOW_BUCKET_ID: "aw-watcher-window_bench",
    });
    let running = true;
    const done = agent.ended().finally(() => running = false);
    const reading = { took: [] as number[], failed: 0 };
    const delivering = { took: [] as number[], failed: 0 };
    let readSeconds = 0;
    while (running) {
      const phase = agent.text.includes("Collected") ? delivering : reading;
      const { took, failed } = await beats(1);
      phase.took.push(...took);
      phase.failed += failed;
      if (phase === reading) readSeconds = (performance.now() - beganMs) / 1000;
    }
    const beside = {
      took: [...reading.took, ...delivering.took],
      failed: reading.failed + delivering.failed,
    };
    const code = await done;
    const backfillSeconds = (performance.now() - beganMs) / 1000;
    const { sent } = await beats(0);
    const kept = await server.json<number>("/buckets/bench-heartbeats/events/count");
    const { events: got } = await receiver.stats();
    report.text(
      `A real aw-server with ${
        events.toLocaleString("en")
      } events in one bucket, a real aw-client that sends ten new ` +
        "heartbeats a second, and the compiled agent (`--once --since`) that reads and delivers all of it.",
    );
    const line = (name: string, { took, failed }: { took: number[]; failed: number }) => [
      name,
      took.length.toLocaleString("en"),
      String(failed),
      percentile(took, 0.5),
      percentile(took, 0.95),
      percentile(took, 0.99),
      Math.max(...took),
    ];
    report.table(["heartbeats", "sent", "failed", "median ms", "p95 ms", "p99 ms", "slowest ms"], [
      line("alone", quiet),
      line("while the agent reads", reading),
      line("while it delivers", delivering),
      line("beside all of it", beside),
    ]);
    const ratio = percentile(beside.took, 0.99) / percentile(quiet.took, 0.99);
    report.text(
      `p99 beside the backfill: ${figure(ratio)} times the quiet one. Lost heartbeats: ${
        sent - kept
      } of ${sent}. The ` +
        `backfill took ${figure(backfillSeconds)} s, ${figure(readSeconds)} of them to read, and delivered ${
          got.toLocaleString("en")
        } events (exit code ${code}); ` +
        `the agent used ${figure(agent.last.cpuSeconds)} s of CPU time and ${
          Math.round(agent.peakRssMb)
        } MB at most.`,
    );
  } finally {
    await Deno.remove(home, { recursive: true });
  }
}

async function findDatabase(home: string): Promise<string> {
  const folder = join(home, "data", "activitywatch", "aw-server");
  for await (const { name } of Deno.readDir(folder)) if (name.endsWith(".db")) return join(folder, name);
  throw new Error(`Cannot find aw-server's database in ${folder}`);
}

/** Writes the events into aw-server's own database: it would take minutes to take them one by one. */
function fill(path: string, events: number): void {
  const db = new DatabaseSync(path);
  try {
    const { key } = db.prepare("SELECT key FROM bucketmodel WHERE id = ?").get("aw-watcher-window_bench") as {
      key: number;
    };
    const insert = db.prepare(
      "INSERT INTO eventmodel (bucket_id, timestamp, duration, datastr) VALUES (?, ?, ?, ?)",
    );
    db.exec("BEGIN");
    for (let n = 0; n < events; n++) {
      const { startUs, durationSeconds, data } = eventOf(n);
      const timestamp = new Date(startUs / 1000).toISOString().replace("T", " ").replace("Z", "000+00:00");
      insert.run(key, timestamp, durationSeconds, JSON.stringify(data));
    }
    db.exec("COMMIT");
  } finally {
    db.close();
  }
  if (START_US > Date.now() * 1000) throw new RangeError("The corpus lies in the future");
}
