/** How near the agent is to what its runtime takes when nothing is to be done. Linux only. */

import { join } from "node:path";
import { keptRuntime } from "../install/denort.ts";
import { AgentProcess } from "./agent_binary.ts";
import { Child, Receiver, type Usage, usageOf } from "./children.ts";
import { figure, interleaved, median, type Report } from "./report.ts";
import { readyMs } from "./scale.ts";

export interface FloorOptions {
  readonly runs: number;
  readonly idleSeconds: number;
}

/** Start-up, and what an idle agent takes. */
export async function floor(report: Report, { runs, idleSeconds }: FloorOptions): Promise<void> {
  report.heading("At rest");
  const folder = await Deno.makeTempDir({ prefix: "lifelog-bench-" });
  try {
    const empty = await compileEmpty(folder);
    const { ours, bare } = await interleaved(runs, {
      ours: () => readyMs(folder, { AW_URL: "http://127.0.0.1:9" }),
      bare: () => emptyMs(empty),
    });
    await using activityWatch = Child.deno("./activitywatch.ts", 2000);
    await using receiver = await Receiver.start();
    await using agent = new AgentProcess([], folder, {
      AW_URL: `http://127.0.0.1:${await activityWatch.line()}`,
      CENTRAL_SERVER_ENDPOINT: receiver.endpoint.href,
    });
    await using still = new Child(empty, []);
    await still.line();
    await agent.said(/Collecting every/);
    // Past the first turn, which is no rest.
    await wait(15);
    const before = atRest(agent.pid);
    const bareBefore = atRest(still.pid);
    await wait(idleSeconds);
    const after = atRest(agent.pid);
    const bareAfter = atRest(still.pid);
    const per = (a: number, b: number) => (b - a) / idleSeconds;
    report.text(
      `Start: medians of ${runs} starts in turn. Rest: ${idleSeconds} s with ActivityWatch there and nothing new in it; the ` +
        "agent reads it once a minute. The empty program is compiled by the same Deno and only waits. How much of the " +
        "program's own file, some 90 MB, is in memory depends on how the system cached that copy of it; *anonymous* is the rest.",
    );
    report.table(["", "the agent", "empty program", "more"], [
      row("ready after, ms", median(ours!), median(bare!)),
      row("RSS at rest, MB", after.rssMb, bareAfter.rssMb),
      row("of it anonymous, MB", after.anonymousMb, bareAfter.anonymousMb),
      row(
        "CPU at rest, % of a core",
        100 * per(before.cpuSeconds, after.cpuSeconds),
        100 * per(bareBefore.cpuSeconds, bareAfter.cpuSeconds),
      ),
      row(
        "wake-ups/s of all threads",
        per(before.wakeUps, after.wakeUps),
        per(bareBefore.wakeUps, bareAfter.wakeUps),
      ),
      row(
        "written to disk at rest, kB/h",
        3.6 * per(before.written, after.written),
        3.6 * per(bareBefore.written, bareAfter.written),
      ),
    ]);
    const { inUse, atRest: resting } = await hours();
    report.text(
      `By a simulated clock, 60 reads and 12 turns of delivery in each hour: with 180 events, the newest of which grows, ` +
        `${
          figure(inUse.writtenKb)
        } kB are written to the cache in ${inUse.transactions} transactions; with nothing new ` +
        `${figure(resting.writtenKb)} kB, which note the time every 15 minutes.`,
    );
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

function row(name: string, agent: number, empty: number): (string | number)[] {
  return [name, agent, empty, agent - empty];
}

const wait = (seconds: number) => new Promise((resolve) => setTimeout(resolve, 1000 * seconds));

/** Compiles a program that says that it is there, and waits for its end. */
async function compileEmpty(folder: string): Promise<string> {
  const source = join(folder, "empty.ts");
  const output = join(folder, "empty");
  await Deno.writeTextFile(source, `console.log("ready");\nfor await (const _ of Deno.stdin.readable);\n`);
  const { stdout } = await new Deno.Command(Deno.execPath(), { args: ["info", "--json"], stderr: "null" })
    .output();
  const denort = keptRuntime(
    JSON.parse(new TextDecoder().decode(stdout)).denoDir,
    Deno.build.target as never,
  );
  const kept = await Deno.stat(denort).then(() => true, () => false);
  const { code } = await new Deno.Command(Deno.execPath(), {
    args: ["compile", "--quiet", "--no-config", "--output", output, source],
    ...(kept ? { env: { DENORT_BIN: denort } } : {}),
    stdin: "null",
    stdout: "null",
    stderr: "null",
  }).output();
  if (code !== 0) throw new Error("Cannot compile an empty program");
  return output;
}

async function emptyMs(empty: string): Promise<number> {
  const beganMs = performance.now();
  await using child = new Child(empty, []);
  await child.line();
  return performance.now() - beganMs;
}

/** What a process has taken so far, with all of its threads. */
function atRest(pid: number): Usage & { written: number; wakeUps: number } {
  const io = Deno.readTextFileSync(`/proc/${pid}/io`);
  let wakeUps = 0;
  for (const { name } of Deno.readDirSync(`/proc/${pid}/task`)) {
    const status = Deno.readTextFileSync(`/proc/${pid}/task/${name}/status`);
    wakeUps += Number(/^voluntary_ctxt_switches:\s+(\d+)/m.exec(status)?.[1] ?? 0);
  }
  return { ...usageOf(pid), written: Number(/^write_bytes: (\d+)/m.exec(io)?.[1] ?? 0), wakeUps };
}

/** What an hour came to. */
interface Hour {
  readonly delivered: number;
  readonly writtenKb: number;
  readonly transactions: number;
}

async function hours(): Promise<{ inUse: Hour; atRest: Hour }> {
  await using child = Child.deno("./hour_child.ts");
  return await child.json();
}
