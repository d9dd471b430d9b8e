import * as v from "valibot";
import { readBounded } from "../bounded_body.ts";
import { SourceError } from "../errors.ts";
import { isLoopback } from "../loopback.ts";
import type {
  ActivityEvent,
  Bucket,
  BucketType,
  Page,
  RelatedSource,
  Source,
  SourceDescription,
} from "../event.ts";
import { DAY_US, HOUR_US, MINUTE_US, MS_US, parseTimeUs, SECOND_US, sleep, timeLimit } from "../time.ts";

const MAX_ANSWER_BYTES = 64 * 1024 * 1024;
/** For the smallest window, which cannot be read in parts: there may be a million events of one time. */
const MAX_SMALLEST_BYTES = 384 * 1024 * 1024;
const FIRST_WINDOW_US = 6 * HOUR_US;
const MIN_WINDOW_US = MINUTE_US;
/** aw-server (Python) finds no event that began more than 24 h before a window; ours begin inside, so any will do. */
const MAX_WINDOW_US = 7 * DAY_US;
/**
 * How far before a window it is asked from. 1 ms would do for whole events (both servers cut at the edge), but
 * aw-server (Python) leaves out an event whose end lies before the start that is asked for: one of negative
 * duration just inside the window. Windows that were made small for crowded times keep to their own length.
 */
const LEAD_US = HOUR_US;
const LONG_WINDOW_US = 15 * MINUTE_US;
const MIN_LEAP_US = 4 * MAX_WINDOW_US;
/**
 * How many rows are asked for at a time in a long read: at first, at least and at most. In between it is as many as are
 * answered in the time that a small request takes so many times, but no less and no more than so many milliseconds: a
 * heartbeat that comes meanwhile waits for the answer, or shares the server's one interpreter with it.
 */
const FIRST_ROWS = 200;
const MIN_ROWS = 50;
const MAX_ROWS = 1000;
const ANSWER_TIMES = 2;
const MIN_ANSWER_MS = 4;
const MAX_ANSWER_MS = 50;
/** Which part of that time is aimed at, for answers take now more, now less. */
const AIM = 0.9;
/** How full a window is to be of them: where there are more than were asked for, it is asked in vain. */
const FILL = 0.8;
/** One row in so many may be left to the next page. */
const LEFT_SHARE = 10;
/** How long the server is left to its watchers after it answered: as long so many times, but no less than this. */
const REST_TIMES = 2;
const MIN_REST_MS = 10;
/** How often a page is read anew when its events change between the list and the look at one of them. */
const MAX_REREADS = 5;

const InfoSchema = v.object({ hostname: v.string(), version: v.string() });
const BucketSchema = v.object({
  id: v.string(),
  type: v.string(),
  hostname: v.optional(v.nullable(v.string()), "unknown"),
  created: v.optional(v.nullable(v.string()), ""),
  data: v.optional(v.nullable(v.record(v.string(), v.unknown()))),
  metadata: v.optional(v.nullable(v.object({ start: v.optional(v.nullable(v.string())) }))),
});
const BucketsSchema = v.record(v.string(), v.unknown());
const EventSchema = v.object({
  id: v.number(),
  timestamp: v.pipe(v.string(), v.transform(parseTimeUs), v.number()),
  duration: v.pipe(v.number(), v.finite()),
  data: v.unknown(),
});
const EventsSchema = v.array(EventSchema);

/** A row of a listing: an event as the server has it or, at a window's edge, cut by it. */
type Row = v.InferOutput<typeof EventSchema>;

/** What {@link activityWatchSource} may be told. */
export interface ActivityWatchOptions {
  /** The server's address. Default: `http://127.0.0.1:5600`. */
  readonly url?: URL;
  /** Sent as a bearer token to an aw-server-rust of this device that asks for one, and to no other host. */
  readonly apiKey?: string | undefined;
  /** The device's name as it stands in bucket ids. Default: what the server says. */
  readonly hostname?: string | undefined;
  /** Buckets to read instead of those found by type; `{hostname}` is replaced. */
  readonly bucketIds?: {
    readonly window?: string | undefined;
    readonly afk?: string | undefined;
    readonly web?: string | undefined;
  };
  /** How long to wait for one answer, in milliseconds. Default: 30000. */
  readonly timeoutMs?: number;
  /** How many rows a long read asks for at a time, before it is known how long that takes. Default: 200. */
  readonly rowsAtOnce?: number;
  readonly fetch?: typeof fetch;
  readonly sleep?: typeof sleep;
  /** A clock that only goes forward, in milliseconds. Default: `performance.now`. */
  readonly monotonicMs?: () => number;
  /** Told of buckets that are left out because another device recorded them. */
  readonly onSkipped?: ((bucketId: string) => void) | undefined;
}

