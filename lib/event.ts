/**
 * The words that all other modules use: what a source yields, a filter changes, the cache holds and a sink
 * sends. Types only; nothing here runs.
 */

/** The kinds of bucket that the agent collects, by ActivityWatch's own bucket types. */
export type BucketType = "currentwindow" | "afkstatus" | "web.tab.current";

/** A bucket of ActivityWatch: one watcher's events on one device. */
export interface Bucket {
  /** The bucket's id, such as `aw-watcher-window_laptop`. */
  readonly id: string;
  readonly type: BucketType;
  /** The device that recorded it; `unknown` for web buckets from before 2025. */
  readonly hostname: string;
  /** When it was created, as the server writes it. Only its change matters: the bucket was made anew. */
  readonly created: string;
  /** The first event's start in microseconds since 1970, where the server tells it (aw-server-rust). */
  readonly firstEventUs?: number;
}

/** One event as ActivityWatch has it, unclipped. */
export interface ActivityEvent {
  /** Start in microseconds since 1970-01-01 UTC. */
  readonly startUs: number;
  /** Duration in seconds, to the bit as ActivityWatch told it. */
  readonly durationSeconds: number;
  /** What the watcher recorded. Nearly always an object; the servers store any JSON. */
  readonly data: unknown;
}

/** All events of a bucket that start within [fromUs, toUs), in order of their start. */
export interface Page {
  readonly fromUs: number;
  readonly toUs: number;
  readonly events: readonly ActivityEvent[];
}

/** Where events come from. */
export interface Source {
  /**
   * Lists the buckets to collect.
   * @throws {SourceError} when the source cannot be read
   */
  buckets(options?: { signal?: AbortSignal }): Promise<Bucket[]>;
  /**
   * Reads the events that start within [fromUs, toUs) in ascending pages without a gap between them. Every
   * event is whole: its duration is not cut at a page's edge.
   * @throws {SourceError} when the source cannot be read; the pages before stay good
   */
  pages(
    bucket: Bucket,
    fromUs: number,
    toUs: number,
    options?: { signal?: AbortSignal },
  ): AsyncIterable<Page>;
  /**
   * Reads the start of the bucket's newest event, or `undefined` when it has none.
   * @throws {SourceError} when the source cannot be read
   */
  newestStartUs(bucket: Bucket, options?: { signal?: AbortSignal }): Promise<number | undefined>;
  /**
   * Says which program answers.
   * @throws {SourceError} when none does
   */
  readonly describe?: (options?: { signal?: AbortSignal }) => Promise<SourceDescription>;
}

/** The program behind a source, as it calls itself. */
export interface SourceDescription {
  readonly name: string;
  readonly version: string;
  readonly hostname: string;
}

/**
 * Decides what leaves the device: returns the event as it is, a changed copy, or `undefined` to drop it. Pure
 * and quick: it runs inside the collection of each page.
 */
export type Filter = (event: ActivityEvent, bucket: Bucket) => ActivityEvent | undefined;

/** What one bucket recorded at the time of others' events. Events may be cut at the edges of that time. */
export interface Related {
  readonly bucket: Bucket;
  readonly events: readonly ActivityEvent[];
}

/** Reads what other buckets recorded at the same time. */
export interface RelatedSource {
  /**
   * All buckets of the device as they were last listed, also those that are not collected because the settings name
   * others: what they hold decides as well. Absent: those that are collected.
   */
  readonly beside?: () => readonly Bucket[];
  /**
   * Reads all events that touch [fromUs, toUs]: whole, or cut at those edges.
   * @throws {SourceError} when the source cannot be read
   */
  during(
    bucket: Bucket,
    fromUs: number,
    toUs: number,
    options?: { signal?: AbortSignal },
  ): Promise<readonly ActivityEvent[]>;
}

/** What the privacy rules make of an event. */
export interface Verdict {
  /** What may leave the device: the event as it is, a changed copy, or `undefined`: nothing. */
  readonly event: ActivityEvent | undefined;
  /** The names of the rules that acted. */
  readonly rules: readonly string[];
}

