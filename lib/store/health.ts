import type { Database } from "./database.ts";
import { getMeta, setMeta } from "./meta.ts";

/**
 * How often notes that say nothing but a later time are written, in milliseconds. An agent at rest reads ActivityWatch
 * every minute and finds nothing: a write each time would keep a disk awake for it.
 */
export const NOTE_EVERY_MS = 15 * 60_000;

const WRITE_BUCKET = `UPDATE bucket SET read_at_ms = coalesce(?, read_at_ms),
  filled_from_us = coalesce(?, filled_from_us), newest_start_us = coalesce(?, newest_start_us),
  newest_end_us = coalesce(?, newest_end_us) WHERE name = ?`;
const STATES = `SELECT id, name, type, read_at_ms AS readAtMs, newest_start_us AS newestStartUs,
  newest_end_us AS newestEndUs, filled_from_us AS filledFromUs, waiting, waiting_bytes AS waitingBytes, revisions
  FROM bucket ORDER BY name`;

/** A fault that has not passed yet. */
export interface Failure {
  /** Without a title, a URL or a token in it. */
  readonly reason: string;
  /** The HTTP status, where there was an answer. */
  readonly status?: number;
  /** What to do about it, where a person can do something. */
  readonly hint?: string;
  readonly sinceMs: number;
  /** When it was seen last. */
  readonly atMs: number;
  readonly times: number;
}

/** How one side of the agent fares: collection from ActivityWatch, or delivery to the server. */
export interface Health {
  /** When it last did all that there was to do. */
  readonly okAtMs?: number;
  /** When the server last took an event. */
  readonly deliveredAtMs?: number;
  readonly failure?: Failure;
  /** When it is tried again, where that is not simply the next turn. */
  readonly nextTryAtMs?: number;
  /** The server's clock less this device's, in milliseconds, as its last answer told it; good to a second. */
  readonly clockAheadMs?: number;
}

/** The agent that works on the cache, or that did so last. */
export interface AgentNote {
  readonly pid: number;
  readonly version: string;
  readonly startedMs: number;
  /** It was to collect and deliver once; another comes when somebody starts it. */
  readonly once?: boolean;
  /** When it ended in order; absent while it runs, and where it was killed. */
  readonly stoppedMs?: number;
}

/** The sides whose health is kept. */
export type Side = "collection" | "delivery";

/** What a pass that reached its end saw of a bucket. */
export interface PassNote {
  /** From where on no gap is left to read; absent where some is. */
  readonly filledFromUs?: number | undefined;
  /** The newest event, final or not; absent where none was seen. */
  readonly newest?: { readonly startUs: number; readonly endUs: number } | undefined;
}

/** How a bucket stands, as the cache knows it; `null` for what never was. */
export interface BucketState {
  readonly id: number;
  readonly name: string;
  readonly type: string;
  /** When it was last read to its end; 0 for never. */
  readonly readAtMs: number;
  readonly newestStartUs: number | null;
  readonly newestEndUs: number | null;
  readonly filledFromUs: number | null;
  readonly waiting: number;
  readonly waitingBytes: number;
  readonly revisions: number;
}

type BucketNote = Partial<Pick<BucketState, "readAtMs" | "newestStartUs" | "newestEndUs" | "filledFromUs">>;

/** What was noted by this process, of which a part may yet have to be written. */
interface Notes {
  readonly sides: Map<Side, Health>;
  readonly buckets: Map<string, BucketNote>;
  readonly unwritten: Set<string>;
  /** There is more to tell than a later time. */
  isPressing: boolean;
  writtenAtMs: number;
}

const noted = new WeakMap<Database, Notes>();

function notesOf(db: Database): Notes {
  let notes = noted.get(db);
  if (notes === undefined) {
    notes = {
      sides: new Map(),
      buckets: new Map(),
      unwritten: new Set(),
      isPressing: false,
      writtenAtMs: -Infinity,
    };
    noted.set(db, notes);
  }
  return notes;
}

/**
 * Writes what was noted since the last time, in one transaction: at once where it says more than a later time (a fault
 * that began, changed or ended, a bucket that was read or filled for the first time), otherwise every `everyMs`. Until
 * then it is known to this process alone, and a crash forgets it: nothing is collected or delivered by these notes.
 * @throws {StoreError} when the cache cannot be written; it is tried again at the next call
 */
export function writeNotes(db: Database, nowMs: number, everyMs = NOTE_EVERY_MS): void {
  const notes = notesOf(db);
  if (notes.unwritten.size === 0) return;
  if (!notes.isPressing && Math.abs(nowMs - notes.writtenAtMs) < everyMs) return;
  db.transaction(() => {
    for (const [side, health] of notes.sides) {
      if (notes.unwritten.has(side)) setMeta(db, `${side}_health`, JSON.stringify(health));
    }
    for (const [name, note] of notes.buckets) {
      if (!notes.unwritten.has(`bucket ${name}`)) continue;
      const { readAtMs = null, filledFromUs = null, newestStartUs = null, newestEndUs = null } = note;
      db.run(WRITE_BUCKET, readAtMs, filledFromUs, newestStartUs, newestEndUs, name);
    }
  });
  notes.unwritten.clear();
  notes.isPressing = false;
  notes.writtenAtMs = nowMs;
}