/**
 * Reads the REST interface of aw-server (Python) and aw-server-rust.
 *
 * Both cut events at the edges of the window that is asked for, so a page is read by a recipe that gives whole
 * events: ask from before the window, drop the rows that start outside of it, and read again by its id
 * every row that reaches the window's end. A long read asks for the newest so many rows before a window's end instead,
 * and knows by one from before the window that it has all of it: aw-server (Python) looks at all rows of the day before
 * a start that it is given. Requests are small and never side by side, because aw-server blocks its watchers while it
 * answers: how many rows are asked for goes by how long the answers take, and each is followed by a longer rest.
 */
export function activityWatchSource(options: ActivityWatchOptions = {}): Source & RelatedSource {
  const {
    url = new URL("http://127.0.0.1:5600"),
    apiKey,
    hostname,
    bucketIds = {},
    timeoutMs = 30_000,
    rowsAtOnce: firstRows = FIRST_ROWS,
    fetch: request = fetch,
    sleep: pause = sleep,
    monotonicMs = () => performance.now(),
    onSkipped,
  } = options;
  /** How long the first window of a read is: shorter after one that the server could not answer in time. */
  let firstWindowUs = FIRST_WINDOW_US;
  let rowsAtOnce = firstRows;
  /** How long the quickest answer took, and all of them since the server was last given a rest. */
  let quickestMs = Infinity;
  let busyMs = 0;

  /** The end of the request under way: the loops and the dashboard ask one after another. */
  let turn: Promise<unknown> = Promise.resolve();

  function get(
    path: string,
    signal: AbortSignal | undefined,
    maxBytes = MAX_ANSWER_BYTES,
  ): Promise<unknown> {
    const answer = turn.then(async () => {
      signal?.throwIfAborted();
      const beganMs = monotonicMs();
      try {
        return await ask(path, signal, maxBytes);
      } finally {
        const tookMs = monotonicMs() - beganMs;
        quickestMs = Math.min(quickestMs, tookMs);
        busyMs += tookMs;
      }
    });
    turn = answer.catch(() => {});
    return answer;
  }

  async function ask(path: string, signal: AbortSignal | undefined, maxBytes: number): Promise<unknown> {
    using limit = timeLimit(timeoutMs, signal);
    let status: number | undefined;
    let text: string;
    try {
      const response = await request(new URL(`/api/0${path}`, url), {
        redirect: "manual",
        headers: apiKey === undefined || !isLoopback(url) ? {} : { authorization: `Bearer ${apiKey}` },
        signal: limit.signal,
      });
      status = response.status;
      if (status !== 200) {
        await response.body?.cancel();
        throw new SourceError(`ActivityWatch answered ${status} to ${kindOf(path)}`, { status });
      }
      text = await readBounded(response, maxBytes);
    } catch (error) {
      signal?.throwIfAborted();
      if (error instanceof SourceError) throw error;
      if (error instanceof RangeError) throw new TooMuchError(error.message, { cause: error });
      const cannot = `Cannot read ActivityWatch at ${url.origin}`;
      if (limit.isOver()) {
        throw new TooSlowError(`${cannot}: no answer within ${timeoutMs / 1000} s`, { cause: error });
      }
      throw new SourceError(`${cannot}: no connection`, { cause: error });
    }
    try {
      return JSON.parse(text);
    } catch (error) {
      // The parser's own message quotes the text, which may hold titles: it is not passed on.
      throw new SourceError(`ActivityWatch answered ${kindOf(path)} with what is no JSON`, {
        cause: error instanceof Error ? error.name : error,
      });
    }
  }

  async function read<S extends v.GenericSchema>(
    path: string,
    schema: S,
    signal: AbortSignal | undefined,
    maxBytes = MAX_ANSWER_BYTES,
  ): Promise<v.InferOutput<S>> {
    const result = v.safeParse(schema, await get(path, signal, maxBytes));
    if (result.success) return result.output;
    const issue = result.issues[0];
    const place = issue.path?.map((item) => String(item.key)).join(".") ?? "the answer";
    throw new SourceError(
      `ActivityWatch answered ${
        kindOf(path)
      } with what cannot be understood: ${place} is no ${issue.expected}`,
    );
  }

  /** All buckets of the device, also those that are not collected. */
  let beside: readonly Bucket[] = [];

  async function buckets({ signal }: { signal?: AbortSignal } = {}): Promise<Bucket[]> {
    const info = await read("/info", InfoSchema, signal);
    const device = hostname ?? info.hostname;
    const listed = Object.entries(await read("/buckets/", BucketsSchema, signal));
    const known = listed.flatMap(([id, raw]) => {
      const result = v.safeParse(
        BucketSchema,
        typeof raw === "object" && raw !== null ? { id, ...raw } : raw,
      );
      return result.success ? [result.output] : [];
    });
    const named = new Map<string, BucketType>();
    for (const [type, id] of namedBuckets(bucketIds, device)) named.set(id, type);
    const namedTypes = new Set(named.values());
    const chosen: Bucket[] = [];
    const ofDevice: Bucket[] = [];
    for (const bucket of known) {
      const asked = named.get(bucket.id);
      const passedOver = asked === undefined && isBucketType(bucket.type) && namedTypes.has(bucket.type);
      if (asked === undefined) {
        if (!isBucketType(bucket.type)) continue;
        const copied = bucket.id.includes("-synced-from-") || bucket.data?.["$aw.sync.origin"] !== undefined;
        if (copied || (bucket.hostname !== device && bucket.hostname !== "unknown")) {
          if (!passedOver) onSkipped?.(bucket.id);
          continue;
        }
      }
      const firstEventUs = bucket.metadata?.start ? parseTimeUs(bucket.metadata.start) : undefined;
      const found = {
        id: bucket.id,
        type: asked ?? bucket.type as BucketType,
        hostname: bucket.hostname ?? "unknown",
        created: bucket.created ?? "",
        ...(firstEventUs === undefined ? {} : { firstEventUs }),
      };
      ofDevice.push(found);
      if (!passedOver) chosen.push(found);
    }
    beside = ofDevice;
    return chosen;
  }

  /** Reads one row again, whole. `undefined` when it has gone or is another event by now. */
  async function whole(base: string, row: Row, signal: AbortSignal | undefined): Promise<Row | undefined> {
    try {
      const again = await read(`${base}/${row.id}`, EventSchema, signal);
      return again.timestamp === row.timestamp ? again : undefined;
    } catch (error) {
      // Gone: 404 from aw-server, 500 from aw-server-rust.
      if (error instanceof SourceError && (error.status === 404 || error.status === 500)) return undefined;
      throw error;
    }
  }

  /** Reads a window; `undefined` where it holds more than `limit` rows. */
  async function page(
    bucket: Bucket,
    fromUs: number,
    toUs: number,
    { limit, leadUs }: { limit: number; leadUs?: never } | { limit?: never; leadUs: number },
    signal: AbortSignal | undefined,
  ): Promise<Page | undefined> {
    const base = `/buckets/${encodeURIComponent(bucket.id)}/events`;
    const start = limit === undefined ? `start=${toIsoMs(fromUs - leadUs)}` : `limit=${limit}`;
    const query = `${start}&end=${toIsoMs(toUs + MS_US - 1)}`;
    reread: for (let attempt = 0; attempt < MAX_REREADS; attempt++) {
      const maxBytes = toUs - fromUs <= MIN_WINDOW_US ? MAX_SMALLEST_BYTES : MAX_ANSWER_BYTES;
      const beganMs = monotonicMs();
      const rows = await read(`${base}?${query}`, EventsSchema, signal, maxBytes);
      if (limit !== undefined) {
        pace(monotonicMs() - beganMs);
        // They come newest first: where one is from before the window, none of it is left out.
        if (rows.length === limit && !rows.some(({ timestamp }) => timestamp < fromUs)) return undefined;
      }
      // 1 ms of slack: the servers round the edge, and a float cannot hold every microsecond.
      const isCut = ({ timestamp, duration }: Row) => timestamp + duration * SECOND_US >= toUs - MS_US;
      const inside = rows.filter(({ timestamp }) => timestamp >= fromUs && timestamp < toUs);
      const endUs = limit === undefined ? toUs : endBefore(inside.filter(isCut), inside, fromUs) ?? toUs;
      const events: ActivityEvent[] = [];
      for (const row of inside) {
        if (row.timestamp >= endUs) continue;
        let { duration, data } = row;
        if (isCut(row)) {
          const again = await whole(base, row, signal);
          if (again === undefined) continue reread;
          ({ duration, data } = again);
        }
        events.push({ startUs: row.timestamp, durationSeconds: duration, data });
      }
      events.sort((a, b) => a.startUs - b.startUs);
      return { fromUs, toUs: endUs, events };
    }
    throw new SourceError(`Events of bucket "${bucket.id}" change faster than they can be read`);
  }

  /** Sets how many rows are asked for next, by how long the answer took. */
  function pace(tookMs: number): void {
    const aimMs = Math.min(MAX_ANSWER_MS, Math.max(MIN_ANSWER_MS, ANSWER_TIMES * quickestMs));
    const factor = Math.min(1.1, Math.max(0.5, AIM * aimMs / tookMs));
    const least = Math.min(MIN_ROWS, firstRows);
    rowsAtOnce = Math.min(MAX_ROWS, Math.max(least, Math.ceil(factor * rowsAtOnce)));
  }

  /** Leaves the server to its watchers, by how much it was asked for since the last time. */
  async function rest(signal: AbortSignal | undefined): Promise<void> {
    const restMs = Math.max(MIN_REST_MS, REST_TIMES * busyMs);
    busyMs = 0;
    await pause(restMs, { signal });
  }

  /** Tells whether a span holds no event, where the server can say so cheaply (aw-server-rust counts all). */
  async function isEmpty(bucket: Bucket, fromUs: number, toUs: number, signal: AbortSignal | undefined) {
    const path = `/buckets/${encodeURIComponent(bucket.id)}/events/count`;
    const count = await get(
      `${path}?start=${toIsoMs(fromUs - LEAD_US)}&end=${toIsoMs(toUs + MS_US)}`,
      signal,
    );
    return count === 0;
  }

  async function* pages(
    bucket: Bucket,
    fromUs: number,
    toUs: number,
    { signal }: { signal?: AbortSignal } = {},
  ): AsyncIterable<Page> {
    let windowUs = firstWindowUs;
    /** How far the next look ahead reaches: years without an event would be read in vain week by week. */
    let leapUs = MIN_LEAP_US;
    let at = fromUs;
    busyMs = 0;
    while (at < toUs) {
      signal?.throwIfAborted();
      // Window edges stand on whole milliseconds, the finest that both servers go by.
      const end = Math.min(toUs, Math.floor((at + windowUs) / MS_US) * MS_US);
      // What is short is read from its start: of a window that is nearly empty most rows would be from before it.
      const isShort = end >= toUs || end - at <= MIN_WINDOW_US;
      let next: Page | undefined;
      try {
        const farUs = Math.min(toUs, at + leapUs);
        if (windowUs === MAX_WINDOW_US && farUs > end && await isEmpty(bucket, at, farUs, signal)) {
          next = { fromUs: at, toUs: farUs, events: [] };
          leapUs *= 2;
        } else {
          const leadUs = windowUs < LONG_WINDOW_US ? windowUs : LEAD_US;
          next = await page(bucket, at, end, isShort ? { leadUs } : { limit: rowsAtOnce }, signal);
          leapUs = MIN_LEAP_US;
        }
      } catch (error) {
        if (error instanceof TooSlowError) firstWindowUs = Math.max(MIN_WINDOW_US, (end - at) / 4);
        const small = end - at <= MIN_WINDOW_US;
        if (small || !(error instanceof TooMuchError)) throw error;
        windowUs = Math.max(MIN_WINDOW_US, (end - at) / 4);
        continue;
      }
      if (next === undefined) {
        windowUs = Math.max(MIN_WINDOW_US, (end - at) / 2);
      } else {
        firstWindowUs = Math.min(FIRST_WINDOW_US, firstWindowUs * 2);
        yield next;
        at = next.toUs;
        const fits = FILL * rowsAtOnce / Math.max(1, next.events.length);
        windowUs = Math.max(
          MIN_WINDOW_US,
          Math.min(MAX_WINDOW_US, windowUs * Math.min(2, Math.max(0.5, fits))),
        );
      }
      if (at < toUs) await rest(signal);
    }
  }

  async function newestStartUs(
    bucket: Bucket,
    { signal }: { signal?: AbortSignal } = {},
  ): Promise<number | undefined> {
    const rows = await read(`/buckets/${encodeURIComponent(bucket.id)}/events?limit=1`, EventsSchema, signal);
    return rows[0]?.timestamp;
  }

  async function describe({ signal }: { signal?: AbortSignal } = {}): Promise<SourceDescription> {
    const { version, hostname } = await read("/info", InfoSchema, signal);
    const rust = version.includes("(rust)");
    return {
      name: rust ? "aw-server-rust" : "aw-server",
      version: version.replace(/\s*\(rust\)/, ""),
      hostname,
    };
  }

  /** Reads a day at a time: rows that are cut at its edges still tell what was going on. */
  async function during(
    bucket: Bucket,
    fromUs: number,
    toUs: number,
    { signal }: { signal?: AbortSignal } = {},
  ): Promise<ActivityEvent[]> {
    const events: ActivityEvent[] = [];
    let windowUs = DAY_US;
    for (let at = fromUs; at <= toUs;) {
      signal?.throwIfAborted();
      const end = Math.min(toUs + MS_US, at + windowUs);
      const path = `/buckets/${encodeURIComponent(bucket.id)}/events?start=${toIsoMs(at)}&end=${
        toIsoMs(end + MS_US - 1)
      }`;
      let rows: Row[];
      try {
        rows = await read(path, EventsSchema, signal);
      } catch (error) {
        if (!(error instanceof TooMuchError) || end - at <= MIN_WINDOW_US) throw error;
        windowUs = Math.max(MIN_WINDOW_US, windowUs / 4);
        continue;
      }
      for (const { timestamp, duration, data } of rows) {
        events.push({ startUs: timestamp, durationSeconds: duration, data });
      }
      at = end;
      if (at <= toUs) await rest(signal);
    }
    return events;
  }

  return { buckets, pages, newestStartUs, during, beside: () => beside, describe };
}

