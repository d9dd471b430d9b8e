import { statfsSync } from "node:fs";
import { basename, dirname, join } from "node:path";
import { UserError } from "../errors.ts";
import { isLocked } from "../lock.ts";
import { coverage } from "../store/cursors.ts";
import { isDaemonBucket } from "../store/daemon_cache.ts";
import { type Database, openDatabaseReadOnly } from "../store/database.ts";
import { getMeta } from "../store/meta.ts";
import type { CacheLoss } from "../store/recover.ts";
import { droppedEvents } from "../store/room.ts";
import { deadLetterCount, oldestWaiting } from "../store/outbox.ts";
import {
  type AgentNote,
  bucketStates,
  type Health,
  NOTE_EVERY_MS,
  readAgent,
  readHealth,
} from "../store/health.ts";

/** How one bucket stands. Times are in milliseconds since 1970. */
export interface BucketReport {
  readonly id: string;
  readonly type: string;
  /** The newest event that ActivityWatch had at the last read, final or not. */
  readonly newestStartMs?: number | undefined;
  readonly newestEndMs?: number | undefined;
  /** When a read last reached its end: all that was final then is in the cache or at the server. */
  readonly readAtMs?: number | undefined;
  /** How long ago that is. */
  readonly lagMs?: number | undefined;
  /** From where to where it was collected. */
  readonly coveredFromMs?: number | undefined;
  readonly coveredToMs?: number | undefined;
  /** Whether nothing before `coveredToMs` is left to read. False while a backfill is under way. */
  readonly complete: boolean;
  /** Events in the outbox and the bytes of them. */
  readonly waiting: number;
  readonly waitingBytes: number;
  /** Delivered events that ActivityWatch changed or deleted afterwards. */
  readonly revisions: number;
}

/** How the agent stands: facts alone, no judgement of them (see `verdict.ts`) and no content of any event. */
export interface Report {
  readonly atMs: number;
  /** An agent holds the lock. */
  readonly running: boolean;
  /**
   * By how much the agent may be ahead of the times that are told, in milliseconds: it writes them now and then only,
   * while it reads and nothing is new. 0 where it is the agent that tells them, or none runs.
   */
  readonly aheadMs: number;
  /** The agent that works on the cache, or that did so last. */
  readonly agent?: AgentNote | undefined;
  readonly cache: {
    readonly path: string;
    /** There is none before the first start. */
    readonly exists: boolean;
    /** Why it cannot be looked into. */
    readonly problem?: { readonly message: string; readonly hint?: string | undefined } | undefined;
    /** The bytes of its files on the disk. */
    readonly bytes: number;
    /** What is free on its disk; absent where nobody knows. */
    readonly freeBytes?: number | undefined;
    /** Damaged caches that were put aside. */
    readonly quarantined: readonly string[];
    /** What happened when it was last found damaged or gone. */
    readonly loss?: CacheLoss | undefined;
  };
  readonly collecting: Health & {
    /** Where collection begins: the first run, or what `--since` said. */
    readonly fromMs?: number | undefined;
  };
  readonly delivering: Health;
  readonly buckets: readonly BucketReport[];
  readonly outbox: {
    readonly events: number;
    readonly bytes: number;
    /** When the oldest that waits was put there. */
    readonly oldestMs?: number | undefined;
  };
  readonly deadLetters: number;
  readonly revisions: number;
  /** Events that were dropped for want of room in the cache since it was made. */
  readonly dropped: number;
}

/** What {@link makeReport} needs. */
export interface ReportOptions {
  readonly cachePath: string;
  /** The cache, where it is open already; otherwise it is opened to be looked at, and closed. */
  readonly db?: Database;
  /** Whether an agent runs, where that is known already. Default: whether one holds the lock. */
  readonly running?: boolean;
  readonly now?: () => number;
}

/**
 * Gathers how the agent stands, from its lock and its cache, whether it runs or not. It takes milliseconds whatever
 * the size of the cache, waits for nothing, and changes nothing. Never throws: what cannot be read is said in the
 * report.
 */
