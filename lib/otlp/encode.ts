import type { MetricObject } from "../metrics.ts";

/** A value of an attribute: never a title, a URL, a token or a body. */
export type Attribute = string | number | boolean;

/** Something that was done, from when to when. */
export interface Span {
  readonly traceId: string;
  readonly spanId: string;
  readonly parentSpanId?: string | undefined;
  readonly name: string;
  /** 1 for work inside, 3 for a request that goes out. */
  readonly kind: 1 | 3;
  readonly fromMs: number;
  readonly toMs: number;
  readonly attributes: Readonly<Record<string, Attribute | undefined>>;
  readonly failed: boolean;
}

const SCOPE = { name: "lifelog-agent" };
const CUMULATIVE = 2;
const STATUS_ERROR = 2;

/** The body of a request for `/v1/traces`, in OTLP's JSON form. */
export function encodeSpans(spans: readonly Span[], resource: Readonly<Record<string, string>>): string {
  return JSON.stringify({
    resourceSpans: [{
      resource: { attributes: attributesOf(resource) },
      scopeSpans: [{
        scope: SCOPE,
        spans: spans.map((
          { traceId, spanId, parentSpanId, name, kind, fromMs, toMs, attributes, failed },
        ) => ({
          traceId,
          spanId,
          ...(parentSpanId === undefined ? {} : { parentSpanId }),
          name,
          kind,
          startTimeUnixNano: nanos(fromMs),
          endTimeUnixNano: nanos(Math.max(fromMs, toMs)),
          attributes: attributesOf(attributes),
          status: failed ? { code: STATUS_ERROR } : {},
        })),
      }],
    }],
  });
}

/** The body of a request for `/v1/metrics`, in OTLP's JSON form: the same metrics by the same names as `/metrics`. */
export function encodeMetrics(
  metrics: readonly MetricObject[],
  resource: Readonly<Record<string, string>>,
  startMs: number,
  nowMs: number,
): string {
  const time = { startTimeUnixNano: nanos(startMs), timeUnixNano: nanos(nowMs) };
  return JSON.stringify({
    resourceMetrics: [{
      resource: { attributes: attributesOf(resource) },
      scopeMetrics: [{
        scope: SCOPE,
        metrics: metrics.filter(({ values }) => values.length > 0).map((metric) => ({
          name: metric.name,
          description: metric.help,
          unit: unitOf(metric.name),
          ...dataOf(metric, time),
        })),
      }],
    }],
  });
}

function dataOf({ type, values }: MetricObject, time: Record<string, string>) {
  const points = () =>
    values.map(({ value, labels }) => ({ ...time, asDouble: value, attributes: attributesOf(labels) }));
  if (type === "counter") {
    return { sum: { dataPoints: points(), aggregationTemporality: CUMULATIVE, isMonotonic: true } };
  }
  if (type === "gauge") return { gauge: { dataPoints: points() } };
  // One histogram without labels of its own: its buckets count all up to their bound, OTLP's each its own.
  const named = (suffix: string) => values.filter(({ metricName }) => metricName?.endsWith(suffix));
  const buckets = named("_bucket");
  const counts = buckets.map(({ value }, i) => value - (buckets[i - 1]?.value ?? 0));
  return {
    histogram: {
      aggregationTemporality: CUMULATIVE,
      dataPoints: [{
        ...time,
        count: String(named("_count")[0]?.value ?? 0),
        sum: named("_sum")[0]?.value ?? 0,
        explicitBounds: buckets.map(({ labels }) => Number(labels.le)).filter(Number.isFinite),
        bucketCounts: counts.map(String),
        attributes: [],
      }],
    },
  };
}

function unitOf(name: string): string {
  return /_seconds$/.test(name) ? "s" : /_bytes$/.test(name) ? "By" : "";
}

function attributesOf(attributes: Readonly<Record<string, Attribute | undefined>>) {
  return Object.entries(attributes).filter(([, value]) => value !== undefined).map(([key, value]) => ({
    key,
    value: typeof value === "string"
      ? { stringValue: value }
      : typeof value === "boolean"
      ? { boolValue: value }
      : Number.isInteger(value)
      ? { intValue: String(value) }
      : { doubleValue: value },
  }));
}

/** A JSON number could not hold nanoseconds since 1970. */
function nanos(ms: number): string {
  return `${Math.round(ms * 1000)}000`;
}
