import { steadyMs } from "./clock.ts";
import type { Batch, SendResult, Sink } from "./event.ts";
import { createPace } from "./pace.ts";
import { createRetryPolicy } from "./retry_policy.ts";
import type { Database } from "./store/database.ts";
import { moveToDeadLetters, peekNewest, peekOutbox, removeFromOutbox } from "./store/outbox.ts";
import { sweepDelivered } from "./store/removal.ts";
import { forgetAttempt, noteAttempt } from "./store/rules.ts";
import { sleep, underWay } from "./time.ts";

/** In how many drains an event alone must have made the server fail, while it took others, to be given up. */
const MAX_STRIKES = 3;

/** How a drain of the outbox ended. */
export interface DrainResult {
  /** Events that the server now has. */
  readonly delivered: number;
  /** Events moved to the dead letters. */
  readonly dead: number;
  readonly requests: number;
  /** The server took so long that the rest is left to the next drain. */
  readonly eased?: true;
  /** Why events were left, when some were: nothing of them is lost. */
  readonly failure?: { readonly reason: string; readonly status?: number; readonly hint?: string };
}

/** What {@link createDeliverer} needs. */
export interface DelivererOptions {
  readonly db: Database;
  readonly sink: Sink;
  /** The number of the privacy rules in force: what others let pass is not sent. Default: 0, there are none. */
  readonly rules?: number;
  /** Events in one request at most. Default: 500. */
  readonly maxBatchSize?: number;
  /** Bytes of events in one request at most. Default: 524288. */
  readonly maxBatchBytes?: number;
  /** How often one batch is tried again within a drain. Default: 3. */
  readonly maxRetries?: number;
  /** The base of the delay between tries, in milliseconds. Default: 60000. */
  readonly retryDelayMs?: number;
  readonly now?: () => number;
  /** A clock that only goes forward and counts sleep, in milliseconds. */
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
    rules = 0,
    maxBatchSize = 500,
    maxBatchBytes = 512 * 1024,
    maxRetries = 3,
    retryDelayMs = 60_000,
    now = Date.now,
    monotonicMs = steadyMs,
    random = Math.random,
    sleep: pause = sleep,
    onResult,
    onWait,
  } = options;
  const pace = createPace(maxBatchSize);
  const policy = createRetryPolicy({ maxRetries, retryDelayMs, monotonicMs, random });
  /** What a request may hold for the server not to find it too large, and not to take too long for it. */
  let sizeLimit = maxBatchSize;
  let byteLimit = maxBatchBytes;
  /**
   * What the server has confirmed and is not yet off the outbox: that is done while it works on the next request, or as
   * soon as a full disk has room.
   */
  let confirmed: Batch = [];
  /** What the outbox's state was before they were read; nothing where they were not all that stood at its head. */
  let confirmedState: string | undefined;
  /** In how many drains an event alone made the server fail. */
  const strikes = new Map<number, number>();

  async function drain(
    options: { signal?: AbortSignal; abortSignal?: AbortSignal } = {},
  ): Promise<DrainResult> {
    takeOff();
    try {
      return await sendAll(options);
    } finally {
      takeOff();
      while (sweepDelivered(db)) await underWay();
    }
  }

  function takeOff(): void {
    if (confirmed.length > 0) removeFromOutbox(db, confirmed, confirmedState);
    confirmed = [];
    confirmedState = undefined;
  }

  async function sendAll(
    { signal, abortSignal }: { signal?: AbortSignal; abortSignal?: AbortSignal },
  ): Promise<DrainResult> {
    const tally = { delivered: 0, dead: 0, requests: 0 };
    // What the server found too large is tried again now and then, for its limit may have been raised.
    sizeLimit = Math.min(maxBatchSize, sizeLimit * 2);
    byteLimit = Math.min(maxBatchBytes, byteLimit * 2);
    /** After a failure one small request asks whether the server is back: a sick one is asked less, not more. */
    let probing = policy.failedDrains() > 0;
    /** How often the batch at the head was tried. */
    let tries = 0;
    /** The number of the last request that was accepted, and of the one that raised the present suspicion. */
    let acceptedAt = 0;
    let suspectedAt = 0;
    let stopped: Stop | undefined;
    /** How many events a request has while the server rejects some without naming them. */
    let groupSize = maxBatchSize;
    /** Up to this entry the outbox holds one that the server did not accept in the company of others. */
    let suspectSeq = -1;
    /** How long a slow server is given before the next request, in milliseconds. */
    let restMs = 0;
    /** The server is asked no more in this drain, for it is slow. */
    let eased = false;
    /** Up to this entry the outbox is left to the next drain. */
    let asideSeq = -1;
    /** What comes next if nothing changes: read while the server worked on what was before it. */
    let ahead: Head & { limit: number; maxBytes: number } | undefined;

    /**
     * Sends a batch and does the work on the cache that waits meanwhile: the time that the server takes for its answer is
     * no time lost.
     */
    async function send(batch: Batch, state?: string, readAhead?: () => void): Promise<SendResult> {
      tally.requests++;
      const first = note(() => noteAttempt(db, batch)) ?? false;
      let fault: { readonly error: unknown } | undefined;
      async function meanwhile(): Promise<void> {
        if (confirmed.length === 0 && readAhead === undefined) return;
        await underWay();
        try {
          takeOff();
          readAhead?.();
        } catch (error) {
          // What the server says to this batch must be known first.
          fault = { error };
        }
      }
      const [result] = await Promise.all([
        sink.send(batch, abortSignal ? { signal: abortSignal } : {}),
        meanwhile(),
      ]);
      onResult?.(batch, result);
      if (first && isUntaken(result)) note(() => forgetAttempt(db, batch));
      if (fault !== undefined) {
        if (result.kind === "delivered") delivered(batch, state);
        throw fault.error;
      }
      return result;
    }

    /** What of the outbox comes next. What was sent is gone from it or confirmed: its head is always what comes next. */
    function next(limit: number): Head {
      const read = ahead;
      ahead = undefined;
      // What waited may have been taken back or given another form since it was read.
      if (
        read !== undefined && read.limit === limit && read.maxBytes === byteLimit &&
        read.state === db.outboxState()
      ) return read;
      takeOff();
      return { state: db.outboxState(), batch: peekOutbox(db, asideSeq, limit, byteLimit, rules) };
    }

    function readAhead(batch: Batch, limit: number): void {
      const state = db.outboxState();
      const maxBytes = byteLimit;
      try {
        const next = peekOutbox(db, batch.at(-1)!.seq, limit, maxBytes, rules);
        if (next.length > 0) ahead = { batch: next, limit, maxBytes, state };
      } catch { /* it is told of where it is read in its turn */ }
    }

    /** On a disk that is full nothing can be noted, which is no reason not to send what is on it. */
    function note<T>(what: () => T): T | undefined {
      try {
        return what();
      } catch { /* it is told of where the delivered entries cannot be taken off */ }
    }

    function delivered(batch: Batch, state?: string): void {
      confirmedState = confirmed.length === 0 || confirmedState === state ? state : undefined;
      confirmed = [...confirmed, ...batch];
      tally.delivered += batch.length;
      if (strikes.size > 0) { for (const { seq } of batch) strikes.delete(seq); }
      acceptedAt = tally.requests;
      probing = false;
    }

    function bury(batch: Batch, status: number, reason: (index: number) => string): void {
      moveToDeadLetters(db, batch.map(({ seq }, index) => ({ seq, status, reason: reason(index) })), now());
      tally.dead += batch.length;
      for (const { seq } of batch) strikes.delete(seq);
    }

    /**
     * Finds out whether the server takes any event at all, by the newest one and, where `alsoFirst`, the batch's first:
     * then the fault is in the batch. An event is given up only when the server took another one after it had not taken
     * this. Returns why to stop where it takes none.
     */
    async function stopUnlessItTakesAnother(
      batch: Batch,
      stop: Stop,
      alsoFirst = true,
    ): Promise<Stop | undefined> {
      const searching = batch.at(-1)!.seq <= suspectSeq;
      if (!searching) suspectedAt = tally.requests;
      else if (batch.length > 1 || acceptedAt > suspectedAt) return undefined;
      const others = [peekNewest(db, rules), alsoFirst ? batch[0] : undefined];
      for (const other of others) {
        if (other === undefined || (batch.length === 1 && other.seq === batch[0]!.seq)) continue;
        signal?.throwIfAborted();
        const result = await send([other]);
        if (result.kind === "delivered") {
          delivered([other]);
          takeOff();
          return undefined;
        }
        if (result.kind === "retry") return result;
      }
      return stop;
    }

    /** Notes that the batch holds an event that the server does not accept; `bury` takes it when it is alone. */
    function suspect(batch: Batch, buryIt: () => void): void {
      if (batch.length > 1) {
        suspectSeq = batch.at(-1)!.seq;
        return;
      }
      buryIt();
      suspectSeq = -1;
      // Where many are rejected, smaller groups find them in fewer requests.
      groupSize = Math.max(1, Math.floor(groupSize / 2));
    }

    while (stopped === undefined && !eased) {
      signal?.throwIfAborted();
      const limit = Math.min(groupSize, sizeLimit, pace.events(probing));
      const { batch: head, state } = next(limit);
      if (head.length === 0) break;
      const suspects = head.filter(({ seq }) => seq <= suspectSeq);
      if (suspects.length === 0) suspectSeq = -1;
      const searching = suspects.length > 0;
      const batch = !searching ? head : suspects.slice(0, Math.ceil(suspects.length / 2));
      if (restMs > 0) {
        takeOff();
        await pause(restMs, { signal });
        restMs = 0;
        continue;
      }
      const beganMs = monotonicMs();
      const probed = probing;
      // A server that may be down is not read ahead for.
      const goesOn = acceptedAt > 0 && acceptedAt === tally.requests && suspectSeq === -1;
      const result = await send(batch, state, goesOn ? () => readAhead(batch, limit) : undefined);
      const tookMs = monotonicMs() - beganMs;
      if (result.kind !== "retry") tries = 0;
      // What was read for after it does not come next while this is there.
      if (result.kind !== "delivered") ahead = undefined;
      pace.took(
        batch.length,
        tookMs,
        result.kind === "delivered" ? "delivered" : isSlow(result) ? "slow" : "failed",
      );
      switch (result.kind) {
        case "delivered":
          delivered(batch, state);
          // Where the first half was accepted, the fault is in the second: that one needs no request as a whole.
          if (!searching) groupSize = Math.min(maxBatchSize, groupSize * 2);
          restMs = pace.restMs(tookMs, tally.delivered, probed) ?? 0;
          eased = pace.restMs(tookMs, tally.delivered, probed) === undefined;
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
          } else {
            if (result.perhapsAll) {
              stopped = await stopUnlessItTakesAnother(batch, {
                kind: "refused",
                reason: `${result.reason} to every event`,
                status: result.status,
                hint: "Check that CENTRAL_SERVER_ENDPOINT is a LifeLog server's address",
              });
            }
            if (stopped === undefined) suspect(batch, () => bury(batch, result.status, () => result.reason));
          }
          break;
        case "too-large":
          if (batch.length > 1) {
            // 413 is about bytes; who counts events says so in other ways.
            if (result.status === 413) byteLimit = Math.ceil(bytesOf(batch) / 2);
            else sizeLimit = Math.ceil(batch.length / 2);
            break;
          }
          stopped = await stopUnlessItTakesAnother(batch, {
            kind: "refused",
            reason: `${result.reason} to single events`,
            status: result.status,
            hint: "Raise the limit for the size of a request at the server or at the proxy before it",
          });
          if (stopped === undefined) bury(batch, result.status, () => result.reason);
          break;
        case "refused":
          stopped = result;
          if (result.perhapsContent) {
            stopped = await stopUnlessItTakesAnother(batch, result);
            const { status = 403, reason } = result;
            if (stopped === undefined) {
              suspect(batch, () => bury(batch, status, () => `${reason} to this event alone`));
            }
          }
          break;
        case "retry": {
          const waitMs = probing || searching ? undefined : policy.retryMs(tries, result.retryAfterMs);
          if (waitMs !== undefined) {
            tries++;
            onWait?.(waitMs, result.reason, tries);
            await pause(waitMs, { signal });
            break;
          }
          tries = 0;
          stopped = result;
          // What goes on for drains may be an event at which the server fails each time, and not its being down.
          if (result.status === 500 && (policy.failedDrains() >= 2 || strikes.size > 0)) {
            stopped = await stopUnlessItTakesAnother(batch, result, false);
          }
          if (stopped === undefined) {
            suspect(batch, () => {
              const { seq } = batch[0]!;
              const times = (strikes.get(seq) ?? 0) + 1;
              strikes.set(seq, times);
              if (times >= MAX_STRIKES) {
                bury(batch, 500, () => `${result.reason} to this event alone, ${times} times`);
              } else asideSeq = seq;
            });
          }
          break;
        }
      }
    }

    if (stopped === undefined && asideSeq !== -1) {
      stopped = {
        kind: "retry",
        status: 500,
        reason: "it answered 500 to single events, which are tried again",
      };
    } else if (stopped === undefined) {
      policy.succeeded();
      return eased ? { ...tally, eased } : tally;
    }
    policy.failed(stopped.kind === "retry" ? stopped.retryAfterMs : undefined);
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

  return { drain, pauseMs: policy.pauseMs };
}

function isSlow(result: SendResult): boolean {
  return result.kind === "retry" && result.slow === true;
}

function bytesOf(batch: Batch): number {
  return batch.reduce((bytes, { body }) => bytes + body.length + 1, 0);
}

/** What stands at the head of the outbox, and what the outbox's state was before it was read. */
interface Head {
  readonly batch: Batch;
  readonly state: string;
}

/** Why a drain ends before all is delivered. */
type Stop = Extract<SendResult, { kind: "retry" | "refused" }>;

/** Tells whether the server surely has nothing of what was sent, so that it may still leave in another form. */
function isUntaken(result: SendResult): boolean {
  switch (result.kind) {
    case "delivered":
      return false;
    case "retry":
      return result.unreached === true || result.status === 429;
    default:
      return true;
  }
}
