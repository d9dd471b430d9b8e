/** A LifeLog server's front door as a model: some workers, one queue, and time for each request and each event. */

/** What a {@link ServerModel} can do. */
export interface ServerOptions {
  readonly workers: number;
  /** Time for a request, and for each event in it, in milliseconds. */
  readonly requestMs: number;
  readonly eventMs: number;
  /** When it refuses connections, from and until, in milliseconds. */
  readonly down?: readonly [number, number];
  /** When each request takes so many times as long, from and until. */
  readonly slow?: readonly [from: number, until: number, times: number];
}

/** What becomes of a request. */
export interface Verdict {
  /** When its sender knows, in milliseconds. */
  readonly atMs: number;
  readonly outcome: "delivered" | "refused" | "timeout";
}

/**
 * The server never sheds load and does not see that a sender has gone: what it works on after a time-out is work in
 * vain, sent again later. That is the worst case: the one in which overload can keep itself up.
 */
export class ServerModel {
  readonly #freeAtMs: number[];
  readonly #options: ServerOptions;
  /** What it was busy with, by minute, in worker milliseconds. */
  readonly busyMs: number[] = [];

  constructor(options: ServerOptions) {
    this.#options = options;
    this.#freeAtMs = Array<number>(options.workers).fill(0);
  }

  /** Takes a request that arrives at `nowMs`; calls must come in order of time. */
  take(nowMs: number, events: number, timeoutMs: number): Verdict {
    const { down, slow, requestMs, eventMs } = this.#options;
    if (down !== undefined && nowMs >= down[0] && nowMs < down[1]) {
      return { atMs: nowMs + 50, outcome: "refused" };
    }
    let first = 0;
    for (let n = 1; n < this.#freeAtMs.length; n++) {
      if (this.#freeAtMs[n]! < this.#freeAtMs[first]!) first = n;
    }
    const startMs = Math.max(nowMs, this.#freeAtMs[first]!);
    const times = slow !== undefined && startMs >= slow[0] && startMs < slow[1] ? slow[2] : 1;
    const workMs = (requestMs + events * eventMs) * times;
    this.#freeAtMs[first] = startMs + workMs;
    const minute = Math.floor(startMs / 60_000);
    this.busyMs[minute] = (this.busyMs[minute] ?? 0) + workMs;
    const doneMs = startMs + workMs;
    return doneMs - nowMs > timeoutMs
      ? { atMs: nowMs + timeoutMs, outcome: "timeout" }
      : { atMs: doneMs, outcome: "delivered" };
  }
}
