import { Counter, Gauge, Histogram, type OpenMetricsContentType, Registry } from "prom-client";
import type { Observer } from "./observer.ts";
import type { Report } from "./status/report.ts";
import type { Verdict } from "./status/verdict.ts";

/** What {@link createMetrics} needs. */
export interface MetricsOptions {
  readonly version: string;
  /** The state of things, as it is when it is asked for. */
  readonly look: () => { readonly report: Report; readonly verdict: Verdict };
}

/** A metric as an object, with its values. */
export interface MetricObject {
  readonly name: string;
  readonly help: string;
  readonly type: "counter" | "gauge" | "histogram";
  readonly values: readonly {
    readonly value: number;
    readonly labels: Readonly<Record<string, string>>;
    /** For a histogram's parts: the metric's name with `_bucket`, `_sum` or `_count`. */
    readonly metricName?: string;
  }[];
}

/** The metrics, and who keeps their counters. */
export interface Metrics {
  readonly observer: Observer;
  /** All metrics as objects. */
  readonly gather: () => Promise<MetricObject[]>;
  /** All metrics in the OpenMetrics text format. */
  readonly render: () => Promise<{ readonly type: string; readonly text: string }>;
}

const PREFIX = "lifelog_agent_";
const LEVELS = ["well", "degraded", "failing"] as const;

/**
 * The agent's metrics, named by the conventions of OpenMetrics: base units, counters that end in `_total` and count
 * from the agent's start. They hold counts, bucket ids and statuses, and nothing of any event.
 */
export function createMetrics({ version, look }: MetricsOptions): Metrics {
  const registry = new Registry<OpenMetricsContentType>();
  registry.setContentType(Registry.OPENMETRICS_CONTENT_TYPE);
  const registers = [registry];
  const gauge = (name: string, help: string, labelNames: string[] = []) =>
    new Gauge({ name: PREFIX + name, help, labelNames, registers });
  const counter = (name: string, help: string, labelNames: string[] = []) =>
    new Counter({ name: PREFIX + name, help, labelNames, registers });

  gauge("build_info", "The version of the agent.", ["version"]).set({ version }, 1);
  const started = gauge("start_time_seconds", "When the agent started, in seconds since 1970.");
  const memory = gauge("resident_memory_bytes", "Memory that the agent holds.");
  const level = gauge("level", "How the agent does: 1 for the level that it is at.", ["level"]);
  const finding = gauge("finding", "1 for each thing that is not as it should be.", ["code", "level"]);
  const waiting = gauge("outbox_events", "Events that wait to be delivered.", ["bucket"]);
  const waitingBytes = gauge("outbox_bytes", "Bytes of the events that wait to be delivered.", ["bucket"]);
  const oldest = gauge("outbox_oldest_age_seconds", "How long the oldest waiting event has waited.");
  const dead = gauge("dead_letters", "Events that the server did not accept.");
  const cacheBytes = gauge("cache_size_bytes", "Bytes of the cache on the disk.");
  const lag = gauge("bucket_lag_seconds", "How long ago a bucket was last read to its end.", ["bucket"]);
  const newest = gauge(
    "bucket_newest_event_timestamp_seconds",
    "End of the newest event that ActivityWatch had when the bucket was last read.",
    ["bucket"],
  );
  const revisions = gauge(
    "bucket_revised_events",
    "Events that were changed or deleted in ActivityWatch after they were delivered.",
    ["bucket"],
  );
  const lastRead = gauge("last_collection_timestamp_seconds", "When all buckets were last read.");
  const lastDelivery = gauge("last_delivery_timestamp_seconds", "When the server last took events.");
  const clock = gauge("server_clock_offset_seconds", "The server's clock less this device's.");

  const collected = counter("collected_events", "Events put in the cache.", ["type"]);
  const filtered = counter("filtered_events", "Events that filters kept on this device.", ["type"]);
  const withdrawn = counter("withdrawn_events", "Unsent events that ActivityWatch changed or deleted.", [
    "type",
  ]);
  const passes = counter("collection_passes", "Passes over a bucket.", ["type", "outcome"]);
  const delivered = counter("delivered_events", "Events that the server confirmed.");
  const buried = counter("dead_letter_events", "Events moved to the dead letters.");
  const requests = counter("delivery_requests", "Requests to the server.", ["outcome"]);
  const took = new Histogram({
    name: `${PREFIX}delivery_request_duration_seconds`,
    help: "How long requests to the server took.",
    buckets: [0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30],
    registers,
  });
  for (const outcome of ["delivered", "retry", "refused", "too-large", "rejected"]) {
    requests.inc({ outcome }, 0);
  }

  function update(): void {
    const { report, verdict } = look();
    const set = (metric: Gauge, value: number | undefined, divisor = 1) => {
      if (value === undefined) metric.remove();
      else metric.set(value / divisor);
    };
    for (const metric of [finding, waiting, waitingBytes, lag, newest, revisions]) metric.reset();
    set(started, report.agent?.startedMs, 1000);
    memory.set(Deno.memoryUsage().rss);
    for (const name of LEVELS) level.set({ level: name }, verdict.level === name ? 1 : 0);
    for (const { code, level } of verdict.findings) finding.set({ code, level }, 1);
    for (const bucket of report.buckets) {
      const labels = { bucket: bucket.id };
      waiting.set(labels, bucket.waiting);
      waitingBytes.set(labels, bucket.waitingBytes);
      revisions.set(labels, bucket.revisions);
      if (bucket.lagMs !== undefined) lag.set(labels, bucket.lagMs / 1000);
      if (bucket.newestEndMs !== undefined) newest.set(labels, bucket.newestEndMs / 1000);
    }
    const { oldestMs } = report.outbox;
    oldest.set(oldestMs === undefined ? 0 : Math.max(0, report.atMs - oldestMs) / 1000);
    dead.set(report.deadLetters);
    cacheBytes.set(report.cache.bytes);
    set(lastRead, report.collecting.okAtMs, 1000);
    set(lastDelivery, report.delivering.deliveredAtMs, 1000);
    set(clock, report.delivering.clockAheadMs, 1000);
  }

  return {
    observer: {
      collected({ type }, result) {
        passes.inc({ type, outcome: result === undefined ? "failed" : "done" });
        collected.inc({ type }, result?.cached ?? 0);
        filtered.inc({ type }, result?.filtered ?? 0);
        withdrawn.inc({ type }, result?.withdrawn ?? 0);
      },
      sent(batch, { kind }, { fromMs, toMs }) {
        requests.inc({ outcome: kind });
        // The wall clock may have been put back meanwhile.
        took.observe(Math.max(0, toMs - fromMs) / 1000);
        if (kind === "delivered") delivered.inc(batch.length);
      },
      drained: (result) => buried.inc(result?.dead ?? 0),
    },
    async gather() {
      update();
      // Its types name a kind by a number, its values by their names.
      return (await registry.getMetricsAsJSON()) as unknown as MetricObject[];
    },
    async render() {
      update();
      return { type: registry.contentType, text: await registry.metrics() };
    },
  };
}
