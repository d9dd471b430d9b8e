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
   * @throws {DOMException} when `signal` or `abortSignal` is aborted; what was confirmed until then is off the outbox
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
  let sizeLimit = maxBatchSize;

  async function drain(
    { signal, abortSignal }: { signal?: AbortSignal; abortSignal?: AbortSignal } = {},
  ): Promise<DrainResult> {
    const tally = { delivered: 0, dead: 0, requests: 0 };
    // What the server found too large is tried again now and then, for its limit may have been raised.
    sizeLimit = Math.min(maxBatchSize, sizeLimit * 2);
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

    let stopped: Extract<SendResult, { kind: "retry" | "refused" }> | undefined;
    /** How many events a request has while the server rejects some without naming them. */
    let groupSize = maxBatchSize;
    /** Up to this entry the outbox holds one that the server did not accept in the company of others. */
    let suspectSeq = -1;
    while (stopped === undefined) {
      signal?.throwIfAborted();
      // What was sent is gone from the outbox, delivered or dead: its head is always what comes next.
      const head = peekOutbox(db, -1, Math.min(groupSize, sizeLimit), maxBatchBytes);
      if (head.length === 0) break;
      const suspects = head.filter(({ seq }) => seq <= suspectSeq);
      if (suspects.length === 0) suspectSeq = -1;
      const batch = suspects.length === 0 ? head : suspects.slice(0, Math.ceil(suspects.length / 2));
      const result = await attempt(batch);
      switch (result.kind) {
        case "delivered":
          removeFromOutbox(db, batch);
          tally.delivered += batch.length;
          // Where the first half was accepted, the fault is in the second: that one needs no request as a whole.
          if (suspects.length === 0) groupSize = Math.min(maxBatchSize, groupSize * 2);
          break;
        case "rejected":
          if (result.indices.length > 0) {
            const { indices, reasons } = result;
            bury(
              indices.map((index) => batch[index]!),
              result.status,
              (i) => reasons?.get(indices[i]!) ?? result.reason,
            );
            suspectSeq = -1;
          } else if (batch.length === 1) {
            bury(batch, result.status, () => result.reason);
            suspectSeq = -1;
            // Where many are rejected, smaller groups find them in fewer requests.
            groupSize = Math.max(1, Math.floor(groupSize / 2));
          } else {
            suspectSeq = batch.at(-1)!.seq;
          }
          break;
        case "too-large":
          if (batch.length === 1) bury(batch, result.status, () => result.reason);
          else sizeLimit = Math.ceil(batch.length / 2);
          break;
        default:
          stopped = result;
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
