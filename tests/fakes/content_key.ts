import { createHash } from "node:crypto";

/** What the LifeLog server tells events apart by: the MD5 of the event's JSON with its keys sorted. */
export function contentKey(event: unknown): string {
  return createHash("md5").update(JSON.stringify(sorted(event))).digest("hex");
}

function sorted(value: unknown): unknown {
  if (typeof value !== "object" || value === null) return value;
  if (Array.isArray(value)) return value.map(sorted);
  const entries = Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1));
  return Object.fromEntries(entries.map(([key, inner]) => [key, sorted(inner)]));
}
