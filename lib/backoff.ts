/** How retries are spaced. */
export interface BackoffOptions {
  /** The most that the first delay can be, in milliseconds. */
  readonly baseMs: number;
  /** The most that any delay can be, in milliseconds. */
  readonly capMs: number;
  readonly random?: () => number;
}

/**
 * The delay before retry number `attempt` (from 0), in milliseconds: exponential with full jitter, so that
 * devices that failed together do not come back together. Where the server named a time, the delay is that
 * time and up to 10 s more, for it knows best: the cap does not shorten it.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * import { backoffMs } from "./backoff.ts";
 *
 * assert.equal(backoffMs(2, { baseMs: 1000, capMs: 60_000, random: () => 0.5 }), 2000);
 * ```
 */
export function backoffMs(attempt: number, options: BackoffOptions, retryAfterMs?: number): number {
  const { baseMs, capMs, random = Math.random } = options;
  if (retryAfterMs !== undefined) return retryAfterMs + random() * Math.min(baseMs, 10_000);
  return random() * Math.min(capMs, baseMs * 2 ** Math.min(attempt, 40));
}

/**
 * Reads a `Retry-After` header, in seconds or as a date, as milliseconds from now.
 *
 * @returns the delay, never negative, or `undefined` when there is none that can be read
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * import { retryAfterMs } from "./backoff.ts";
 *
 * assert.equal(retryAfterMs("120", 0), 120_000);
 * assert.equal(retryAfterMs("Thu, 01 Jan 1970 00:00:30 GMT", 10_000), 20_000);
 * ```
 */
export function retryAfterMs(header: string | null, nowMs: number): number | undefined {
  const text = header?.trim() ?? "";
  if (/^\d{1,10}$/.test(text)) return Number(text) * 1000;
  const at = /^[A-Za-z]{3,9},? /.test(text) ? Date.parse(text) : NaN;
  return Number.isNaN(at) ? undefined : Math.max(0, at - nowMs);
}
