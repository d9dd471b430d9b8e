import { createHash } from "node:crypto";
import { StoreError } from "../errors.ts";
import type { BucketType } from "../event.ts";
import { parseTimeUs } from "../time.ts";
import { ensureBucket } from "./cursors.ts";
import { type Database, openForeign } from "./database.ts";
import { isKnown, type Version } from "./ledger.ts";
import { getMeta, setMeta } from "./meta.ts";
import { addToOutbox, buryVersion } from "./outbox.ts";
import { setStale } from "./rules.ts";

/** The columns that an unsent event of the Python daemon is made of. */
const COLUMNS = ["id", "event_hash", "timestamp", "event_type", "device_id", "data", "added_at"];
const TABLE = "event_cache";
const ROWS = `SELECT ${COLUMNS.join(", ")} FROM ${TABLE} ORDER BY added_at, id`;

/** The daemon's names for the kinds of events, which are the server's. */
const TYPES: Record<string, BucketType> = {
  "desktop_activity.window": "currentwindow",
  "desktop_activity.afk": "afkstatus",
  "browser_activity.web": "web.tab.current",
};

/** An unsent event as the daemon keeps it. */
interface DaemonRow {
  readonly id: number;
  readonly event_hash: string;
  readonly timestamp: string;
  readonly event_type: string;
  readonly device_id: string;
  /** JSON, as Python writes it. */
  readonly data: string;
  readonly added_at: string;
}

/** What the Python daemon left: its unsent events and how far it had come. */
export interface DaemonCache {
  readonly rows: readonly DaemonRow[];
  /**
   * The start of the newest event that the daemon has had, by kind, in microseconds since 1970. It keeps no cursor on
   * disk: where events of a kind still wait, the newest of them tells; where none do, the moment it last cached one, or
   * last wrote the file.
   */
  readonly hadUs: Readonly<Record<BucketType, number>>;
  /** The device's name, where all events bear the same. */
  readonly deviceId: string | undefined;
}

/** Tells whether a file is a cache of the Python daemon. */
export function isDaemonCache(path: string): boolean {
  using db = openForeign(path);
  return columnsOf(db).length > 0;
}

function columnsOf(db: Database): string[] {
  return db.all<{ name: string }>(`SELECT name FROM pragma_table_info('${TABLE}')`).map(({ name }) => name);
}

/**
 * Reads what the Python daemon left. Changes nothing.
 * @throws {StoreError} when the file is no cache of it, or of a form that is not known
 */
export function readDaemonCache(path: string): DaemonCache {
  using db = openForeign(path);
  const columns = columnsOf(db);
  const missing = COLUMNS.filter((column) => !columns.includes(column));
  if (missing.length > 0) {
    throw new StoreError(
      columns.length === 0
        ? `Cannot take over "${path}" as it is no cache of the Python daemon: it has no table ${TABLE}`
        : `Cannot take over "${path}" as its table ${TABLE} has no column ${missing.join(", ")}`,
      { hint: "Nothing was changed. Let the Python daemon send what it has, then remove it" },
    );
  }
  const rows = db.all<DaemonRow>(ROWS);
  const written = (Deno.statSync(path).mtime?.getTime() ?? 0) * 1000;
  const cursorUs = rows.length === 0
    ? written
    : Math.max(...rows.map((row) => parseTimeUs(row.added_at) ?? 0));
  const newestOf = (type: BucketType) => {
    const starts = rows.filter((row) => TYPES[row.event_type] === type)
      .map((row) => parseTimeUs(row.timestamp) ?? 0);
    // The daemon cuts times to milliseconds, ActivityWatch need not have.
    return starts.length === 0 ? cursorUs : Math.max(...starts) + 999;
  };
  const devices = new Set(rows.map((row) => row.device_id));
  return {
    rows,
    hadUs: {
      "currentwindow": newestOf("currentwindow"),
      "afkstatus": newestOf("afkstatus"),
      "web.tab.current": newestOf("web.tab.current"),
    },
    deviceId: devices.size === 1 ? [...devices][0] : undefined,
  };
}

/** What {@link takeOver} did. */
export interface TakeOver {
  /** Events put in the outbox. */
  readonly taken: number;
  /** Events that were taken over before. */
  readonly known: number;
  /** Events that have no form at the server; they stand in the dead letters. */
  readonly dead: number;
}

/**
 * Puts the daemon's unsent events in the outbox, in the form and the order in which it would have sent them, and
 * notes up to where events are its. One transaction; what was taken over before is not taken again.
 */
export function takeOver(db: Database, { rows, hadUs }: DaemonCache, nowMs: number): TakeOver {
  const tally = { taken: 0, known: 0, dead: 0 };
  // The privacy rules have not seen them: they are judged before they leave, like all that waits.
  setStale(db, true);
  db.transaction(() => {
    for (const row of rows) {
      const bucket = bucketOf(db, row.event_type);
      const body = bodyOf(row);
      const version = versionOf(row, body);
      if (isKnown(db, bucket.id, version)) {
        tally.known++;
        continue;
      }
      addToOutbox(db, bucket.id, version, body ?? JSON.stringify(row), nowMs, 0, bucket.epoch);
      if (body === undefined) {
        buryVersion(db, bucket.id, version, "The Python daemon's event cannot be read", nowMs);
        tally.dead++;
      } else tally.taken++;
    }
    const before = takenOver(db);
    const merged = Object.entries(hadUs).map(([type, us]) => [
      type,
      Math.max(us, before?.[type as BucketType] ?? 0),
    ]);
    setMeta(db, "taken_over", JSON.stringify(Object.fromEntries(merged)));
  });
  return tally;
}

/** Up to which start events of each kind are the Python daemon's; `undefined` where none was taken over. */
export function takenOver(db: Database): Readonly<Record<BucketType, number>> | undefined {
  const text = getMeta(db, "taken_over");
  return text === undefined ? undefined : JSON.parse(text);
}

const BUCKET = "local_daemon";

/** Tells whether a bucket holds what was taken over: it is one of the cache, and no source has it. */
export function isDaemonBucket(name: string): boolean {
  return name === BUCKET || name.startsWith(`${BUCKET}_`);
}

function bucketOf(db: Database, eventType: string): { readonly id: number; readonly epoch: number } {
  const type = TYPES[eventType];
  const id = type === undefined ? BUCKET : `${BUCKET}_${eventType.split(".").at(-1)}`;
  return ensureBucket(db, { id, type: type ?? "currentwindow", hostname: "", created: "" });
}

/** The event's JSON with the daemon's own text of its data; `undefined` where that is no JSON object. */
function bodyOf({ timestamp, event_type, data }: DaemonRow): string | undefined {
  try {
    const parsed: unknown = JSON.parse(data);
    if (typeof parsed !== "object" || parsed === null || Array.isArray(parsed)) return undefined;
  } catch {
    return undefined;
  }
  if (parseTimeUs(timestamp) === undefined) return undefined;
  return `{"timestamp":${JSON.stringify(timestamp)},"type":${JSON.stringify(event_type)},"data":${data}}`;
}

function versionOf(row: DaemonRow, body: string | undefined): Version {
  const duration: unknown = body === undefined ? 0 : JSON.parse(row.data).duration_seconds;
  return {
    startUs: parseTimeUs(row.timestamp) ?? 0,
    digest: createHash("sha256").update(row.event_hash).digest().subarray(0, 16),
    durationSeconds: typeof duration === "number" ? duration : 0,
  };
}
