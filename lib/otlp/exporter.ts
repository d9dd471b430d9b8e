import { getLogger } from "@logtape/logtape";
import { randomBytes } from "node:crypto";
import { createRepeatGate } from "../log.ts";
import type { Metrics } from "../metrics.ts";
import type { Observer } from "../observer.ts";
import { encodeMetrics, encodeSpans, type Span } from "./encode.ts";
import { createTransport, type Transport } from "../transport.ts";
import type { OtlpSettings, OtlpTarget } from "./settings.ts";

/** How long spans are gathered before they are sent, in milliseconds. */
const GATHER_MS = 5_000;
/** Spans that wait for a collector that does not answer; the oldest make room. */
const MAX_SPANS = 2_048;
/** How long the last export may take when the agent ends, in milliseconds. */
const GRACE_MS = 2_000;

const log = getLogger(["lifelog-agent", "otlp"]);

/** What {@link openOtlp} needs. */
export interface OtlpOptions {
  readonly settings: OtlpSettings;
  readonly metrics: Metrics;
  readonly version: string;
  readonly deviceId: string;
  readonly now?: () => number;
  readonly fetch?: typeof fetch;
}

/** An exporter at work. */
export interface Otlp extends AsyncDisposable {
  readonly observer: Observer;
}

/**
 * Sends metrics and traces to an OpenTelemetry collector by OTLP over HTTP, in JSON. Deno's own exporter cannot serve
 * in a compiled program: whether it is on is fixed when it is compiled, and it puts whole URLs in its spans.
 * Disposing of it sends what is left, for two seconds at most. A collector that is away hurts nobody: that is logged.
 */
export function openOtlp(options: OtlpOptions): Otlp {
  const { settings, metrics, version, deviceId, now = Date.now } = options;
  const resource = {
    "service.name": "lifelog-agent",
    "service.version": version,
    "service.instance.id": deviceId,
    ...settings.resource,
  };
  const startMs = now();
  const repeats = createRepeatGate({ now });
  const stop = new AbortController();
  const transports = new Map<OtlpTarget, Transport>();
  let spans: Span[] = [];
  let gathering: ReturnType<typeof setTimeout> | undefined;
  /** The drain under way, to which its requests belong. */
  let drain: { traceId: string; spanId: string } | undefined;

  /** Made at the first export, and not by way of a proxy where the collector is on this device. */
  function requestTo(target: OtlpTarget): typeof fetch {
    if (options.fetch !== undefined) return options.fetch;
    const made = transports.get(target) ?? createTransport(target.url);
    transports.set(target, made);
    return made;
  }

  async function send(target: OtlpTarget, body: string): Promise<boolean> {
    let fault: string | undefined;
    try {
      const response = await requestTo(target)(target.url, {
        method: "POST",
        redirect: "manual",
        headers: { ...target.headers, "content-type": "application/json" },
        body,
        signal: AbortSignal.any([stop.signal, AbortSignal.timeout(settings.timeoutMs)]),
      });
      await response.body?.cancel();
      if (response.status < 200 || response.status > 299) fault = `it answered ${response.status}`;
    } catch {
      if (stop.signal.aborted) return false;
      fault = "no answer";
    }
    const line = fault === undefined
      ? repeats.recovered(target.url.pathname)
      : repeats.failed(target.url.pathname, `Cannot send telemetry to ${target.url.host}: ${fault}`);
    if (line !== undefined) log.warn("{line}", { line });
    return fault === undefined;
  }

  async function sendSpans(): Promise<void> {
    clearTimeout(gathering);
    gathering = undefined;
    if (settings.traces === undefined || spans.length === 0) return;
    const batch = spans;
    spans = [];
    if (await send(settings.traces, encodeSpans(batch, resource))) return;
    // With the next ones; not by a timer of their own, for a collector that is away needs no more questions.
    spans = [...batch, ...spans].slice(-MAX_SPANS);
  }

  async function sendMetrics(): Promise<void> {
    if (settings.metrics === undefined) return;
    await send(settings.metrics, encodeMetrics(await metrics.gather(), resource, startMs, now()));
  }

  /** What goes wrong in here stays here: the loops do not depend on it. */
  async function contained(work: () => Promise<void>): Promise<void> {
    try {
      await work();
    } catch (error) {
      const line = repeats.failed("inside", `The telemetry failed: ${(error as Error)?.message ?? error}`);
      if (line !== undefined) log.error("{line}", { line });
    }
  }

  function add(span: Omit<Span, "traceId" | "spanId"> & Partial<Pick<Span, "traceId" | "spanId">>): void {
    if (settings.traces === undefined || stop.signal.aborted) return;
    spans.push({ traceId: id(16), spanId: id(8), ...span });
    if (spans.length > MAX_SPANS) spans.shift();
    gathering ??= setTimeout(() => void contained(sendSpans), GATHER_MS);
  }

  const timer = settings.metrics && setInterval(() => void contained(sendMetrics), settings.intervalMs);

  return {
    observer: {
      collected({ id, type }, result, took) {
        const attributes = {
          "lifelog.bucket.id": id,
          "lifelog.bucket.type": type,
          "lifelog.events.cached": result?.cached,
          "lifelog.events.filtered": result?.filtered,
          "lifelog.events.withdrawn": result?.withdrawn,
          "lifelog.events.revised": result?.revised,
          "lifelog.pages": result?.pages,
        };
        add({ name: "collect", kind: 1, ...took, attributes, failed: result === undefined });
      },
      sent(batch, result, took) {
        drain ??= { traceId: id(16), spanId: id(8) };
        const attributes = {
          "http.request.method": "POST",
          "http.response.status_code": "status" in result ? result.status : undefined,
          "lifelog.events": batch.length,
          "lifelog.outcome": result.kind,
        };
        add({
          traceId: drain.traceId,
          parentSpanId: drain.spanId,
          name: "send",
          kind: 3,
          ...took,
          attributes,
          failed: result.kind !== "delivered",
        });
      },
      drained(result, took) {
        // A drain of an empty outbox asks nobody anything.
        const ids = drain;
        drain = undefined;
        if (ids === undefined) return;
        const attributes = {
          "lifelog.events.delivered": result?.delivered,
          "lifelog.events.dead": result?.dead,
          "lifelog.requests": result?.requests,
        };
        const failed = result === undefined || result.failure !== undefined;
        add({ ...ids, name: "deliver", kind: 1, ...took, attributes, failed });
      },
    },
    async [Symbol.asyncDispose]() {
      clearInterval(timer);
      const grace = setTimeout(() => stop.abort(), GRACE_MS);
      await Promise.all([contained(sendSpans), contained(sendMetrics)]);
      clearTimeout(grace);
      clearTimeout(gathering);
      stop.abort();
      for (const transport of transports.values()) transport[Symbol.dispose]();
    },
  };
}

function id(bytes: number): string {
  return randomBytes(bytes).toString("hex");
}