/** Reads how a side fared when it was last at work; it outlives the agent that noted it. */
export function readHealth(db: Database, side: Side): Health {
  const health = noted.get(db)?.sides.get(side);
  if (health !== undefined) return health;
  const text = getMeta(db, `${side}_health`);
  try {
    return text === undefined ? {} : JSON.parse(text);
  } catch {
    return {};
  }
}

/** Notes that a side works. */
export function noteOk(db: Database, side: Side, nowMs: number): void {
  const { failure, nextTryAtMs: _nextTry, ...rest } = readHealth(db, side);
  note(db, side, { ...rest, okAtMs: nowMs }, failure !== undefined || rest.okAtMs === undefined);
}

/** Notes how far the server's clock is ahead of this device's. */
export function noteClock(db: Database, clockAheadMs: number): void {
  note(db, "delivery", { ...readHealth(db, "delivery"), clockAheadMs: Math.round(clockAheadMs) });
}

/** Reads which agent works on the cache, or did so last. */
export function readAgent(db: Database): AgentNote | undefined {
  const text = getMeta(db, "agent");
  return text === undefined ? undefined : JSON.parse(text);
}

/** Notes that an agent begins its work on the cache. */
export function noteStarted(db: Database, agent: Omit<AgentNote, "stoppedMs">): void {
  setMeta(db, "agent", JSON.stringify(agent));
}

/** Notes that it ended in order. */
export function noteStopped(db: Database, stoppedMs: number): void {
  const agent = readAgent(db);
  if (agent !== undefined) setMeta(db, "agent", JSON.stringify({ ...agent, stoppedMs }));
}

/** Notes that the server took events. */
export function noteDelivered(db: Database, nowMs: number): void {
  note(db, "delivery", { ...readHealth(db, "delivery"), deliveredAtMs: nowMs });
}

/** Notes a failure; one that goes on keeps its beginning, whatever its reasons. */
export function noteFailure(
  db: Database,
  side: Side,
  failure: Pick<Failure, "reason" | "status" | "hint">,
  nowMs: number,
  nextTryAtMs?: number,
): void {
  const { failure: before, nextTryAtMs: _, ...rest } = readHealth(db, side);
  const { reason, status, hint } = failure;
  const isSame = before?.reason === reason && before.status === status && before.hint === hint;
  const health = {
    ...rest,
    failure: {
      reason,
      ...(status === undefined ? {} : { status }),
      ...(hint === undefined ? {} : { hint }),
      sinceMs: before?.sinceMs ?? nowMs,
      atMs: nowMs,
      times: (before?.times ?? 0) + 1,
    },
    ...(nextTryAtMs === undefined ? {} : { nextTryAtMs: Math.round(nextTryAtMs) }),
  };
  note(db, side, health, !isSame || nextTryAtMs !== undefined);
}

function note(db: Database, side: Side, health: Health, isPressing = false): void {
  const notes = notesOf(db);
  notes.sides.set(side, health);
  notes.unwritten.add(side);
  notes.isPressing ||= isPressing;
}

/** Notes what a pass saw of a bucket, for those who ask how the agent is. */
export function notePass(db: Database, bucketName: string, { filledFromUs, newest }: PassNote): void {
  noteBucket(db, bucketName, {
    ...(filledFromUs === undefined ? {} : { filledFromUs }),
    ...(newest === undefined ? {} : { newestStartUs: newest.startUs, newestEndUs: newest.endUs }),
  });
}

/** Notes when a bucket was last read to its end. */
export function noteRead(db: Database, bucketName: string, nowMs: number): void {
  noteBucket(db, bucketName, { readAtMs: nowMs });
}

function noteBucket(db: Database, name: string, note: BucketNote): void {
  const notes = notesOf(db);
  const before = notes.buckets.get(name) ?? {};
  const after = { ...before, ...note };
  notes.buckets.set(name, after);
  notes.unwritten.add(`bucket ${name}`);
  notes.isPressing ||= before.filledFromUs !== after.filledFromUs || before.readAtMs === undefined;
}

/** How all buckets stand, in order of their names. */
export function bucketStates(db: Database): BucketState[] {
  const buckets = noted.get(db)?.buckets;
  return db.all<{ [K in keyof BucketState]: BucketState[K] }>(STATES)
    .map((state) => ({ ...state, ...buckets?.get(state.name) }));
}
