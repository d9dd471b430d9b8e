/** How fast events are collected and delivered: beside other designs, beside the bare work, and where the time goes. */

import { join } from "node:path";
import { encodeEvent } from "../lib/encode.ts";
import { Child, Receiver, usageOf } from "./children.ts";
import { BUCKET, endUs, eventOf, START_US } from "./corpus.ts";
import { whereTimeGoes } from "./profile.ts";
import { figure, interleaved, median, type Report } from "./report.ts";

/** What one way of doing it took. */
interface Cost {
  readonly events: number;
  readonly collectMs: number;
  readonly drainMs: number;
  readonly cpuSeconds: number;
  readonly peakRssMb: number;
  readonly bytes: number;
  readonly requests: number;
}

/** How large the benchmark is. */
export interface RateOptions {
  readonly events: number;
  /** Events that those get that commit each of them: their rate is measured on fewer. */
  readonly slowEvents: number;
  readonly runs: number;
  /** A Python with aw-client and requests; absent where there is none. */
  readonly python: string | undefined;
  /** A built OpenTelemetry Collector; absent where there is none. */
  readonly otelcol: string | undefined;
}

/** Against the Python daemon's design, aw-client's queue and an OpenTelemetry Collector. */
export async function peers(report: Report, options: RateOptions): Promise<void> {
  const { events, slowEvents, runs, python, otelcol } = options;
  report.heading("Beside other designs");
  await using activityWatch = Child.deno("./activitywatch.ts", events);
  const port = Number(await activityWatch.line());
  await using receiver = await Receiver.start();
  const aw = `http://127.0.0.1:${port}`;

  const agent = async (): Promise<Cost> => {
    await using child = Child.deno("./agent_child.ts", aw, receiver.endpoint.href, events, "paced");
    const { collectMs, drainMs, cpu, peakRssMb } = await child.json<Record<string, number>>() as Record<
      "collectMs" | "drainMs" | "cpu" | "peakRssMb",
      number
    >;
    const { bytes, requests } = await receiver.stats();
    return { events, collectMs, drainMs, cpuSeconds: cpu, peakRssMb, bytes, requests };
  };
  const script = (name: string) => new URL(`./peers/${name}`, import.meta.url).pathname;
  const pythonCost = async (count: number, args: string[]): Promise<Cost> => {
    await using child = new Child(python!, args);
    const told = await child.json<
      { collectMs: number; drainMs: number; collectCpu: number; drainCpu: number; peakRssMb: number }
    >();
    const { bytes, requests } = await receiver.stats();
    return { ...told, events: count, cpuSeconds: told.collectCpu + told.drainCpu, bytes, requests };
  };
  const daemon = () =>
    pythonCost(slowEvents, [
      script("python_daemon.py"),
      aw,
      receiver.endpoint.href,
      String(slowEvents),
      new Date(START_US / 1000).toISOString().replace("Z", "+00:00"),
      String((endUs(slowEvents) - START_US) / 1e6 - 1),
    ]);
  const queue = () => pythonCost(slowEvents, [script("aw_queue.py"), String(port), String(slowEvents)]);

  const ways: Record<string, () => Promise<Cost>> = { "the agent": agent };
  if (python !== undefined) {
    ways["Python daemon's design"] = daemon;
    ways["aw-client's queue"] = queue;
  }
  if (otelcol !== undefined) ways["OpenTelemetry Collector"] = () => collector(otelcol, events);
  const results = await interleaved(runs, ways);
  const of = (name: string, what: (cost: Cost) => number) => median(results[name]!.map(what));
  const rate = (name: string, what: "collectMs" | "drainMs") =>
    of(name, (cost) => 1000 * cost.events / cost[what]);
  report.text(
    `Medians of ${runs} runs in turn, of ${
      events.toLocaleString("en")
    } events. Those that commit event by event get ` +
      `${
        slowEvents.toLocaleString("en")
      }, and their CPU time and bytes are given for as many as the others have. The ` +
      "receiver reads each body as JSON, in a process of its own. The Python stand-in keeps to the daemon's loop without " +
      "its waits: with them it delivers 1.7 events/s. aw-client's queue sends one heartbeat a request. The Collector gets " +
      "the events as OTLP log records over HTTP into its file-backed queue while its server is down, and then empties it " +
      "with its ten parallel senders: it neither reads ActivityWatch nor knows what it had before.",
  );
  report.table(
    ["", "collect/s", "ratio", "drain/s", "ratio", "CPU s", "peak RSS MB", "MB sent", "requests"],
    Object.keys(ways).map((name) => {
      const scale = events / of(name, (cost) => cost.events);
      return [
        name,
        rate(name, "collectMs"),
        `${figure(rate("the agent", "collectMs") / rate(name, "collectMs"))}×`,
        rate(name, "drainMs"),
        `${figure(rate("the agent", "drainMs") / rate(name, "drainMs"))}×`,
        scale * of(name, (cost) => cost.cpuSeconds),
        Math.round(of(name, (cost) => cost.peakRssMb)),
        name.startsWith("aw-client") ? "–" : scale * of(name, (cost) => cost.bytes) / 1e6,
        name.startsWith("aw-client") ? String(events) : scale * of(name, (cost) => cost.requests),
      ];
    }),
  );
  if (python === undefined) {
    report.text("No Python 3 with aw-client and requests was found: its rows are left out.");
  }
  if (otelcol === undefined) {
    report.text("No Go was found to build an OpenTelemetry Collector with: its row is left out.");
  }
}

