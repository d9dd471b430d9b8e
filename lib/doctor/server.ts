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
    case "unreachable": {
      const { detail } = result;
      return fail(
        "server",
        `The LifeLog server cannot be reached: ${reason}${detail === undefined ? "" : `: ${detail}`}`,
        mendOf(`${reason} ${detail}`),
      );
    }
    case "stranger":
      return fail(
        "server",
        `What answers at ${endpoint.origin} does not speak as a LifeLog server: ${reason}`,
        "Check CENTRAL_SERVER_ENDPOINT, which usually ends in /api/v1/ingest, and that no log-in page is between",
      );
  }
}

/** What mends a connection that cannot be made. */
function mendOf(fault: string): string {
  if (/pinned/.test(fault)) {
    return "If the server was given a new key, set SERVER_PINS to it; if not, somebody is between";
  }
  if (/UnknownIssuer|CaUsedAsEndEntity|self.signed/i.test(fault)) {
    return "If the server's authority is your own, set SERVER_CA_FILE to its certificate; if not, somebody is between";
  }
  if (/expired|NotValidYet|not valid yet/i.test(fault)) {
    return "Renew the server's certificate, or set this device's clock";
  }
  if (/NotValidForName|not valid for name/.test(fault)) {
    return "Set CENTRAL_SERVER_ENDPOINT to a name that the server's certificate is for";
  }
  if (/certificate|TLS/i.test(fault)) {
    return "Check that CENTRAL_SERVER_ENDPOINT is a server that speaks TLS, and its certificate";
  }
  return "Check CENTRAL_SERVER_ENDPOINT, and that this device is online and the server runs";
}
