/** A clock that the demo moves on by itself: what waits on it waits no real time. */

/** Counts who is at work and who sleeps, so that time only passes while nobody is at work. */
export class SimClock {
  #nowMs: number;
  #busy = 0;
  #sleepers: { dueMs: number; wake: () => void }[] = [];
  #onIdle: (() => void) | undefined;

  constructor(startMs: number) {
    this.#nowMs = startMs;
  }

  /** The time in milliseconds since 1970. */
  readonly now = (): number => this.#nowMs;

  /** Notes that somebody is at work: the clock stands still until it sleeps or {@link end} is called. */
  begin(): void {
    this.#busy++;
  }

  /** Notes that somebody has ended its work. */
  end(): void {
    this.#rest();
  }

  /** Runs `work`; the clock stands still for as long as it does not sleep. */
  async work(work: () => Promise<void>): Promise<void> {
    this.begin();
    try {
      await work();
    } finally {
      this.end();
    }
  }

  /** Waits for `ms` on this clock, inside of {@link work}; rejects when `signal` is aborted before. */
  readonly sleep = (ms: number, options: { signal?: AbortSignal | undefined } = {}): Promise<void> => {
    const { signal } = options;
    return new Promise((resolve, reject) => {
      signal?.throwIfAborted();
      const sleeper = {
        dueMs: this.#nowMs + ms,
        wake: () => {
          signal?.removeEventListener("abort", onAbort);
          this.#busy++;
          resolve();
        },
      };
      const onAbort = () => {
        this.#sleepers = this.#sleepers.filter((other) => other !== sleeper);
        this.#busy++;
        reject(signal!.reason);
      };
      signal?.addEventListener("abort", onAbort, { once: true });
      this.#sleepers.push(sleeper);
      this.#rest();
    });
  };

  /** Moves the time on to `timeMs`: wakes the sleepers whose time has come, and waits until nobody is at work. */
  async advanceTo(timeMs: number): Promise<void> {
    await this.#idle();
    for (;;) {
      const next = this.#sleepers.filter(({ dueMs }) => dueMs <= timeMs).sort((a, b) => a.dueMs - b.dueMs)[0];
      if (next === undefined) break;
      this.#sleepers = this.#sleepers.filter((other) => other !== next);
      this.#nowMs = Math.max(this.#nowMs, next.dueMs);
      next.wake();
      await this.#idle();
    }
    this.#nowMs = timeMs;
  }

  #rest(): void {
    this.#busy--;
    if (this.#busy === 0) this.#onIdle?.();
  }

  async #idle(): Promise<void> {
    while (this.#busy > 0) {
      await new Promise<void>((resolve) => this.#onIdle = resolve);
      this.#onIdle = undefined;
    }
  }
}