/** The answer is larger than the agent takes: a smaller window may do. */
class TooMuchError extends SourceError {}

/** There was no answer in time. It may be too much for a slow machine: the next read begins with a smaller window. */
class TooSlowError extends SourceError {}

/** Where a page may end before the rows that its window cut, so that none has to be read again: few are left to the next. */
function endBefore(cut: readonly Row[], rows: readonly Row[], fromUs: number): number | undefined {
  if (cut.length === 0) return undefined;
  const firstUs = cut.reduce((first, { timestamp }) => Math.min(first, timestamp), Infinity);
  const endUs = Math.floor(firstUs / MS_US) * MS_US;
  const left = rows.filter(({ timestamp }) => timestamp >= endUs).length;
  return endUs > fromUs && left * LEFT_SHARE <= rows.length ? endUs : undefined;
}

function isBucketType(type: string): type is BucketType {
  return type === "currentwindow" || type === "afkstatus" || type === "web.tab.current";
}

function namedBuckets(
  ids: NonNullable<ActivityWatchOptions["bucketIds"]>,
  hostname: string,
): [BucketType, string][] {
  const types = { window: "currentwindow", afk: "afkstatus", web: "web.tab.current" } as const;
  return (["window", "afk", "web"] as const).flatMap((name) => {
    const id = ids[name]?.replaceAll("{hostname}", hostname);
    return id === undefined ? [] : [[types[name], id] as [BucketType, string]];
  });
}

/** `Z` and three digits: a raw `+` in a query is read as a space by both servers. */
function toIsoMs(timeUs: number): string {
  return new Date(Math.floor(timeUs / MS_US)).toISOString();
}

/** What was asked for, without the names in it. */
function kindOf(path: string): string {
  if (path.includes("/events/count")) return "a count of events";
  if (path.includes("/events")) return "a read of events";
  return `"${path}"`;
}
