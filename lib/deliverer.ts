import { backoffMs } from "./backoff.ts";
import type { Batch, SendResult, Sink } from "./event.ts";
import type { Database } from "./store/database.ts";
import { moveToDeadLetters, peekOutbox, removeFromOutbox } from "./store/outbox.ts";
import { sleep } from "./time.ts";

/** A drain waits no longer than this between tries, in milliseconds; asked for more, it ends and leaves it to the next. */
const MAX_WAIT_MS = 15 * 60_000;
/** No wish of a server keeps the agent from asking it once a day. */
const MAX_RETRY_AFTER_MS = 24 * 3_600_000;
/** The shortest and longest that the breaker stays open after a failed drain, in milliseconds. */
const BREAKER_BASE_MS = 30_000;
const BREAKER_CAP_MS = 15 * 60_000;

/** How a drain of the outbox ended. */
export interface DrainResult {
  /** Events that the server now has. */
  readonly delivered: number;
  /** Events moved to the dead letters. */
  readonly dead: number;
  readonly requests: number;
  /** Why events were left, when some were: nothing of them is lost. */
  readonly failure?: { readonly reason: string; readonly status?: number; readonly hint?: string };
}

/** What {@link createDeliverer} needs. */
export interface DelivererOptions {
  readonly db: Database;
  readonly sink: Sink;
  /** Events in one request at most. Default: 500. */
  readonly maxBatchSize?: number;
  /** Bytes of events in one request at most. Default: 524288. */
  readonly maxBatchBytes?: number;
  /** How often one batch is tried again within a drain. Default: 3. */
  readonly maxRetries?: number;
  /** The base of the delay between tries, in milliseconds. Default: 60000. */
  readonly retryDelayMs?: number;
  readonly now?: () => number;
  /** A clock that only goes forward, in milliseconds. */
  readonly monotonicMs?: () => number;
  readonly random?: () => number;
  readonly sleep?: typeof sleep;
  /** Told after each answered or failed request. */
  readonly onResult?: (batch: Batch, result: SendResult) => void;
  /** Told before each wait. */
  readonly onWait?: (waitMs: number, reason: string, attempt: number) => void;
}

/** Moves events from the cache to the sink. */
export interface Deliverer {
  /**
   * Sends all that the outbox held when it began, and what came meanwhile, oldest first, until it is empty or the
   * server cannot take more. An event leaves the outbox only after the server has confirmed it or when it is
   * moved to the dead letters. Events that the server does not accept are singled out and never hold up others.
   * @param options.signal stops before the next request and while waiting; the request in flight is finished
   * @param options.abortSignal gives the request in flight up as well: it will be sent again, the same to the byte
   * @throws {Error} when the cache cannot be read or written
   */
  drain(options?: { signal?: AbortSignal; abortSignal?: AbortSignal }): Promise<DrainResult>;
  /** How long to leave the server alone yet after drains that failed, in milliseconds; 0 when it may be asked. */
  pauseMs(): number;
}

/** Makes a deliverer. Drains must not run side by side. */
export function createDeliverer(options: DelivererOptions): Deliverer {
  const {
    db,
    sink,
    maxBatchSize = 500,
    maxBatchBytes = 512 * 1024,
    maxRetries = 3,
    retryDelayMs = 60_000,
    now = Date.now,
    monotonicMs = () => performance.now(),
    random = Math.random,
    sleep: pause = sleep,
    onResult,
    onWait,
  } = options;
  let failedDrains = 0;
  let openUntilMs = -Infinity;

  async function drain(
    { signal, abortSignal }: { signal?: AbortSignal; abortSignal?: AbortSignal } = {},
  ): Promise<DrainResult> {
    const tally = { delivered: 0, dead: 0, requests: 0 };
    let sizeLimit = maxBatchSize;
    let retryAfterMs: number | undefined;

    /** Sends one batch, again where it pays. */
    async function attempt(batch: Batch): Promise<SendResult> {
      for (let tries = 0;; tries++) {
        signal?.throwIfAborted();
        tally.requests++;
        const result = await sink.send(batch, abortSignal ? { signal: abortSignal } : {});
        onResult?.(batch, result);
        if (result.kind !== "retry" || tries >= maxRetries) return result;
        if ((result.retryAfterMs ?? 0) > MAX_WAIT_MS) return result;
        const waitMs = backoffMs(
          tries,
          { baseMs: retryDelayMs, capMs: MAX_WAIT_MS, random },
          result.retryAfterMs,
        );
        onWait?.(waitMs, result.reason, tries + 1);
        await pause(waitMs, { signal });
      }
    }

    function bury(batch: Batch, status: number, reason: (index: number) => string): void {
      moveToDeadLetters(db, batch.map(({ seq }, index) => ({ seq, status, reason: reason(index) })), now());
      tally.dead += batch.length;
    }

    /**
     * Delivers a batch, or as much of it as the server takes: splits it until what it does not accept is found.
     * Returns the result that stopped it, if one did.
     */
    async function deliver(batch: Batch): Promise<SendResult | undefined> {
      const result = await attempt(batch);
      switch (result.kind) {
        case "delivered":
          removeFromOutbox(db, batch);
          tally.delivered += batch.length;
          return;
        case "retry":
        case "refused":
          return result;
        case "too-large":
        case "rejected": {
          if (result.kind === "rejected" && result.indices.length > 0) {
            const named = new Set(result.indices);
            const bad = result.indices.map((index) => batch[index]!);
            bury(bad, result.status, (i) => result.reasons?.get(result.indices[i]!) ?? result.reason);
            const rest = batch.filter((_, index) => !named.has(index));
            return rest.length === 0 ? undefined : await deliver(rest);
          }
          if (batch.length === 1) {
            bury(batch, result.status, () => result.reason);
            return;
          }
          const half = Math.ceil(batch.length / 2);
          if (result.kind === "too-large") sizeLimit = Math.min(sizeLimit, half);
          return await deliver(batch.slice(0, half)) ?? await deliver(batch.slice(half));
        }
      }
    }

    let stopped: Exclude<SendResult, { kind: "delivered" }> | undefined;
    for (;;) {
      signal?.throwIfAborted();
      // What was sent is gone from the outbox, delivered or dead: its head is always what comes next.
      const batch = peekOutbox(db, -1, sizeLimit, maxBatchBytes);
      if (batch.length === 0) break;
      const result = await deliver(batch);
      if (result !== undefined && result.kind !== "delivered") {
        stopped = result;
        break;
      }
    }

    if (stopped === undefined) {
      failedDrains = 0;
      openUntilMs = -Infinity;
      return tally;
    }
    if (stopped.kind === "retry") {
      retryAfterMs = stopped.retryAfterMs && Math.min(stopped.retryAfterMs, MAX_RETRY_AFTER_MS);
    }
    const openMs = backoffMs(
      failedDrains++,
      { baseMs: BREAKER_BASE_MS, capMs: BREAKER_CAP_MS, random },
      retryAfterMs,
    );
    openUntilMs = monotonicMs() + openMs;
    const { reason, status } = stopped;
    return {
      ...tally,
      failure: {
        reason,
        ...(status === undefined ? {} : { status }),
        ...(stopped.kind === "refused" ? { hint: stopped.hint } : {}),
      },
    };
  }

  return { drain, pauseMs: () => Math.max(0, openUntilMs - monotonicMs()) };
}
