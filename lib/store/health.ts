import type { Database } from "./database.ts";
import { getMeta, setMeta } from "./meta.ts";

const READ_AT = "UPDATE bucket SET read_at_ms = ? WHERE name = ?";

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

/** Reads how a side fared when it was last at work; it outlives the agent that noted it. */
export function readHealth(db: Database, side: Side): Health {
  const text = getMeta(db, `${side}_health`);
  try {
    return text === undefined ? {} : JSON.parse(text);
  } catch {
    return {};
  }
}

/** Notes that a side works. */
export function noteOk(db: Database, side: Side, nowMs: number): void {
  const { failure: _failure, nextTryAtMs: _nextTry, ...rest } = readHealth(db, side);
  write(db, side, { ...rest, okAtMs: nowMs });
}

/** Notes how far the server's clock is ahead of this device's. */
export function noteClock(db: Database, clockAheadMs: number): void {
  write(db, "delivery", { ...readHealth(db, "delivery"), clockAheadMs: Math.round(clockAheadMs) });
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
  write(db, "delivery", { ...readHealth(db, "delivery"), deliveredAtMs: nowMs });
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
  write(db, side, {
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
  });
}

/** Notes when buckets were last read to their end. */
export function noteRead(db: Database, bucketNames: readonly string[], nowMs: number): void {
  for (const name of bucketNames) db.run(READ_AT, nowMs, name);
}

function write(db: Database, side: Side, health: Health): void {
  setMeta(db, `${side}_health`, JSON.stringify(health));
}
