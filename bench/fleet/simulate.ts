/**
 * A fleet of agents against one server, by the clock of a simulation. What decides when an agent sends, tries again,
 * waits and how much it sends is the agent's own code: `turnAfterMs()` and `splayOf()` of the schedule, the retry policy
 * with its backoff and breaker, and the pace. Only the loop around them is the simulation's.
 */

import { createPace, type Pace } from "../../lib/pace.ts";
import { createRetryPolicy, type RetryPolicy } from "../../lib/retry_policy.ts";
import { splayOf, turnAfterMs } from "../../lib/schedule.ts";
import { EventQueue } from "./heap.ts";
import { ServerModel, type ServerOptions, type Verdict } from "./server.ts";

/** How an agent behaves; by default as it is. */
export interface Manners {
  readonly splay: boolean;
  /** Backoff with jitter, the breaker, the probe and the pace; without them: fixed retries at every turn. */
  readonly policy: boolean;
}

export interface FleetOptions {
  readonly agents: number;
  readonly hours: number;
  readonly server: ServerOptions;
  readonly manners?: Manners;
  readonly intervalSeconds?: number;
  readonly maxBatchSize?: number;
  readonly timeoutMs?: number;
  /** Events that a device records in an hour. */
  readonly eventsPerHour?: number;
  readonly seed?: number;
}

/** What happened in each minute. */
export interface FleetResult {
  readonly minutes: number;
  readonly requests: Float64Array;
  readonly failures: Float64Array;
  readonly delivered: Float64Array;
  /** Events that wait on all devices at the minute's end. */
  readonly backlog: Float64Array;
  /** The part of the server's time that was taken, from 0 to 1. */
  readonly load: Float64Array;
}

/** A device, as much of it as the server meets. */
interface Device {
  readonly splay: number;
  readonly policy: RetryPolicy;
  readonly pace: Pace;
  delivered: number;
  tries: number;
  probing: boolean;
  /** Events delivered in this drain. */
  inDrain: number;
  /** The request that is under way. */
  sent: number;
  sentAtMs: number;
  outcome: Verdict["outcome"];
}

const RETRIES = 3;
const RETRY_DELAY_MS = 60_000;

/** Runs a fleet; the same options and seed give the same result. */
export function simulate(options: FleetOptions): FleetResult {
  const {
    agents,
    hours,
    manners = { splay: true, policy: true },
    intervalSeconds = 300,
    maxBatchSize = 500,
    timeoutMs = 30_000,
    eventsPerHour = 180,
    seed = 1,
  } = options;
  const server = new ServerModel(options.server);
  const random = randomOf(seed);
  const endMs = hours * 3_600_000;
  const minutes = Math.ceil(hours * 60);
  const requests = new Float64Array(minutes);
  const failures = new Float64Array(minutes);
  const delivered = new Float64Array(minutes);
  const queue = new EventQueue();
  let nowMs = 0;

  const devices = Array.from({ length: agents }, (_, n): Device => ({
    splay: manners.splay ? splayOf(`device-${n}`) : 0,
    policy: createRetryPolicy({
      maxRetries: RETRIES,
      retryDelayMs: RETRY_DELAY_MS,
      monotonicMs: () => nowMs,
      random,
    }),
    pace: createPace(maxBatchSize),
    delivered: 0,
    tries: 0,
    probing: false,
    inDrain: 0,
    sent: 0,
    sentAtMs: 0,
    outcome: "delivered",
  }));

  const waiting = (device: Device) => Math.floor(nowMs / 3_600_000 * eventsPerHour) - device.delivered;
  const nextTurn = (n: number) => queue.push(turnAfterMs(nowMs + 1, intervalSeconds, devices[n]!.splay), n);
  // The queue holds numbers: below `agents` a device's turn, then its next request, then the answer to it.
  const send = (n: number, atMs: number) => queue.push(atMs, agents + n);

  function request(n: number): void {
    const device = devices[n]!;
    const events = Math.min(waiting(device), device.pace.events(device.probing));
    if (events <= 0) {
      device.policy.succeeded();
      return nextTurn(n);
    }
    const { atMs, outcome } = server.take(nowMs, events, timeoutMs);
    count(requests, nowMs, 1);
    Object.assign(device, { sent: events, sentAtMs: nowMs, outcome });
    queue.push(atMs, 2 * agents + n);
  }

  function answered(n: number): void {
    const device = devices[n]!;
    const { sent, outcome } = device;
    const tookMs = nowMs - device.sentAtMs;
    const ok = outcome === "delivered";
    if (manners.policy) {
      device.pace.took(sent, tookMs, ok ? "delivered" : outcome === "timeout" ? "slow" : "failed");
    }
    if (ok) {
      device.delivered += sent;
      device.inDrain += sent;
      device.tries = 0;
      const probed = device.probing;
      device.probing = false;
      count(delivered, nowMs, sent);
      const restMs = manners.policy ? device.pace.restMs(tookMs, device.inDrain, probed) : 0;
      if (restMs === undefined) return nextTurn(n);
      if (waiting(device) > 0) return send(n, nowMs + restMs);
      device.policy.succeeded();
      return nextTurn(n);
    }
    count(failures, nowMs, 1);
    const retryMs = manners.policy
      ? (device.probing ? undefined : device.policy.retryMs(device.tries))
      : (device.tries < RETRIES ? RETRY_DELAY_MS : undefined);
    if (retryMs !== undefined) {
      device.tries++;
      return send(n, nowMs + retryMs);
    }
    device.tries = 0;
    device.policy.failed();
    nextTurn(n);
  }

  function turn(n: number): void {
    const { policy } = devices[n]!;
    if (manners.policy && policy.pauseMs() > 0) return nextTurn(n);
    devices[n]!.inDrain = 0;
    devices[n]!.probing = manners.policy && policy.failedDrains() > 0;
    request(n);
  }

  function count(counts: Float64Array, atMs: number, by: number): void {
    const minute = Math.floor(atMs / 60_000);
    if (minute < minutes) counts[minute]! += by;
  }

  const backlog = new Float64Array(minutes);
  let deliveredSoFar = 0;
  let minute = 0;
  devices.forEach((_, n) => nextTurn(n));
  while (queue.size > 0) {
    const { timeMs, item } = queue.pop();
    for (; minute < minutes && timeMs >= (minute + 1) * 60_000; minute++) {
      deliveredSoFar += delivered[minute]!;
      backlog[minute] = agents * Math.floor((minute + 1) / 60 * eventsPerHour) - deliveredSoFar;
    }
    if (timeMs >= endMs) break;
    nowMs = timeMs;
    if (item < agents) turn(item);
    else if (item < 2 * agents) request(item - agents);
    else answered(item - 2 * agents);
  }
  const load = Float64Array.from(
    { length: minutes },
    (_, n) => (server.busyMs[n] ?? 0) / (60_000 * options.server.workers),
  );
  return { minutes, requests, failures, delivered, backlog, load };
}

/** A generator of random numbers that gives the same again: mulberry32. */
function randomOf(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = state;
    t = Math.imul(t ^ (t >>> 15), t | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}
