/**
 * An ActivityWatch server in this process, in both of its dialects: aw-server (Python, peewee storage) and
 * aw-server-rust. It cuts, finds, joins and forgets events as those do; what is odd here is odd there.
 */

import type { ExportedBucket } from "../interop/aw_server.ts";

/** Which of the two servers it behaves as. */
export type Dialect = "python" | "rust";

/** A heartbeat or an event as a watcher gives it. */
export interface GivenEvent {
  /** Start in nanoseconds since 1970. aw-server (Python) keeps its milliseconds, aw-server-rust all of it. */
  readonly startNs: bigint;
  readonly durationSeconds: number;
  readonly data: unknown;
}

/** A stored event with its id, which is no identity. */
export interface StoredRow {
  readonly id: number;
  startNs: bigint;
  endNs: bigint;
  data: unknown;
}

interface StoredBucket {
  readonly id: string;
  readonly type: string;
  readonly hostname: string;
  readonly created: string;
  readonly data: Record<string, unknown>;
  readonly rows: StoredRow[];
  /** The event that heartbeats are joined to; the server keeps it in memory. */
  last?: { id: number; startNs: bigint; endNs: bigint; data: unknown } | undefined;
}

/** What {@link FakeActivityWatch} may be told. */
export interface FakeActivityWatchOptions {
  readonly dialect?: Dialect;
  /** The device's name. Default: `laptop`. */
  readonly hostname?: string;
  /** Told of each event as it stands after it was stored or changed. */
  readonly onStored?: (bucketId: string, row: Readonly<StoredRow>) => void;
}

const EVENTS = /^\/api\/0\/buckets\/([^/]+)\/(events(?:\/(\d+|count))?|heartbeat)$/;
const MS_NS = 1_000_000n;
const DAY_MS = 86_400_000;

/** The server's memory and its answers. {@link answer} takes a request and does what the real one would. */
export class FakeActivityWatch {
  readonly dialect: Dialect;
  readonly hostname: string;
  readonly #onStored: FakeActivityWatchOptions["onStored"];
  readonly #buckets = new Map<string, StoredBucket>();
  #nextId = 1;

  constructor(options: FakeActivityWatchOptions = {}) {
    this.dialect = options.dialect ?? "python";
    this.hostname = options.hostname ?? "laptop";
    this.#onStored = options.onStored;
  }

