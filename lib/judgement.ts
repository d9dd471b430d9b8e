import { encodeEvent } from "./encode.ts";
import type { ActivityEvent, Bucket, Policy, Surroundings } from "./event.ts";
import { parseTimeUs } from "./time.ts";

/** What becomes of an event that waits, once it was judged again. */
export type Judgement =
  /** It leaves as it is. */
  | { readonly kind: "same" }
  /** It leaves in another form; it was never sent. */
  | { readonly kind: "changed"; readonly body: string }
  /** It does not leave. */
  | { readonly kind: "dropped" }
  /**
   * It would leave in another form, or not at all, but was sent before: the server may have it as it was, so that
   * another form would be a second event there.
   */
  | { readonly kind: "withheld" };

/** Judges an event that waits. Pure. */
export function judgeWaiting(
  policy: Policy,
  entry: { readonly body: string; readonly attempted: boolean },
  event: ActivityEvent,
  bucket: Bucket,
  around: Surroundings,
): Judgement {
  const { body, attempted } = entry;
  const encoded = encodeBy(policy, event, bucket, around);
  if (encoded === body) return { kind: "same" };
  // The Python daemon's text of an event is spelled otherwise: it stays, for the server goes by the text.
  const shown = eventOfBody(body);
  if (encoded !== undefined && shown && encodeEvent(shown, bucket.type) === encoded) return { kind: "same" };
  if (attempted) {
    // What was sent may be sent again the same to the byte, if the rules find nothing to take from it.
    const sent = decodeBody(body);
    const before = sent && { ...event, data: { ...Object(event.data), ...sent } };
    if (encoded !== undefined && before && encodeBy(policy, before, bucket, around) === body) {
      return { kind: "same" };
    }
    return { kind: "withheld" };
  }
  return encoded === undefined ? { kind: "dropped" } : { kind: "changed", body: encoded };
}

function encodeBy(policy: Policy, event: ActivityEvent, bucket: Bucket, around: Surroundings) {
  const { event: kept } = policy.judge(event, bucket, around);
  return kept === undefined ? undefined : encodeEvent(kept, bucket.type);
}

/** The fields of ActivityWatch's that a stored text shows; `undefined` when it is no event's. */
function decodeBody(body: string): Record<string, unknown> | undefined {
  const parsed = parse(body);
  if (parsed === undefined) return undefined;
  const { type, data: { app, title, url } } = parsed;
  return type === "desktop_activity.afk" ? { status: title } : { app, title, url };
}

/** As much of an event as its stored text shows: of one that ActivityWatch no longer has, that is all there is. */
export function eventOfBody(body: string): ActivityEvent | undefined {
  const startUs = parseTimeUs(parse(body)?.timestamp ?? "");
  const durationSeconds = parse(body)?.data.duration_seconds;
  const data = decodeBody(body);
  if (startUs === undefined || typeof durationSeconds !== "number" || data === undefined) return undefined;
  return { startUs, durationSeconds, data };
}

function parse(body: string) {
  try {
    const parsed = JSON.parse(body);
    return typeof parsed?.timestamp === "string" && typeof parsed?.data === "object" && parsed.data !== null
      ? parsed as { timestamp: string; type: string; data: Record<string, unknown> }
      : undefined;
  } catch {
    return undefined;
  }
}
