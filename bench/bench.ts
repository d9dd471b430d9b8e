/**
 * Prints all the figures that the documents quote, and writes them to bench/RESULTS.md. Takes about a quarter of an
 * hour; `--quick` takes a minute or two, measures too little to quote, and writes nothing. Names of parts after it run
 * those alone: rest, peers, limits, scale, kindness, gzip, privacy, fleet.
 */

import { join } from "node:path";
import { ensureVenv, makeVenv } from "../tests/interop/aw_server.ts";
import { ensureBinary } from "./agent_binary.ts";
import { fleet } from "./fleet.ts";
import { floor } from "./floor.ts";
import { gzip } from "./gzip.ts";
import { kindness } from "./kindness.ts";
import { limits, peers } from "./rates.ts";
import { Report } from "./report.ts";
import { scale } from "./scale.ts";

const HERE = new URL("./", import.meta.url);
const quick = Deno.args.includes("--quick");
const only = Deno.args.filter((arg) => !arg.startsWith("--"));
const report = new Report();
let failures = 0;

/** A tool that a part needs and not every machine has. */
async function optional(find: () => Promise<string>): Promise<string | undefined> {
  try {
    return await find();
  } catch (error) {
    console.error(`(${error instanceof Error ? error.message : error})`);
  }
}

/** Builds the Collector of peers/otelcol with Go, which takes a moment when it has been built before. */
async function ensureCollector(): Promise<string> {
  const binary = join(Deno.env.get("TMPDIR") ?? "/tmp", "lifelog-agent-bench-otelcol");
  const { code, stderr } = await new Deno.Command("go", {
    args: ["build", "-o", binary, "."],
    cwd: new URL("./peers/otelcol/", HERE).pathname,
    signal: AbortSignal.timeout(300_000),
    stdin: "null",
    stdout: "null",
  }).output();
  if (code !== 0) {
    throw new Error(`Cannot build a Collector: ${new TextDecoder().decode(stderr).slice(0, 200)}`);
  }
  return binary;
}

/** A Python with FastAPI. */
async function ensureFastApi(): Promise<string> {
  const packages = ["fastapi", "uvicorn[standard]"];
  return join(
    await makeVenv("lifelog-agent-bench-fastapi", "import fastapi, uvicorn", packages),
    "bin",
    "python",
  );
}

/** Runs one part; what fails is said and does not keep the others from running. */
async function part(name: string, work: () => Promise<void>): Promise<void> {
  if (only.length > 0 && !only.includes(name)) return;
  const beganMs = performance.now();
  try {
    await work();
  } catch (error) {
    failures++;
    report.text(`This part failed: ${error instanceof Error ? error.message : error}`);
    console.error(error);
  }
  console.log(`(${name}: ${((performance.now() - beganMs) / 1000).toFixed(0)} s)`);
}

async function version(command: string, ...args: string[]): Promise<string> {
  try {
    const { stdout, stderr } = await new Deno.Command(command, { args, stdin: "null" }).output();
    const text = new TextDecoder().decode(stdout) || new TextDecoder().decode(stderr);
    return text.trim().split("\n")[0] ?? "?";
  } catch {
    return "none";
  }
}

function machine(): string {
  const read = (path: string) => {
    try {
      return Deno.readTextFileSync(path);
    } catch {
      return "";
    }
  };
  const cpu = /^model name\s*:\s*(.*)$/m.exec(read("/proc/cpuinfo"))?.[1] ?? Deno.build.arch;
  const memoryGb = Math.round(Deno.systemMemoryInfo().total / 2 ** 30);
  return `${cpu}, ${navigator.hardwareConcurrency} cores, ${memoryGb} GB, ${Deno.build.os} ${Deno.osRelease()}`;
}

const venv = await optional(() => ensureVenv());
const otelcol = await optional(ensureCollector);
report.text("# Results");
report.text(
  "Written by `deno task bench`. Times are of one machine on one day; ratios are of ways that were run in turn.",
);
report.text([
  `- Machine: ${machine()}; load ${Deno.loadavg()[0]!.toFixed(1)} at the start`,
  `- Deno ${Deno.version.deno}, V8 ${Deno.version.v8}`,
  `- ${
    venv === undefined ? "no Python with aw-server" : await version(join(venv, "bin", "python"), "--version")
  }; ${
    venv === undefined ? "" : await version(
      join(venv, "bin", "python"),
      "-c",
      "from importlib.metadata import version as v; print(', '.join(p + ' ' + v(p) for p in ('aw-server', 'aw-client', 'requests')))",
    )
  }`,
  `- ${await version("go", "version")}; OpenTelemetry Collector 0.165.0`,
].join("\n"));

// First: what the others leave to be written to the disk would be in its way.
await part("rest", async () => {
  await ensureBinary();
  await floor(report, { runs: quick ? 3 : 25, idleSeconds: quick ? 5 : 90 });
});
await part("peers", () =>
  peers(report, {
    events: quick ? 5_000 : 100_000,
    slowEvents: quick ? 200 : 2_000,
    runs: quick ? 1 : 3,
    python: venv && join(venv, "bin", "python"),
    otelcol,
  }));
await part("limits", async () =>
  limits(report, {
    events: quick ? 5_000 : 100_000,
    runs: quick ? 1 : 5,
    fastapi: await optional(ensureFastApi),
  }));
await part("scale", async () => {
  await ensureBinary();
  await scale(report, quick ? [1_000, 10_000] : [10_000, 100_000, 1_000_000, 5_000_000]);
});
await part("kindness", async () => {
  if (venv === undefined) throw new Error("No Python 3 with aw-server was found");
  await ensureBinary();
  await kindness(report, { venv, events: quick ? 10_000 : 700_000, quietSeconds: quick ? 5 : 60 });
});
await part("gzip", () => gzip(report, { events: quick ? 5_000 : 50_000, runs: quick ? 1 : 5 }));
await part("privacy", async () => {
  const { code, stdout } = await new Deno.Command(Deno.execPath(), {
    args: ["run", "--no-prompt", "-A", new URL("./privacy.ts", HERE).pathname],
    stdin: "null",
  }).output();
  if (code !== 0) throw new Error("bench/privacy.ts failed");
  report.heading("Privacy rules");
  report.text(`\`\`\`\n${new TextDecoder().decode(stdout).trim()}\n\`\`\``);
});
await part("fleet", async () => {
  const folder = quick ? new URL(`file://${await Deno.makeTempDir()}/`) : HERE;
  await fleet(report, folder, quick ? [10, 1_000] : [10, 1_000, 100_000]);
  if (quick) await Deno.remove(folder, { recursive: true });
});

if (!quick && only.length === 0) {
  await Deno.writeTextFile(new URL("RESULTS.md", HERE), report.markdown());
  console.log("Written to bench/RESULTS.md");
}
Deno.exit(failures === 0 ? 0 : 1);
