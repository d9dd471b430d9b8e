/** Whether cost and memory stay the same however much waits. */

import { join } from "node:path";
import { AgentProcess } from "./agent_binary.ts";
import { Child, Receiver } from "./children.ts";
import { figure, median, type Report } from "./report.ts";

/** Fills caches of these sizes and lets the compiled agent empty them. */
export async function scale(report: Report, sizes: readonly number[]): Promise<void> {
  report.heading("Linear and bounded");
  report.text(
    "Caches with so many events waiting, filled page by page; then the compiled agent (`--once`, ActivityWatch down) " +
      "empties them. *Ready* is from the start of the process to the line that says how often it collects, median of 5: a file of up to 4 MB is checked whole before, others right after.",
  );
  await using receiver = await Receiver.start("count");
  const rows = [];
  for (const size of sizes) {
    const folder = await Deno.makeTempDir({ prefix: "lifelog-bench-" });
    try {
      const path = join(folder, "cache.sqlite");
      // The agent's own first start, which settles the privacy rules in force.
      await readyMs(folder, { AW_URL: "http://127.0.0.1:9" });
      await using fill = Child.deno("./fill_child.ts", path, size);
      const { ms: fillMs } = await fill.json<{ ms: number }>();
      await fill.end();
      const { size: full } = await Deno.stat(path);
      const ready: number[] = [];
      for (let n = 0; n < 5; n++) ready.push(await readyMs(folder, { AW_URL: "http://127.0.0.1:9" }));
      await receiver.stats();
      await using agent = new AgentProcess(["--once"], folder, {
        CENTRAL_SERVER_ENDPOINT: receiver.endpoint.href,
        AW_URL: "http://127.0.0.1:9",
      });
      const beganMs = performance.now();
      await agent.ended();
      const drainMs = performance.now() - beganMs;
      const { events } = await receiver.stats();
      if (events !== size) throw new Error(`The server got ${events} of ${size} events: ${agent.text}`);
      const { size: empty } = await Deno.stat(path);
      rows.push([
        size.toLocaleString("en"),
        1000 * fillMs / size,
        1e6 * agent.last.cpuSeconds / size,
        1000 * drainMs / size,
        Math.round(agent.peakRssMb),
        Math.round(median(ready)),
        `${figure(full / 1e6)} → ${figure(empty / 1e6)}`,
      ]);
    } finally {
      await Deno.remove(folder, { recursive: true });
    }
  }
  report.table(
    [
      "events",
      "fill µs/event",
      "drain CPU µs/event",
      "drain µs/event",
      "peak RSS MB",
      "ready ms",
      "file MB, full → drained",
    ],
    rows,
  );
  report.text(
    "What stays in the file after a drain is the ledger: it is pruned when the recent past is read again.",
  );
}

/** How long the agent takes from its start until it collects, in milliseconds. */
export async function readyMs(folder: string, env: Record<string, string>): Promise<number> {
  const beganMs = performance.now();
  await using agent = new AgentProcess([], folder, env);
  await agent.said(/Collecting every/);
  return performance.now() - beganMs;
}
