import type { Env } from "../paths.ts";

/** The standard variables that are read; what OpenTelemetry has beside them changes nothing here. */
export const OTLP_VARIABLES: readonly string[] = [
  "OTEL_SDK_DISABLED",
  "OTEL_SERVICE_NAME",
  "OTEL_RESOURCE_ATTRIBUTES",
  "OTEL_METRIC_EXPORT_INTERVAL",
  "OTEL_EXPORTER_OTLP_PROTOCOL",
  "OTEL_EXPORTER_OTLP_ENDPOINT",
  "OTEL_EXPORTER_OTLP_HEADERS",
  "OTEL_EXPORTER_OTLP_TIMEOUT",
  ...["METRICS", "TRACES"].flatMap((signal) => [
    `OTEL_${signal}_EXPORTER`,
    `OTEL_EXPORTER_OTLP_${signal}_ENDPOINT`,
    `OTEL_EXPORTER_OTLP_${signal}_HEADERS`,
  ]),
];

/** Where one kind of telemetry goes. */
export interface OtlpTarget {
  readonly url: URL;
  readonly headers: Readonly<Record<string, string>>;
}

/** What the standard variables ask for. */
export interface OtlpSettings {
  readonly metrics: OtlpTarget | undefined;
  readonly traces: OtlpTarget | undefined;
  readonly intervalMs: number;
  readonly timeoutMs: number;
  readonly resource: Readonly<Record<string, string>>;
  /** What of them cannot be done or read; holds no value of a header. */
  readonly warnings: readonly string[];
}

/**
 * Reads OpenTelemetry's standard variables. Nothing is sent unless one of them names an endpoint: a program that
 * runs on a person's device does not look for a collector by itself.
 *
 * @returns `undefined` where nothing is to be sent
 * @see https://opentelemetry.io/docs/specs/otel/protocol/exporter/
 */
export function readOtlpSettings(env: Env): OtlpSettings | undefined {
  const get = (name: string) => env(name)?.trim() || undefined;
  if (get("OTEL_SDK_DISABLED")?.toLowerCase() === "true") return undefined;
  const warnings: string[] = [];

  function target(signal: "METRICS" | "TRACES"): OtlpTarget | undefined {
    if (get(`OTEL_${signal}_EXPORTER`)?.toLowerCase() === "none") return undefined;
    const own = get(`OTEL_EXPORTER_OTLP_${signal}_ENDPOINT`);
    const shared = get("OTEL_EXPORTER_OTLP_ENDPOINT");
    // One for all is a base, to which the signal's path is added; one of its own is taken as it is.
    const text = own ?? (shared && `${shared.replace(/\/+$/, "")}/v1/${signal.toLowerCase()}`);
    if (text === undefined) return undefined;
    const name = own === undefined ? "OTEL_EXPORTER_OTLP_ENDPOINT" : `OTEL_EXPORTER_OTLP_${signal}_ENDPOINT`;
    if (!URL.canParse(text) || !/^https?:$/.test(new URL(text).protocol)) {
      warnings.push(`${name} is no http or https URL: nothing is sent there`);
      return undefined;
    }
    const headers = {
      ...pairs("OTEL_EXPORTER_OTLP_HEADERS"),
      ...pairs(`OTEL_EXPORTER_OTLP_${signal}_HEADERS`),
    };
    return { url: new URL(text), headers };
  }

  /** Reads `a=1,b=2`, in which signs may be written as %2C and the like. */
  function pairs(name: string): Record<string, string> {
    const found: Record<string, string> = {};
    for (const pair of get(name)?.split(",") ?? []) {
      const at = pair.indexOf("=");
      const key = pair.slice(0, at).trim();
      let value: string | undefined;
      try {
        value = decodeURIComponent(pair.slice(at + 1).trim());
      } catch { /* said below */ }
      if (at > 0 && value !== undefined && /^[\w.\-/]+$/.test(key) && !/\p{Cc}/u.test(value)) {
        found[key] = value;
      } else if (pair.trim() !== "") warnings.push(`${name} has a part that is no key=value: it is left out`);
    }
    return found;
  }

  function milliseconds(name: string, byDefault: number, least: number): number {
    const text = get(name);
    if (text === undefined) return byDefault;
    if (/^\d{1,9}$/.test(text) && Number(text) >= least) return Number(text);
    warnings.push(`${name} is no number of milliseconds from ${least} on: ${byDefault} is used`);
    return byDefault;
  }

  const protocol = get("OTEL_EXPORTER_OTLP_PROTOCOL")?.toLowerCase();
  const metrics = target("METRICS");
  const traces = target("TRACES");
  if (metrics === undefined && traces === undefined && warnings.length === 0) return undefined;
  const settings = {
    intervalMs: milliseconds("OTEL_METRIC_EXPORT_INTERVAL", 60_000, 100),
    timeoutMs: milliseconds("OTEL_EXPORTER_OTLP_TIMEOUT", 10_000, 1),
    resource: {
      ...pairs("OTEL_RESOURCE_ATTRIBUTES"),
      ...(get("OTEL_SERVICE_NAME") === undefined ? {} : { "service.name": get("OTEL_SERVICE_NAME")! }),
    },
    warnings,
  };
  if (protocol === "grpc") {
    warnings.push("OTEL_EXPORTER_OTLP_PROTOCOL is grpc, and only OTLP over HTTP is spoken: nothing is sent");
    return { ...settings, metrics: undefined, traces: undefined };
  }
  return { ...settings, metrics, traces };
}
