import { getLogger } from "@logtape/logtape";
import metadata from "../../deno.json" with { type: "json" };
import { createRepeatGate } from "../log.ts";
import { observeAll, type Observer } from "../observer.ts";
import { type OtlpSettings, readOtlpSettings } from "../otlp/settings.ts";
import type { RunOptions } from "./run.ts";

const log = getLogger(["lifelog-agent", "observe"]);

/** Who looks on while the agent works. */
export interface Observers extends AsyncDisposable {
  /** Absent where nobody does: then nothing is told, and nothing is loaded for it. */
  readonly observer: Observer | undefined;
}

const NOBODY: Observers = { observer: undefined, [Symbol.asyncDispose]: () => Promise.resolve() };

/**
 * Opens what the settings ask for beside the agent itself: health, metrics and dashboard, and telemetry. What cannot
 * be opened is logged, and the agent does its work without it.
 */
export async function openObservers(options: RunOptions): Promise<Observers> {
  const { settings, once, env } = options;
  const otlp = readOtlpSettings(env);
  for (const warning of otlp?.warnings ?? []) log.warn("{warning}", { warning });
  const port = once ? undefined : settings.healthPort;
  if (port === undefined && otlp?.metrics === undefined && otlp?.traces === undefined) return NOBODY;
  try {
    return await open(options, port, otlp);
  } catch (error) {
    complain("Cannot open health, metrics and telemetry", error);
    return NOBODY;
  }
}

async function open(
  options: RunOptions,
  port: number | undefined,
  otlpSettings: OtlpSettings | undefined,
): Promise<Observers> {
  const { settings, db, source, filters, policy, sink, deviceId } = options;
  const [{ createLook }, { createMetrics }] = await Promise.all([
    import("../status/look.ts"),
    import("../metrics.ts"),
  ]);
  const delivers = sink !== undefined;
  const look = createLook({ ...settings, db, delivers });
  const metrics = createMetrics({ version: metadata.version, look });
  const observers = [metrics.observer];
  const opened: AsyncDisposable[] = [];
  const repeats = createRepeatGate({ now: Date.now });
  if (otlpSettings?.metrics !== undefined || otlpSettings?.traces !== undefined) {
    const { openOtlp } = await import("../otlp/exporter.ts");
    const otlp = openOtlp({ settings: otlpSettings, metrics, version: metadata.version, deviceId });
    observers.push(otlp.observer);
    opened.push(otlp);
  }
  if (port !== undefined) {
    try {
      const { openWeb } = await import("../web/open.ts");
      const web = openWeb({ port, db, source, filters, policy, deviceId, delivers, look, metrics });
      opened.push(web);
      log.info("Health, metrics and dashboard at http://127.0.0.1:{port} (log in: lifelog-agent dashboard)", {
        port: web.port,
      });
    } catch (error) {
      complain(`Cannot serve health, metrics and dashboard on port ${port}`, error);
    }
  }
  return {
    observer: observeAll(observers, (error) => {
      const line = repeats.failed("observer", `Cannot note what was done: ${reasonOf(error)}`);
      if (line !== undefined) log.error("{line}", { line });
    }),
    async [Symbol.asyncDispose]() {
      await Promise.allSettled(opened.map((one) => one[Symbol.asyncDispose]()));
    },
  };
}

function complain(what: string, error: unknown): void {
  log.error("{what}: {reason}", { what, reason: reasonOf(error) });
}

function reasonOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
