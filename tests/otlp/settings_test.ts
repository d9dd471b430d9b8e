import assert from "node:assert/strict";
import { OTLP_VARIABLES, readOtlpSettings } from "../../lib/otlp/settings.ts";

function read(variables: Record<string, string>) {
  const asked = new Set<string>();
  const settings = readOtlpSettings((name) => {
    asked.add(name);
    return variables[name];
  });
  // The compiled program may read no other variables than those of the list.
  for (const name of asked) assert.ok(OTLP_VARIABLES.includes(name), name);
  return settings;
}

Deno.test("nothing is sent unless an endpoint is named, and nothing while OpenTelemetry is disabled", () => {
  assert.equal(read({}), undefined);
  assert.equal(read({ OTEL_SERVICE_NAME: "x", OTEL_EXPORTER_OTLP_HEADERS: "a=b" })?.metrics, undefined);
  assert.equal(
    read({ OTEL_EXPORTER_OTLP_ENDPOINT: "http://127.0.0.1:4318", OTEL_SDK_DISABLED: "TRUE" }),
    undefined,
  );
  assert.equal(read({ OTEL_EXPORTER_OTLP_ENDPOINT: "  " }), undefined);
});

Deno.test("one endpoint for all is a base; one of its own is taken as it is", () => {
  const settings = read({
    OTEL_EXPORTER_OTLP_ENDPOINT: "https://otel.example.org/base/",
    OTEL_EXPORTER_OTLP_TRACES_ENDPOINT: "http://127.0.0.1:4318/custom",
  })!;
  assert.equal(settings.metrics?.url.href, "https://otel.example.org/base/v1/metrics");
  assert.equal(settings.traces?.url.href, "http://127.0.0.1:4318/custom");
  assert.deepEqual([settings.intervalMs, settings.timeoutMs, settings.warnings], [60_000, 10_000, []]);
});

Deno.test("headers and resource attributes are pairs, decoded, of all and of the signal's own", () => {
  const settings = read({
    OTEL_EXPORTER_OTLP_ENDPOINT: "http://127.0.0.1:4318",
    OTEL_EXPORTER_OTLP_HEADERS: "authorization=Basic%20abc%3D, x-team = life ,",
    OTEL_EXPORTER_OTLP_METRICS_HEADERS: "x-team=metrics",
    OTEL_RESOURCE_ATTRIBUTES: "deployment.environment=home,service.name=lost",
    OTEL_SERVICE_NAME: "my-agent",
  })!;
  assert.deepEqual(settings.traces?.headers, { "authorization": "Basic abc=", "x-team": "life" });
  assert.deepEqual(settings.metrics?.headers, { "authorization": "Basic abc=", "x-team": "metrics" });
  assert.deepEqual(settings.resource, { "deployment.environment": "home", "service.name": "my-agent" });
});

Deno.test("a signal can be left out, and a protocol that is not spoken is said", () => {
  const endpoint = { OTEL_EXPORTER_OTLP_ENDPOINT: "http://127.0.0.1:4318" };
  assert.equal(read({ ...endpoint, OTEL_TRACES_EXPORTER: "none" })?.traces, undefined);
  assert.ok(read({ ...endpoint, OTEL_TRACES_EXPORTER: "none" })?.metrics);
  const grpc = read({ ...endpoint, OTEL_EXPORTER_OTLP_PROTOCOL: "grpc" })!;
  assert.deepEqual([grpc.metrics, grpc.traces], [undefined, undefined]);
  assert.match(grpc.warnings.join(), /grpc/);
});

Deno.test("what cannot be read is said by its name, without its value, and does no harm", () => {
  const settings = read({
    OTEL_EXPORTER_OTLP_ENDPOINT: "http://127.0.0.1:4318",
    OTEL_EXPORTER_OTLP_TRACES_ENDPOINT: "not an address secret",
    OTEL_EXPORTER_OTLP_HEADERS: "secret,x=%E0%A4%A,a b=secret,=secret,new=line%0Asecret",
    OTEL_METRIC_EXPORT_INTERVAL: "soon",
    OTEL_EXPORTER_OTLP_TIMEOUT: "0",
  })!;
  assert.deepEqual([settings.intervalMs, settings.timeoutMs], [60_000, 10_000]);
  assert.equal(settings.traces, undefined);
  assert.deepEqual(settings.metrics?.headers, {});
  const said = settings.warnings.join("\n");
  for (const name of ["TRACES_ENDPOINT", "OTLP_HEADERS", "EXPORT_INTERVAL", "OTLP_TIMEOUT"]) {
    assert.ok(said.includes(name), name);
  }
  assert.ok(!said.includes("secret"));
});
