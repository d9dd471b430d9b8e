import { backoffMs } from "./backoff.ts";

/** A drain waits no longer than this between tries, in milliseconds; asked for more, it ends and leaves it to the next. */
const MAX_WAIT_MS = 15 * 60_000;
/** No wish of a server keeps the agent from asking it once a day. */
const MAX_RETRY_AFTER_MS = 24 * 3_600_000;
/** The shortest and longest that the breaker stays open after a failed drain, in milliseconds. */
const BREAKER_BASE_MS = 30_000;
const BREAKER_CAP_MS = 15 * 60_000;

/** What {@link createRetryPolicy} needs. */
export interface RetryPolicyOptions {
  /** How often one batch is tried again within a drain. */
  readonly maxRetries: number;
  /** The base of the delay between tries, in milliseconds. */
  readonly retryDelayMs: number;
  /** A clock that only goes forward, in milliseconds. */
  readonly monotonicMs: () => number;
  readonly random: () => number;
}

/** When a server that failed is asked again: all of the agent's manners towards a sick server are here. */
export interface RetryPolicy {
  /**
   * How long to wait before the next try within a drain, in milliseconds; `undefined` when the drain shall end.
   * @param tries how often this was tried again already
   */
  retryMs(tries: number, retryAfterMs?: number): number | undefined;
  /** A drain ended with events left: the server is left alone for a while, longer with each such drain. */
  failed(retryAfterMs?: number): void;
  /** The server took events, or had nothing to take. */
  succeeded(): void;
  /** How many drains in a row the server has failed. */
  failedDrains(): number;
  /** How long to leave the server alone yet, in milliseconds; 0 when it may be asked. */
  pauseMs(): number;
}

/** Makes a policy. */
export function createRetryPolicy(options: RetryPolicyOptions): RetryPolicy {
  const { maxRetries, retryDelayMs, monotonicMs, random } = options;
  let failedDrains = 0;
  let openUntilMs = -Infinity;
  return {
    retryMs(tries, retryAfterMs) {
      if (tries >= maxRetries || (retryAfterMs ?? 0) > MAX_WAIT_MS) return undefined;
      return backoffMs(tries, { baseMs: retryDelayMs, capMs: MAX_WAIT_MS, random }, retryAfterMs);
    },
    failed(retryAfterMs) {
      const asked = retryAfterMs === undefined ? undefined : Math.min(retryAfterMs, MAX_RETRY_AFTER_MS);
      const breaker = { baseMs: BREAKER_BASE_MS, capMs: BREAKER_CAP_MS, random };
      openUntilMs = monotonicMs() + backoffMs(failedDrains++, breaker, asked);
    },
    succeeded() {
      failedDrains = 0;
      openUntilMs = -Infinity;
    },
    failedDrains: () => failedDrains,
    pauseMs: () => Math.max(0, openUntilMs - monotonicMs()),
  };
}