/** What other buckets recorded, put together for {@link Policy}. Opaque to all others. */
export interface Surroundings {
  readonly related: readonly Related[];
}

/**
 * The user's privacy rules. An event is judged together with what other buckets recorded at its time: the title of a
 * browser's window is that of a page which the web bucket says more about.
 */
export interface Policy {
  /** Two policies that may judge an event differently have different fingerprints. */
  readonly fingerprint: string;
  /** The types of bucket whose events must be read beside those of a type. */
  related(type: BucketType): readonly BucketType[];
  /** Tells whether an event of a type cannot be judged by what is sent of it alone. */
  needsMore(type: BucketType): boolean;
  /** Prepares what was read of them. */
  surround(related: readonly Related[]): Surroundings;
  /** Tells whether the other buckets are known up to an event's end, so that it can be judged for good. */
  isReady(event: ActivityEvent, bucket: Bucket, around: Surroundings): boolean;
  /** Judges one event. Pure and total: it never throws, whatever the data is. */
  judge(event: ActivityEvent, bucket: Bucket, around: Surroundings): Verdict;
}

/** One event in the cache, waiting to be delivered. */
export interface OutboxEntry {
  /** Its place in the queue; grows with each entry and is never used again. */
  readonly seq: number;
  /** The event's JSON, made once. Every send is of these bytes. */
  readonly body: Uint8Array<ArrayBuffer>;
}

/** The entries of one request. */
export type Batch = readonly OutboxEntry[];

/** What became of a batch. */
export type SendResult =
  /** The server has it. */
  | { readonly kind: "delivered" }
  /** Nothing wrong with the batch: try the same again later. */
  | {
    readonly kind: "retry";
    readonly reason: string;
    readonly status?: number;
    readonly retryAfterMs?: number;
    /** It took too long: less at once may do. */
    readonly slow?: boolean;
    /** No byte of the batch came to the server. */
    readonly unreached?: boolean;
  }
  /** Nothing wrong with the batch, and no use in trying again before somebody mends something. */
  | {
    readonly kind: "refused";
    readonly reason: string;
    readonly status?: number;
    readonly hint: string;
    /** Or else something on the way refuses this one content, as firewalls do that look into requests. */
    readonly perhapsContent?: boolean;
  }
  /** The request is too large for the server. */
  | { readonly kind: "too-large"; readonly reason: string; readonly status: number }
  /** The server does not accept the batch because of its content; `indices` names the events where it said so. */
  | {
    readonly kind: "rejected";
    readonly reason: string;
    readonly status: number;
    readonly indices: readonly number[];
    /** The server's reason for single events, by index. */
    readonly reasons?: ReadonlyMap<number, string>;
    /** It may as well refuse everything, whatever is in it. */
    readonly perhapsAll?: boolean;
  };

/** What the other side said to a request that it cannot take: whether it would take a good one. */
export interface ProbeResult {
  /**
   * `ready`: it looked at the request as it would at a batch. `refused`: it does not accept the token. `unavailable`:
   * not now. `unreachable`: no answer. `stranger`: it answers, but not as a LifeLog server does.
   */
  readonly kind: "ready" | "refused" | "unavailable" | "unreachable" | "stranger";
  readonly reason: string;
  /** What the connection itself says, for the eye of the person who asked. */
  readonly detail?: string;
  readonly status?: number;
  /** Whether it refuses the same request without a token; known only where it is `ready`. */
  readonly asksForToken?: boolean;
  /** Its clock less this device's, in milliseconds. */
  readonly clockAheadMs?: number;
}

/** Where events go. */
export interface Sink {
  /** Sends one batch once. Never throws but when `signal` is aborted. */
  send(batch: Batch, options?: { signal?: AbortSignal }): Promise<SendResult>;
  /**
   * The other side's clock less this device's, in milliseconds, as its last answer told it; `undefined` where none
   * did.
   */
  readonly clockAheadMs?: () => number | undefined;
  /** Asks whether it would take events, by requests that it cannot take: nothing is stored by them. */
  readonly probe?: (options?: { signal?: AbortSignal }) => Promise<ProbeResult>;
}
