import { crc32 } from "node:zlib";
import type { Bucket } from "../event.ts";
import { cover, coverage, ensureBucket, type Interval } from "./cursors.ts";
import type { Database } from "./database.ts";
import { getMeta, setMeta } from "./meta.ts";
import { outboxDepth } from "./outbox.ts";

/**
 * How far back from a mark everything is collected again: further than late events are looked for, so that what was
 * still to come when the mark was made is not left out.
 */
const MARGIN_US = 8 * 86_400_000_000;

const BUCKETS = "SELECT id, name, type, created FROM bucket ORDER BY id";

/**
 * What must be known to make a lost cache again: how far each bucket had been collected at a moment when all that
 * was collected had been delivered. Kept in a file of its own beside the cache.
 */
export interface Mark {
  /** Where collection begins, in microseconds since 1970. */
  readonly collectFromUs: number;
  readonly madeAtMs: number;
  readonly buckets: readonly (Pick<Bucket, "id" | "type" | "created"> & { readonly covered: Interval[] })[];
}

/** Where the mark of a cache is kept. */
export function markFile(cachePath: string): string {
  return `${cachePath}.mark`;
}

/** Makes a mark, or returns `undefined` while events wait: what they are is known to the cache alone. */
export function takeMark(db: Database, nowMs: number): Mark | undefined {
  return db.transaction(() => {
    const collectFromUs = Number(getMeta(db, "collect_from_us") ?? NaN);
    if (!Number.isFinite(collectFromUs) || outboxDepth(db) > 0) return undefined;
    const rows = db.all<{ id: number; name: string; type: Bucket["type"]; created: string }>(BUCKETS);
    const buckets = rows.map(({ id, name, type, created }) => ({
      id: name,
      type,
      created,
      covered: coverage(db, id).map(({ fromUs, toUs }) => ({ fromUs, toUs })),
    }));
    return { collectFromUs, madeAtMs: nowMs, buckets };
  });
}

/**
 * Puts a mark's knowledge into an empty cache, less the margin before the mark. What is collected again and had been
 * delivered is the same to the byte, and the server stores it once.
 */
export function restoreMark(db: Database, mark: Mark): void {
  setMeta(db, "collect_from_us", String(mark.collectFromUs));
  const endUs = mark.madeAtMs * 1000 - MARGIN_US;
  for (const { covered, ...bucket } of mark.buckets) {
    const { id } = ensureBucket(db, { ...bucket, hostname: "" });
    for (const { fromUs, toUs } of covered) {
      if (fromUs < endUs) cover(db, id, { fromUs, toUs: Math.min(toUs, endUs) });
    }
  }
}

/** From where on everything is collected again by {@link restoreMark}, in microseconds since 1970. */
export function restoredFromUs(mark: Mark): number {
  const endUs = mark.madeAtMs * 1000 - MARGIN_US;
  const ends = mark.buckets.map(({ covered }) =>
    Math.max(mark.collectFromUs, covered.at(-1)?.toUs ?? -Infinity)
  );
  return ends.length === 0 ? mark.collectFromUs : Math.max(mark.collectFromUs, Math.min(endUs, ...ends));
}

/**
 * Writes a mark, whole or not at all.
 * @throws {Error} when it cannot be written
 */
export function writeMark(path: string, mark: Mark): void {
  const text = JSON.stringify(mark);
  const draft = `${path}.new`;
  {
    // Made anew, for what a killed agent left, or somebody else put there, must not be written through.
    removeIfThere(draft);
    using file = Deno.openSync(draft, { createNew: true, write: true, mode: 0o600 });
    const bytes = new TextEncoder().encode(JSON.stringify({ crc: crc32(text), mark }) + "\n");
    for (let at = 0; at < bytes.length;) at += file.writeSync(bytes.subarray(at));
    file.syncDataSync();
  }
  Deno.renameSync(draft, path);
}

function removeIfThere(path: string): void {
  try {
    Deno.removeSync(path);
  } catch (error) {
    if (!(error instanceof Deno.errors.NotFound)) throw error;
  }
}

/** Reads a mark; `undefined` when there is none or it is damaged. */
export function readMark(path: string): Mark | undefined {
  try {
    const { crc, mark } = JSON.parse(Deno.readTextFileSync(path));
    return crc32(JSON.stringify(mark)) === crc ? mark : undefined;
  } catch {
    return undefined;
  }
}

/** Keeps the mark of a cache up to date. */
export interface MarkKeeper {
  /** Notes where collection begins, without waiting for a moment when nothing waits. */
  begin(): void;
  /** Makes the mark anew where it is older than an hour, nothing waits, and something was collected since. */
  keep(): void;
}

/** What {@link createMarkKeeper} may be told. */
export interface MarkKeeperOptions {
  readonly now?: () => number;
  /** A clock that only goes forward, in milliseconds. */
  readonly monotonicMs?: () => number;
}

const KEEP_EVERY_MS = 3_600_000;

/**
 * Makes a keeper. A mark that cannot be written is left as it was: it then stands for an earlier moment, from which
 * more is collected again.
 */
export function createMarkKeeper(db: Database, options: MarkKeeperOptions = {}): MarkKeeper {
  const { now = Date.now, monotonicMs = () => performance.now() } = options;
  const path = markFile(db.path);
  let keptAtMs = -Infinity;
  /** What the mark says of the buckets. */
  let keptBuckets = "";

  function write(mark: Mark): boolean {
    try {
      writeMark(path, mark);
      return true;
    } catch {
      return false;
    }
  }

  return {
    begin() {
      const collectFromUs = Number(getMeta(db, "collect_from_us") ?? NaN);
      const kept = readMark(path);
      if (!Number.isFinite(collectFromUs) || kept?.collectFromUs === collectFromUs) return;
      write({ madeAtMs: now(), buckets: [], ...kept, collectFromUs });
    },
    keep() {
      if (monotonicMs() - keptAtMs < KEEP_EVERY_MS) return;
      const mark = takeMark(db, now());
      if (mark === undefined) return;
      const buckets = JSON.stringify(mark.buckets);
      if (buckets !== keptBuckets && !write(mark)) return;
      keptBuckets = buckets;
      keptAtMs = monotonicMs();
    },
  };
}
