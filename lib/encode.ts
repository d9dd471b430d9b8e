import { createHash } from "node:crypto";
import type { ActivityEvent, BucketType } from "./event.ts";
import { formatTimeUs } from "./time.ts";

const WIRE_TYPES: Record<BucketType, string> = {
  "currentwindow": "desktop_activity.window",
  "afkstatus": "desktop_activity.afk",
  "web.tab.current": "browser_activity.web",
};

/**
 * Puts an event in the LifeLog server's form. The text is made once and stored, because the server tells events
 * apart by their content: one that is sent again must be the same to the byte.
 *
 * @returns the JSON text, or `undefined` when the event's data is no object and so has no form there
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * import { encodeEvent } from "./encode.ts";
 *
 * assert.equal(
 *   encodeEvent({ startUs: 0, durationSeconds: 2, data: { status: "afk" } }, "afkstatus"),
 *   '{"timestamp":"1970-01-01T00:00:00.000000+00:00","type":"desktop_activity.afk",' +
 *     '"data":{"app":"AFK","title":"afk","url":null,"duration_seconds":2.0}}',
 * );
 * ```
 */
export function encodeEvent(event: ActivityEvent, type: BucketType): string | undefined {
  const { startUs, durationSeconds, data } = event;
  if (!isObject(data)) return undefined;
  const isAfk = type === "afkstatus";
  const app = JSON.stringify((isAfk ? "AFK" : type === "currentwindow" ? data.app : null) ?? null);
  const title = JSON.stringify((isAfk ? data.status : data.title) ?? null);
  const url = JSON.stringify((isAfk ? null : data.url) ?? null);
  return `{"timestamp":"${formatTimeUs(startUs)}","type":"${WIRE_TYPES[type]}",` +
    `"data":{"app":${app},"title":${title},"url":${url},"duration_seconds":${
      formatDuration(durationSeconds)
    }}}`;
}

/**
 * Writes seconds as a JSON float, with a point also where they are whole: Python's `json`, with which the
 * server hashes, tells `2` from `2.0`, and the daemon before this agent sent `2.0`.
 */
function formatDuration(seconds: number): string {
  return Number.isInteger(seconds) && Math.abs(seconds) < 1e15 ? seconds.toFixed(1) : String(seconds);
}

/** Hashes an event's data to 16 bytes, the same for the same content whatever the order of its keys. */
export function digestOf(data: unknown): Uint8Array {
  const hex = createHash("sha256").update(JSON.stringify(sorted(data))).digest("hex");
  // As text and into a shared slab: a buffer of its own for each digest takes longer than the hash does.
  if (slabAt === slab.length) [slab, slabAt] = [new Uint8Array(slab.length), 0];
  const digest = slab.subarray(slabAt, slabAt += DIGEST_BYTES);
  (digest as Uint8Array & { setFromHex(hex: string): void }).setFromHex(hex.slice(0, 2 * DIGEST_BYTES));
  return digest;
}

const DIGEST_BYTES = 16;
let slab = new Uint8Array(512 * DIGEST_BYTES);
let slabAt = 0;

function sorted(value: unknown): unknown {
  // Arrays stand inside of an object, so that none is taken for the pairs that an object is made of.
  if (Array.isArray(value)) return { array: value.map(sorted) };
  if (!isObject(value)) return value;
  // Pairs, for an object would put keys that look like numbers first and take "__proto__" for more than a key.
  return Object.keys(value).sort().map((key) => [key, sorted(value[key])]);
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