export function makeReport(options: ReportOptions): Report {
  const { cachePath, now = Date.now } = options;
  const cache = {
    path: cachePath,
    exists: exists(cachePath),
    bytes: ["", "-wal"].reduce((sum, suffix) => sum + sizeOf(cachePath + suffix), 0),
    freeBytes: freeBytesOf(dirname(cachePath)),
    quarantined: quarantined(cachePath),
  };
  const empty = {
    atMs: now(),
    running: options.running ?? false,
    aheadMs: 0,
    cache,
    collecting: {},
    delivering: {},
    buckets: [],
    outbox: { events: 0, bytes: 0 },
    deadLetters: 0,
    revisions: 0,
    dropped: 0,
  };
  if (!cache.exists) return empty;
  try {
    const running = options.running ?? isLocked(`${cachePath}.lock`);
    const look = (db: Database): Report => ({
      ...empty,
      running,
      aheadMs: running && db !== options.db ? NOTE_EVERY_MS : 0,
      cache: { ...cache, loss: readLoss(db) },
      ...read(db, empty.atMs),
    });
    if (options.db !== undefined) return look(options.db);
    try {
      using db = openDatabaseReadOnly(cachePath);
      return look(db);
    } catch (error) {
      return { ...empty, running, cache: { ...cache, problem: problemOf(error) } };
    }
  } catch (error) {
    return { ...empty, cache: { ...cache, problem: problemOf(error) } };
  }
}

function read(db: Database, atMs: number) {
  const fromUs = Number(getMeta(db, "collect_from_us") ?? NaN);
  // What was taken over from the Python daemon is no bucket of ActivityWatch: of interest while it waits.
  const states = bucketStates(db).filter(({ name, waiting }) => !isDaemonBucket(name) || waiting > 0);
  const buckets = states.map((state): BucketReport => {
    const known = coverage(db, state.id);
    const { readAtMs } = state;
    return {
      id: state.name,
      type: state.type,
      newestStartMs: toMs(state.newestStartUs),
      newestEndMs: toMs(state.newestEndUs),
      readAtMs: readAtMs === 0 ? undefined : readAtMs,
      lagMs: readAtMs === 0 ? undefined : Math.max(0, atMs - readAtMs),
      coveredFromMs: toMs(known[0]?.fromUs),
      coveredToMs: toMs(known.at(-1)?.toUs),
      complete: isDaemonBucket(state.name) || (state.filledFromUs !== null && state.filledFromUs <= fromUs),
      waiting: state.waiting,
      waitingBytes: state.waitingBytes,
      revisions: state.revisions,
    };
  });
  const sum = (pick: (bucket: BucketReport) => number) => buckets.reduce((sum, b) => sum + pick(b), 0);
  return {
    agent: readAgent(db),
    collecting: { ...readHealth(db, "collection"), fromMs: Number.isNaN(fromUs) ? undefined : toMs(fromUs) },
    delivering: readHealth(db, "delivery"),
    buckets,
    outbox: {
      events: sum(({ waiting }) => waiting),
      bytes: sum(({ waitingBytes }) => waitingBytes),
      oldestMs: oldestWaiting(db)?.cachedAtMs,
    },
    deadLetters: deadLetterCount(db),
    revisions: sum(({ revisions }) => revisions),
    dropped: droppedEvents(db),
  };
}

function readLoss(db: Database): CacheLoss | undefined {
  const text = getMeta(db, "cache_loss");
  return text === undefined ? undefined : JSON.parse(text);
}

function toMs(timeUs: number | null | undefined): number | undefined {
  return timeUs === null || timeUs === undefined ? undefined : Math.floor(timeUs / 1000);
}

function problemOf(error: unknown): { message: string; hint?: string | undefined } {
  return error instanceof UserError
    ? { message: error.message, hint: error.hint }
    : { message: `Cannot look into the cache: ${error instanceof Error ? error.message : error}` };
}

function exists(path: string): boolean {
  try {
    Deno.statSync(path);
    return true;
  } catch (error) {
    // One that may not be looked at is there.
    return !(error instanceof Deno.errors.NotFound);
  }
}

function sizeOf(path: string): number {
  try {
    return Deno.statSync(path).size;
  } catch {
    return 0;
  }
}

/** The free bytes of the disk that a folder is on, or will be on when it is made. */
function freeBytesOf(folder: string): number | undefined {
  try {
    const { bavail, bsize } = statfsSync(folder);
    return bavail * bsize;
  } catch {
    return exists(folder) || dirname(folder) === folder ? undefined : freeBytesOf(dirname(folder));
  }
}

function quarantined(cachePath: string): string[] {
  try {
    const prefix = `${basename(cachePath)}.damaged-`;
    return [...Deno.readDirSync(dirname(cachePath))]
      .filter(({ name }) => name.startsWith(prefix) && !/-(wal|shm)$/.test(name))
      .map(({ name }) => join(dirname(cachePath), name)).sort();
  } catch {
    return [];
  }
}