  /** Makes a bucket; one that exists stays as it is. */
  addBucket(
    id: string,
    type: string,
    createdMs: number,
    { hostname = this.hostname, data = {} }: { hostname?: string; data?: Record<string, unknown> } = {},
  ): void {
    if (this.#buckets.has(id)) return;
    const created = this.#iso(BigInt(Math.round(createdMs)) * MS_NS);
    this.#buckets.set(id, { id, type, hostname, created, data, rows: [] });
  }

  deleteBucket(id: string): void {
    this.#buckets.delete(id);
    this.#reuseIds();
  }

  /** Forgets what a running server has in memory only. */
  restart(): void {
    for (const bucket of this.#buckets.values()) bucket.last = undefined;
  }

  /** Stores events as `POST …/events` does. */
  insert(bucketId: string, events: readonly GivenEvent[]): void {
    const bucket = this.#bucket(bucketId);
    for (const event of events) this.#add(bucket, event);
  }

  /** Joins a heartbeat to the last event, or stores it as a new one. */
  heartbeat(bucketId: string, beat: GivenEvent, pulsetimeSeconds: number): StoredRow {
    const bucket = this.#bucket(bucketId);
    const { startNs, endNs } = this.#span(beat);
    let last = bucket.last;
    if (last === undefined) {
      const newest = this.#newest(bucket);
      if (newest !== undefined) last = { ...newest };
    }
    const pulseNs = BigInt(Math.round(pulsetimeSeconds * 1e9));
    const joins = last !== undefined && sameData(last.data, beat.data) && last.endNs >= last.startNs &&
      startNs >= last.startNs && startNs <= last.endNs + pulseNs;
    if (!joins) {
      const row = this.#add(bucket, beat);
      bucket.last = { ...row };
      return row;
    }
    const joined = { ...last!, endNs: endNs > last!.endNs ? endNs : last!.endNs };
    bucket.last = joined;
    // aw-server overwrites whatever row is the newest by its time; aw-server-rust the row that it joined to.
    const row = this.dialect === "python"
      ? this.#newest(bucket)
      : bucket.rows.find(({ id }) => id === joined.id);
    if (row === undefined) {
      bucket.last = undefined;
      throw new Error("There is no row to replace");
    }
    Object.assign(row, { startNs: joined.startNs, endNs: joined.endNs, data: joined.data });
    this.#onStored?.(bucket.id, row);
    return row;
  }

  /** Deletes an event as the web UI does. */
  deleteEvent(bucketId: string, id: number): void {
    const { rows } = this.#bucket(bucketId);
    const at = rows.findIndex((row) => row.id === id);
    if (at !== -1) rows.splice(at, 1);
    this.#reuseIds();
  }

  /** The rows of a bucket in order of their start. */
  rows(bucketId: string): StoredRow[] {
    return [...this.#buckets.get(bucketId)?.rows ?? []].sort((a, b) => Number(a.startNs - b.startNs));
  }

  /** All that is stored, as `/export` tells it: the truth. It shares no code with the answers that are cut. */
  export(): ExportedBucket[] {
    return [...this.#buckets.values()].map(({ id, type, hostname, created, rows }) => ({
      id,
      type,
      hostname,
      created,
      client: "fake",
      events: rows.map(({ startNs, endNs, data }) => ({
        timestamp: this.#iso(startNs),
        duration: this.#seconds(endNs - startNs),
        data,
      })),
    }));
  }

  /** Answers a request to the REST interface. */
  async answer(request: Request): Promise<Response> {
    const { pathname, searchParams } = new URL(request.url);
    if (pathname === "/api/0/info") {
      const version = this.dialect === "rust" ? "v0.13.2 (rust)" : "v0.13.2";
      return Response.json({ hostname: this.hostname, version, testing: false, device_id: "fake" });
    }
    if (pathname === "/api/0/buckets/") {
      return Response.json(
        Object.fromEntries([...this.#buckets].map(([id, bucket]) => [id, this.#describe(bucket)])),
      );
    }
    const [, name = "", what, item] = EVENTS.exec(pathname) ?? [];
    const bucket = this.#buckets.get(decodeURIComponent(name));
    if (bucket === undefined) return Response.json({ message: "There is no such bucket" }, { status: 404 });
    if (what === "heartbeat") {
      const { timestamp, duration, data } = await request.json();
      const beat = { startNs: parseNs(timestamp), durationSeconds: duration, data };
      return Response.json(
        this.#json(this.heartbeat(bucket.id, beat, Number(searchParams.get("pulsetime")))),
      );
    }
    const start = searchParams.get("start");
    const end = searchParams.get("end");
    if (item === "count") {
      // aw-server-rust counts all, whatever it is asked.
      const counted = this.dialect === "rust" ? bucket.rows : this.#find(bucket, start, end, 0n);
      return Response.json(counted.length);
    }
    if (item !== undefined) {
      const row = bucket.rows.find(({ id }) => id === Number(item));
      if (row !== undefined) return Response.json(this.#json(row));
      return this.dialect === "rust"
        ? Response.json({ message: "NoSuchEvent" }, { status: 500 })
        : Response.json(null, { status: 404 });
    }
    const limit = Number(searchParams.get("limit") ?? Infinity);
    const rows = this.#find(bucket, start, end, MS_NS).slice(0, limit);
    return Response.json(rows.map((row) => this.#json(this.#cut(row, start, end))));
  }

  /** The rows that touch a window, newest first. `roundUpNs` is what aw-server (Python) adds to the window's end. */
  #find(bucket: StoredBucket, start: string | null, end: string | null, roundUpNs: bigint): StoredRow[] {
    const rows = [...bucket.rows].sort((a, b) => Number(b.startNs - a.startNs) || a.id - b.id);
    if (this.dialect === "rust") {
      const fromNs = start === null ? 0n : parseNs(start);
      const toNs = end === null ? 1n << 62n : parseNs(end);
      if (fromNs > toNs) return [];
      return rows.filter(({ startNs, endNs }) => endNs >= fromNs && startNs <= toNs);
    }
    return rows.filter(({ startNs, endNs }) => {
      if (start !== null) {
        const fromMs = Number(parseNs(start) / MS_NS);
        // "We'll assume events aren't >24h"
        if (fromMs - DAY_MS > Number(startNs / MS_NS)) return false;
        if (pythonTime(fromMs) > sqliteEnd(Number(startNs / MS_NS), this.#seconds(endNs - startNs))) {
          return false;
        }
      }
      return end === null || startNs <= floorMs(parseNs(end)) + roundUpNs;
    });
  }

  /** Cuts a row at the edges of the window. */
  #cut(row: StoredRow, start: string | null, end: string | null): StoredRow {
    const cut = { ...row };
    const python = this.dialect === "python";
    const fromNs = start === null ? undefined : python ? floorMs(parseNs(start)) : parseNs(start);
    const toNs = end === null ? undefined : python ? floorMs(parseNs(end)) + MS_NS : parseNs(end);
    if (fromNs !== undefined && cut.startNs < fromNs) cut.startNs = fromNs;
    if (toNs !== undefined && cut.endNs > toNs) cut.endNs = toNs;
    return cut;
  }

  #add(bucket: StoredBucket, event: GivenEvent): StoredRow {
    const row = { id: this.#nextId++, ...this.#span(event), data: structuredClone(event.data) };
    bucket.rows.push(row);
    this.#onStored?.(bucket.id, row);
    return row;
  }

  /** Start and end as the server is able to store them. */
  #span({ startNs, durationSeconds }: GivenEvent): { startNs: bigint; endNs: bigint } {
    if (this.dialect === "rust") {
      return { startNs, endNs: startNs + BigInt(Math.round(durationSeconds * 1e9)) };
    }
    const atMs = floorMs(startNs);
    return { startNs: atMs, endNs: atMs + BigInt(Math.round(durationSeconds * 1e6)) * 1000n };
  }

  #seconds(ns: bigint): number {
    return this.dialect === "rust" ? Number(ns) / 1e9 : Number(ns / 1000n) / 1e6;
  }

  /** Python writes no or six digits and an offset, Rust no, three, six or nine and `Z`. */
  #iso(ns: bigint): string {
    const seconds = new Date(Number(ns / 1_000_000_000n) * 1000).toISOString().slice(0, 19);
    const fraction = ns % 1_000_000_000n;
    if (this.dialect === "python") {
      return `${seconds}${fraction === 0n ? "" : `.${String(fraction / 1000n).padStart(6, "0")}`}+00:00`;
    }
    const nine = String(fraction).padStart(9, "0");
    const digits = fraction === 0n ? 0 : nine.endsWith("000000") ? 3 : nine.endsWith("000") ? 6 : 9;
    return `${seconds}${digits === 0 ? "" : `.${nine.slice(0, digits)}`}Z`;
  }

  #json({ id, startNs, endNs, data }: StoredRow) {
    return { id, timestamp: this.#iso(startNs), duration: this.#seconds(endNs - startNs), data };
  }

  #describe({ id, type, hostname, created, data, rows }: StoredBucket) {
    const common = { id, type, hostname, client: "fake", created, data };
    if (this.dialect === "python") return { ...common, name: null };
    const startNs = rows.reduce<bigint | undefined>(
      (a, { startNs }) => a === undefined || startNs < a ? startNs : a,
      undefined,
    );
    const endNs = rows.reduce<bigint | undefined>(
      (a, { endNs }) => a === undefined || endNs > a ? endNs : a,
      undefined,
    );
    const iso = (ns: bigint | undefined) => ns === undefined ? null : this.#iso(ns);
    return { ...common, metadata: { start: iso(startNs), end: iso(endNs) }, last_updated: null };
  }

  #newest({ rows }: StoredBucket): StoredRow | undefined {
    return rows.reduce<StoredRow | undefined>(
      (a, b) => a === undefined || b.startNs > a.startNs ? b : a,
      undefined,
    );
  }

