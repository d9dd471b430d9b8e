import type { Collector, CollectResult } from "./collector.ts";
import type { Deliverer, DrainResult } from "./deliverer.ts";
import type { Batch, Bucket, SendResult, Sink } from "./event.ts";

/** From when to when something took, in milliseconds since 1970. */
export interface Took {
  readonly fromMs: number;
  readonly toMs: number;
}

/** Is told what the loops do, as it happens. It must be quick. */
export interface Observer {
  /** A pass over a bucket ended; without a result it failed. */
  readonly collected: (bucket: Bucket, result: CollectResult | undefined, took: Took) => void;
  /** A request to the server ended. */
  readonly sent: (batch: Batch, result: SendResult, took: Took) => void;
  /** A drain of the outbox ended; without a result it broke off. */
  readonly drained: (result: DrainResult | undefined, took: Took) => void;
}

/** Makes one observer of several. What one of them throws is told to `onError` and goes no further. */
export function observeAll(observers: readonly Observer[], onError: (error: unknown) => void): Observer {
  function tell<K extends keyof Observer>(what: K, ...args: Parameters<Observer[K]>): void {
    for (const observer of observers) {
      try {
        (observer[what] as (...args: Parameters<Observer[K]>) => void)(...args);
      } catch (error) {
        onError(error);
      }
    }
  }
  return {
    collected: (...args) => tell("collected", ...args),
    sent: (...args) => tell("sent", ...args),
    drained: (...args) => tell("drained", ...args),
  };
}

/** The same collector, whose passes are told to an observer. */
export function observedCollector(
  collector: Collector,
  observer: Observer,
  now: () => number = Date.now,
): Collector {
  return {
    ...collector,
    async collect(bucket, options) {
      const fromMs = now();
      let result: CollectResult | undefined;
      try {
        return result = await collector.collect(bucket, options);
      } finally {
        observer.collected(bucket, result, { fromMs, toMs: now() });
      }
    },
  };
}

/** The same sink, whose requests are told to an observer. */
export function observedSink(sink: Sink, observer: Observer, now: () => number = Date.now): Sink {
  return {
    ...sink,
    async send(batch, options) {
      const fromMs = now();
      const result = await sink.send(batch, options);
      observer.sent(batch, result, { fromMs, toMs: now() });
      return result;
    },
  };
}

/** The same deliverer, whose drains are told to an observer. */
export function observedDeliverer(
  deliverer: Deliverer,
  observer: Observer,
  now: () => number = Date.now,
): Deliverer {
  return {
    ...deliverer,
    async drain(options) {
      const fromMs = now();
      let result: DrainResult | undefined;
      try {
        return result = await deliverer.drain(options);
      } finally {
        observer.drained(result, { fromMs, toMs: now() });
      }
    },
  };
}
