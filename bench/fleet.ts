/** How 10, 1,000 and 100,000 agents treat their server: the simulation's table, and its pictures. */

import { plot } from "./fleet/plot.ts";
import type { ServerOptions } from "./fleet/server.ts";
import { type FleetResult, type Manners, simulate } from "./fleet/simulate.ts";
import type { Report } from "./report.ts";

const HOUR_MS = 3_600_000;
const INTERVAL_SECONDS = 300;
const EVENTS_PER_HOUR = 180;
const REQUEST_MS = 20;
const EVENT_MS = 0.2;
const AGENT: Manners = { splay: true, policy: true };
/** As the Python daemon: all at the same moments, three more tries a minute apart, at every turn. */
const FIXED: Manners = { splay: false, policy: false };

interface Scene {
  readonly name: string;
  readonly hours: number;
  /** Minutes in which the server is in trouble. */
  readonly trouble: readonly [from: number, until: number];
  readonly server: (workers: number) => ServerOptions;
}

const model = (workers: number) => ({ workers, requestMs: REQUEST_MS, eventMs: EVENT_MS });
const SCENES: readonly Scene[] = [
  {
    name: "down for 2 h",
    hours: 5,
    trouble: [60, 180],
    server: (workers) => ({ ...model(workers), down: [HOUR_MS, 3 * HOUR_MS] }),
  },
  {
    name: "10 times slower for 30 min",
    hours: 4,
    trouble: [60, 90],
    server: (workers) => ({ ...model(workers), slow: [HOUR_MS, 1.5 * HOUR_MS, 10] }),
  },
];

/** Simulates fleets of these sizes; writes two pictures into `folder`. */
export async function fleet(report: Report, folder: URL, sizes: readonly number[]): Promise<void> {
  report.heading("A fleet against one server");
  report.text(
    `A simulation with the agent's own code for splay, backoff, breaker, probe and pace. A device records ${EVENTS_PER_HOUR} ` +
      `events an hour and delivers every ${INTERVAL_SECONDS} s. The server has twice the workers that this takes, needs ` +
      `${REQUEST_MS} ms for a request and ${EVENT_MS} ms for an event, and never sheds load: it also works on requests ` +
      "whose sender gave up after 30 s, which is the worst case. *Fixed* is the same fleet with the Python daemon's " +
      "manners: no splay, three more tries a minute apart at every turn.",
  );
  const rows: string[][] = [];
  const largest = Math.max(...sizes);
  for (const scene of SCENES) {
    for (const agents of sizes) {
      const workers = Math.max(
        1,
        Math.ceil(2 * agents / INTERVAL_SECONDS * (REQUEST_MS + EVENTS_PER_HOUR / 12 * EVENT_MS) / 1000),
      );
      const run = (manners: Manners) =>
        simulate({
          agents,
          hours: scene.hours,
          server: scene.server(workers),
          manners,
          eventsPerHour: EVENTS_PER_HOUR,
        });
      const results = [["agent", run(AGENT)], ["fixed", run(FIXED)]] as const;
      for (const [name, result] of results) {
        rows.push([scene.name, String(agents), name, ...summary(result, scene)]);
      }
      if (agents === largest) {
        const file = new URL(`fleet-${scene.name.startsWith("down") ? "down" : "slow"}.svg`, folder);
        await Deno.writeTextFile(file, picture(scene, agents, results[0][1], results[1][1]));
      }
    }
  }
  report.table(
    [
      "the server is",
      "devices",
      "manners",
      "requests/min before",
      "first 5 min",
      "then",
      "peak after",
      "recovered after",
      "load at the end",
    ],
    rows,
  );
  report.text("![A fleet while its server is down](fleet-down.svg)");
  report.text("![A fleet while its server is slow](fleet-slow.svg)");
}

function summary(result: FleetResult, { trouble: [from, until] }: Scene): string[] {
  const { requests, backlog, load, minutes } = result;
  const mean = (values: Float64Array, a: number, b: number) =>
    values.subarray(a, b).reduce((sum, value) => sum + value, 0) / (b - a);
  const usual = mean(requests, 20, from);
  const usualBacklog = mean(backlog, 20, from);
  const recovered = backlog.subarray(until).findIndex((waiting) => waiting <= 1.3 * usualBacklog);
  const times = (value: number) => `${(value / usual).toFixed(1)}×`;
  return [
    usual < 10 ? usual.toFixed(1) : Math.round(usual).toLocaleString("en"),
    times(mean(requests, from, from + 5)),
    times(mean(requests, from + 5, until)),
    times(requests.subarray(until).reduce((most, value) => Math.max(most, value), 0)),
    recovered === -1 ? "never" : `${recovered} min`,
    `${Math.round(100 * mean(load, minutes - 20, minutes))} %`,
  ];
}

function picture(scene: Scene, agents: number, agent: FleetResult, fixed: FleetResult): string {
  const shade = { name: scene.name, from: scene.trouble[0], until: scene.trouble[1] };
  const lines = (of: "requests" | "backlog" | "load") => [
    { name: "agent", color: "#1f883d", values: agent[of] },
    { name: "fixed", color: "#cf222e", values: fixed[of] },
  ];
  return plot(`${agents.toLocaleString("en")} devices, the server ${scene.name}`, [
    { title: "Requests a minute", lines: lines("requests"), shade },
    { title: "Events that wait on the devices", lines: lines("backlog"), shade },
    { title: "The server's load", lines: lines("load"), level: { name: "all it can", value: 1 }, shade },
  ]);
}