/** Fills an OpenTelemetry Collector's queue while its server is down, and times how it is emptied. */
async function collector(binary: string, events: number): Promise<Cost> {
  const folder = await Deno.makeTempDir({ prefix: "lifelog-bench-" });
  const free = () => {
    using listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
    return listener.addr.port;
  };
  const [input, output] = [free(), free()];
  await Deno.writeTextFile(
    join(folder, "config.yaml"),
    `
receivers: {otlp: {protocols: {http: {endpoint: "127.0.0.1:${input}"}}}}
extensions: {file_storage: {directory: "${folder}"}}
exporters:
  otlphttp:
    endpoint: "http://127.0.0.1:${output}"
    compression: none
    sending_queue: {queue_size: 1000000, storage: file_storage}
    retry_on_failure: {initial_interval: 100ms, max_interval: 500ms, max_elapsed_time: 0}
service:
  extensions: [file_storage]
  telemetry: {metrics: {level: none}, logs: {level: fatal}}
  pipelines: {logs: {receivers: [otlp], exporters: [otlphttp]}}
`,
  );
  const process = new Deno.Command(binary, {
    args: ["--config", `file:${join(folder, "config.yaml")}`],
    stdin: "null",
    stdout: "null",
    stderr: "null",
  }).spawn();
  try {
    const post = (body: string) =>
      fetch(`http://127.0.0.1:${input}/v1/logs`, {
        method: "POST",
        headers: { "content-type": "application/json" },
        body,
      }).then(async (response) => {
        await response.body?.cancel();
        if (!response.ok) throw new Error(`The Collector answered ${response.status}`);
      });
    for (let tries = 0;; tries++) {
      try {
        await post('{"resourceLogs":[]}');
        break;
      } catch (error) {
        if (tries === 100) throw error;
        await new Promise((resolve) => setTimeout(resolve, 100));
      }
    }
    const bodies: string[] = [];
    for (let n = 0; n < events; n += 500) {
      const logRecords = Array.from({ length: Math.min(500, events - n) }, (_, i) => {
        const event = eventOf(n + i);
        return {
          timeUnixNano: `${event.startUs}000`,
          body: { stringValue: encodeEvent(event, BUCKET.type) },
        };
      });
      bodies.push(JSON.stringify({ resourceLogs: [{ scopeLogs: [{ logRecords }] }] }));
    }
    let beganMs = performance.now();
    for (const body of bodies) await post(body);
    const collectMs = performance.now() - beganMs;
    const got = { requests: 0, bytes: 0 };
    let allCame = () => {};
    const came = new Promise<void>((resolve) => allCame = resolve);
    beganMs = performance.now();
    await using _server = Deno.serve(
      { hostname: "127.0.0.1", port: output, onListen() {} },
      async (request) => {
        got.bytes += (await request.arrayBuffer()).byteLength;
        if (++got.requests === bodies.length) allCame();
        return new Response(new Uint8Array(), { headers: { "content-type": "application/x-protobuf" } });
      },
    );
    const timer = setTimeout(allCame, 60_000);
    await came;
    clearTimeout(timer);
    if (got.requests < bodies.length) throw new Error("The Collector did not empty its queue within 60 s");
    const drainMs = performance.now() - beganMs;
    const { cpuSeconds, peakRssMb } = usageOf(process.pid);
    return { events, collectMs, drainMs, cpuSeconds, peakRssMb, ...got };
  } finally {
    try {
      process.kill("SIGKILL");
    } catch { /* it has ended */ }
    await process.status;
    await Deno.remove(folder, { recursive: true });
  }
}