  #bucket(id: string): StoredBucket {
    const bucket = this.#buckets.get(id);
    if (bucket === undefined) throw new RangeError(`There is no bucket ${id}`);
    return bucket;
  }

  /** SQLite without AUTOINCREMENT gives the number after the highest that is left, in whatever bucket. */
  #reuseIds(): void {
    if (this.dialect === "rust") return;
    const ids = [...this.#buckets.values()].flatMap(({ rows }) => rows.map(({ id }) => id));
    this.#nextId = Math.max(0, ...ids) + 1;
  }
}

/** Reads ISO 8601 with up to nine digits. */
export function parseNs(text: string): bigint {
  const match = /^(.{19})(?:\.(\d{1,9}))?(Z|[+-]\d{2}:\d{2})$/.exec(text);
  if (match === null) throw new RangeError(`Cannot read a time: got ${text}`);
  return BigInt(Date.parse(match[1]! + match[3]!)) * MS_NS + BigInt((match[2] ?? "").padEnd(9, "0"));
}

function floorMs(ns: bigint): bigint {
  return ns / MS_NS * MS_NS;
}

/** `str()` of a Python datetime, as peewee puts it into a query. */
function pythonTime(ms: number): string {
  const text = new Date(ms).toISOString().replace("T", " ");
  return text.endsWith(".000Z") ? text.replace(".000Z", "+00:00") : text.replace("Z", "000+00:00");
}

/** The end of an event as aw-server has SQLite compute it: through a Julian day, to the millisecond, as text. */
function sqliteEnd(startMs: number, durationSeconds: number): string {
  const julianDay = (startMs + 210_866_760_000_000) / 86_400_000;
  const seconds = (julianDay - 2_440_587.5) * 86_400 + durationSeconds;
  const ms = Math.floor(seconds * 1000 + 210_866_760_000_000 + 0.5) - 210_866_760_000_000;
  return new Date(ms).toISOString().replace("T", " ").replace("Z", "+00:00");
}

function sameData(a: unknown, b: unknown): boolean {
  return JSON.stringify(sorted(a)) === JSON.stringify(sorted(b));
}

function sorted(value: unknown): unknown {
  if (typeof value !== "object" || value === null) return value;
  if (Array.isArray(value)) return value.map(sorted);
  return Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1)).map((
    [key, inner],
  ) => [key, sorted(inner)]);
}
