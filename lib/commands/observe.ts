import { getLogger } from "@logtape/logtape";
import { observeAll, type Observer } from "../observer.ts";
import type { RunOptions } from "./run.ts";

const log = getLogger(["lifelog-agent", "web"]);

/** Who looks on while the agent works. */
export interface Observers extends AsyncDisposable {
  /** Absent where nobody does: then nothing is told, and nothing is loaded for it. */
  readonly observer: Observer | undefined;
}

/**
 * Opens what the settings ask for beside the agent itself: health, metrics and dashboard. What cannot be opened is
 * logged, and the agent does its work without it.
 */
export async function openObservers(options: RunOptions): Promise<Observers> {
  const { settings, db, source, filters, sink, deviceId, once } = options;
  const opened: (AsyncDisposable & { readonly observer: Observer })[] = [];
  if (settings.healthPort !== undefined && !once) {
    try {
      const { openWeb } = await import("../web/open.ts");
      const web = openWeb({
        port: settings.healthPort,
        db,
        source,
        filters,
        deviceId,
        delivers: sink !== undefined,
        collectionIntervalSeconds: settings.collectionIntervalSeconds,
        sendIntervalSeconds: settings.sendIntervalSeconds,
      });
      opened.push(web);
      log.info("Health, metrics and dashboard at http://127.0.0.1:{port} (log in: lifelog-agent dashboard)", {
        port: web.port,
      });
    } catch (error) {
      log.error("Cannot serve health, metrics and dashboard on port {port}: {reason}", {
        port: settings.healthPort,
        reason: error instanceof Error ? error.message : String(error),
      });
    }
  }
  return {
    observer: opened.length === 0 ? undefined : observeAll(opened.map(({ observer }) => observer)),
    async [Symbol.asyncDispose]() {
      await Promise.allSettled(opened.map((one) => one[Symbol.asyncDispose]()));
    },
  };
}