/** How large the comparison with the bare work is. */
export interface LimitOptions {
  readonly events: number;
  readonly runs: number;
  /** A Python with FastAPI; absent where there is none. */
  readonly fastapi: string | undefined;
}

/** Against the bare work that cannot be left out. */
export async function limits(report: Report, { events, runs, fastapi }: LimitOptions): Promise<void> {
  report.heading("Near the limit");
  await using activityWatch = Child.deno("./activitywatch.ts", events);
  const aw = `http://127.0.0.1:${await activityWatch.line()}`;
  await using stack = new AsyncDisposableStack();
  const servers: Record<string, Receiver> = {
    "a server that answers after 20 ms": stack.use(await Receiver.start("decode", 20)),
    ...(fastapi === undefined ? {} : { "FastAPI": stack.use(await Receiver.fastapi(fastapi)) }),
    "a server that only decodes the JSON": stack.use(await Receiver.start("decode")),
  };
  type Took = { collectMs: number; drainMs: number; collectCpu: number; drainCpu: number; pages: number };
  let pages = 0;
  const agent = async (receiver: Receiver) => {
    await using child = Child.deno("./agent_child.ts", aw, receiver.endpoint.href, events, "unpaced");
    const took = await child.json<Took>();
    pages = took.pages;
    return took;
  };
  const bare = async (receiver: Receiver) => {
    await using child = Child.deno("./bare_child.ts", aw, receiver.endpoint.href, events, pages);
    return await child.json<Took>();
  };
  const ways: Record<string, () => Promise<Took>> = {};
  for (const [name, receiver] of Object.entries(servers)) {
    ways[`agent ${name}`] = () => agent(receiver);
    ways[`bare ${name}`] = () => bare(receiver);
  }
  const results = await interleaved(runs, ways);
  const of = (way: string, what: keyof Took) =>
    Object.keys(servers).flatMap((name) => results[`${way} ${name}`]!.map((took) => took[what]));
  const row = (what: string, agentMs: readonly number[], bareMs: readonly number[]) => [
    what,
    1000 * events / median(agentMs),
    1000 * events / median(bareMs),
    `${Math.round(100 * median(bareMs) / median(agentMs))} %`,
  ];
  report.text(
    "*Bare collect* fetches as many pages, parses them, hashes each event's data and inserts it into a table without " +
      "an index or a ledger, one transaction a page. *Bare drain* is a `fetch` loop that posts bodies that are ready in " +
      "memory, and keeps no account of them. Each way runs in a process of its own. FastAPI is what the real LifeLog " +
      "server is made of: here it validates the events and answers, without the queue that it publishes to.",
  );
  report.table(["events/s", "the agent", "bare", "of the limit"], [
    row("collect", of("agent", "collectMs"), of("bare", "collectMs")),
    ...Object.keys(servers).map((name) =>
      row(
        `drain, ${name}`,
        results[`agent ${name}`]!.map(({ drainMs }) => drainMs),
        results[`bare ${name}`]!.map(({ drainMs }) => drainMs),
      )
    ),
  ]);
  const cpu = (way: string, what: "collectCpu" | "drainCpu") => figure(1e6 * median(of(way, what)) / events);
  report.text(
    `CPU time: ${cpu("agent", "collectCpu")} µs an event collected, ${
      cpu("agent", "drainCpu")
    } µs an event ` +
      `delivered; bare ${cpu("bare", "collectCpu")} and ${cpu("bare", "drainCpu")} µs.`,
  );
  await whereTimeGoes(report, aw, servers["a server that only decodes the JSON"]!.endpoint, events);
  if (fastapi === undefined) report.text("No Python 3 with FastAPI was found: its row is left out.");
}
