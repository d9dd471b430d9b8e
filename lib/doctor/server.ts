import { lookup } from "node:dns/promises";
import type { ProbeResult, Sink } from "../event.ts";
import { MAX_SKEW_MS } from "../status/verdict.ts";
import { formatSpan } from "../status/words.ts";
import { type Check, fail, ok, warn } from "./check.ts";

/** What {@link checkServer} needs. */
export interface ServerOptions {
  readonly endpoint: URL;
  readonly hasToken: boolean;
  readonly sink: Sink;
  readonly signal: AbortSignal;
  /** Finds the addresses of a name. */
  readonly resolve?: (name: string) => Promise<readonly { address: string }[]>;
}

/**
 * Looks whether the LifeLog server would take events: its name, the way to it, the token and the clocks. Nothing is
 * stored by it.
 */
export async function* checkServer(options: ServerOptions): AsyncIterable<Check> {
  const { endpoint, hasToken, sink, signal, resolve = (name) => lookup(name, { all: true }) } = options;
  const name = endpoint.hostname.replace(/^\[|\]$/g, "");
  if (!/^[\d.]+$|:/.test(name)) {
    try {
      const addresses = await resolve(name);
      yield ok("dns", `${name} is ${addresses.map(({ address }) => address).slice(0, 3).join(", ")}`);
    } catch {
      // Behind a proxy the name need not be known here, so the request is made all the same.
      yield warn(
        "dns",
        `The name ${name} cannot be resolved`,
        "Check CENTRAL_SERVER_ENDPOINT, and that this device is online",
      );
    }
  }
  if (!hasToken) {
    yield warn("token", "No token is set", "Set SERVER_AUTH_TOKEN to the LifeLog server's token");
  }
  if (sink.probe === undefined) return;
  const result = await sink.probe({ signal });
  yield judge(result, endpoint, hasToken);
  const { clockAheadMs } = result;
  if (clockAheadMs === undefined) return;
  const offMs = Math.abs(clockAheadMs);
  yield offMs > MAX_SKEW_MS
    ? warn(
      "clock",
      `This device's clock is ${formatSpan(offMs)} ${clockAheadMs > 0 ? "behind" : "ahead of"} the server's`,
      "Set this device's clock: events carry its times",
    )
    : ok("clock", `This device's clock and the server's agree to ${formatSpan(Math.max(1000, offMs))}`);
}

function judge(result: ProbeResult, endpoint: URL, hasToken: boolean): Check {
  const secure = endpoint.protocol === "https:" ? " over TLS" : "";
  const { reason } = result;
  switch (result.kind) {
    case "ready":
      return ok(
        "server",
        `The LifeLog server answers${secure} and ${
          !hasToken
            ? "would take events without a token"
            : result.asksForToken === true
            ? "accepts the token"
            : "would take events; it does not tell whether it looks at the token"
        }`,
      );
    case "refused":
      return fail(
        "server",
        `The LifeLog server does not accept the token: ${reason}`,
        "Set SERVER_AUTH_TOKEN to the LifeLog server's token",
      );
    case "unavailable":
      return warn(
        "server",
        `The LifeLog server cannot take events now: ${reason}`,
        "Look at the server; events are kept here and sent when it is well",
      );
    case "unreachable":
      return fail(
        "server",
        `The LifeLog server cannot be reached: ${reason}`,
        /secure|certificate/.test(reason)
          ? "Check the server's certificate; one of your own must be in this device's store of certificates"
          : "Check CENTRAL_SERVER_ENDPOINT, and that this device is online and the server runs",
      );
    case "stranger":
      return fail(
        "server",
        `What answers at ${endpoint.origin} does not speak as a LifeLog server: ${reason}`,
        "Check CENTRAL_SERVER_ENDPOINT, which usually ends in /api/v1/ingest, and that no log-in page is between",
      );
  }
}
