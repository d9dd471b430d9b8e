import { gzipSync } from "node:zlib";
import * as v from "valibot";
import { retryAfterMs } from "../backoff.ts";
import { readBounded } from "../bounded_body.ts";
import type { Batch, SendResult, Sink } from "../event.ts";
import { probeLifelog } from "./lifelog_probe.ts";
import { formatTimeUs, MS_US, timeLimit } from "../time.ts";

const MAX_ANSWER_BYTES = 1024 * 1024;
const MAX_REASON_LENGTH = 200;

const ErrorSchema = v.object({
  detail: v.array(v.object({
    loc: v.array(v.union([v.string(), v.number()])),
    msg: v.optional(v.string(), ""),
    type: v.optional(v.string(), ""),
  })),
});
const SuccessSchema = v.object({
  status: v.optional(v.string()),
  received_events: v.optional(v.number()),
});

const UTF_8 = new TextEncoder();
const COMMA = ",".charCodeAt(0);

/** How servers answer that do not know gzip: unsupported, or that the text is no JSON. */
const GZIP_DOUBTS = new Set([400, 415, 422]);

/** What {@link lifelogSink} needs. */
export interface LifelogSinkOptions {
  /** The ingestion URL. */
  readonly endpoint: URL;
  /** The bearer token; sent to the endpoint and to nobody else. */
  readonly token?: string | undefined;
  /** The device's id, the `source_id` of every request. */
  readonly deviceId: string;
  /**
   * Compress requests with gzip. Where a server refuses such a request and takes the same one plain, it goes on plain.
   * Default: false, for the LifeLog server itself does not decode it.
   */
  readonly compress?: boolean;
  /** How long one request may take in all, in milliseconds. Default: 30000. */
  readonly timeoutMs?: number;
  readonly fetch?: typeof fetch;
  readonly now?: () => number;
}

/**
 * Sends batches to a LifeLog server. The stored text of each event is put into the envelope as it is: what is
 * sent a second time is the same to the byte, which is how the server knows it.
 */
export function lifelogSink(options: LifelogSinkOptions): Sink {
  const {
    endpoint,
    token,
    deviceId,
    compress = false,
    timeoutMs = 30_000,
    fetch: request = fetch,
    now = Date.now,
  } = options;
  const headers = new Headers({ "content-type": "application/json", "accept": "application/json" });
  if (token !== undefined) headers.set("authorization", `Bearer ${token}`);
  const gzipHeaders = new Headers(headers);
  gzipHeaders.set("content-encoding", "gzip");

  let clockAheadMs: number | undefined;
  let compressing = compress;

  async function send(batch: Batch, options: { signal?: AbortSignal } = {}): Promise<SendResult> {
    const body = envelope(batch, deviceId, now());
    if (!compressing) return await post(batch, body, headers, options);
    const result = await post(batch, new Uint8Array(gzipSync(body)), gzipHeaders, options);
    if (!GZIP_DOUBTS.has(statusOf(result) ?? 0)) return result;
    // A server that does not decode it finds fault with the events: nothing is judged by that.
    const plain = await post(batch, body, headers, options);
    if (plain.kind === "delivered") compressing = false;
    return plain;
  }

  async function post(
    batch: Batch,
    body: Uint8Array<ArrayBuffer>,
    headers: Headers,
    { signal }: { signal?: AbortSignal },
  ): Promise<SendResult> {
    using limit = timeLimit(timeoutMs, signal);
    let response: Response;
    let text: string;
    try {
      response = await request(endpoint, {
        method: "POST",
        headers,
        body,
        redirect: "manual",
        signal: limit.signal,
      });
      clockAheadMs = aheadMs(response, now()) ?? clockAheadMs;
      text = await readBounded(response, MAX_ANSWER_BYTES);
    } catch (error) {
      signal?.throwIfAborted();
      const reason = limit.isOver() ? `no answer within ${timeoutMs / 1000} s` : connectionFault(error);
      return {
        kind: "retry",
        reason,
        ...(limit.isOver() ? { slow: true } : {}),
        ...(UNREACHED.has(reason) ? { unreached: true } : {}),
      };
    }
    return judge(response, text, batch.length, now());
  }

  return {
    send,
    clockAheadMs: () => clockAheadMs,
    probe: ({ signal } = {}) =>
      probeLifelog({ endpoint, headers, timeoutMs, fetch: request, now, faultOf: connectionFault, signal }),
  };
}

/** How far the clock of an answer's `Date` is ahead of ours, in milliseconds; it is good to a second or so. */
export function aheadMs(response: Response, nowMs: number): number | undefined {
  const serverMs = Date.parse(response.headers.get("date") ?? "");
  return Number.isNaN(serverMs) ? undefined : serverMs - nowMs;
}

function statusOf(result: SendResult): number | undefined {
  return result.kind === "delivered" ? undefined : result.status;
}

/** Puts the stored bytes into a request's body, without a look into them. */
function envelope(batch: Batch, deviceId: string, nowMs: number): Uint8Array<ArrayBuffer> {
  const head = UTF_8.encode(
    `{"source_id":${JSON.stringify(deviceId)},"sent_at_timestamp_utc":"${formatTimeUs(nowMs * MS_US)}",` +
      `"events":[`,
  );
  const tail = UTF_8.encode("]}");
  const bodyBytes = batch.reduce((sum, { body }) => sum + body.length + 1, -1);
  const bytes = new Uint8Array(head.length + bodyBytes + tail.length);
  bytes.set(head);
  let at = head.length;
  for (const { body } of batch) {
    if (at > head.length) bytes[at++] = COMMA;
    bytes.set(body, at);
    at += body.length;
  }
  bytes.set(tail, at);
  return bytes;
}

/** Says what an answer means for the batch. */
function judge(response: Response, text: string, count: number, nowMs: number): SendResult {
  const { status } = response;
  // A date is by the server's clock, so it is told by that clock how far off it is.
  const serverMs = nowMs + (aheadMs(response, nowMs) ?? 0);
  const retryAfter = retryAfterMs(response.headers.get("retry-after"), serverMs);
  const retry = (reason: string): SendResult => ({
    kind: "retry",
    status,
    reason,
    ...(retryAfter === undefined ? {} : { retryAfterMs: retryAfter }),
    ...(status === 408 || status === 504 ? { slow: true } : {}),
  });
  if (status >= 200 && status < 300) {
    const doubt = doubtAbout(status, text, count);
    return doubt === undefined ? { kind: "delivered" } : retry(doubt);
  }
  if (status >= 500 || status === 408 || status === 425 || status === 429) {
    return retry(`it answered ${status}`);
  }
  if (status === 413) return { kind: "too-large", status, reason: "it answered 413 (too large)" };
  const refused = (hint: string): Extract<SendResult, { kind: "refused" }> => ({
    kind: "refused",
    status,
    reason: `it answered ${status}`,
    hint,
  });
  if (status >= 300 && status < 400) {
    return refused("Set CENTRAL_SERVER_ENDPOINT to the address that the server redirects to");
  }
  switch (status) {
    case 401:
    case 407:
      return refused("Check SERVER_AUTH_TOKEN");
    case 403:
      return { ...refused("Check SERVER_AUTH_TOKEN"), perhapsContent: true };
    case 404:
    case 405:
    case 410:
    case 415:
    case 421:
    case 426:
      return refused("Check CENTRAL_SERVER_ENDPOINT, which usually ends in /api/v1/ingest");
  }
  return rejection(status, text, count) ??
    refused("Check DEVICE_ID and that the server and this agent speak the same version of the contract");
}

/**
 * Why an answer of success is not taken for one: a log-in page of a hotel's network also answers 200, and what
 * is taken for delivered is gone from the cache.
 */
function doubtAbout(status: number, text: string, count: number): string | undefined {
  const result = v.safeParse(SuccessSchema, safeJson(text));
  if (!result.success) return `it answered ${status} without a LifeLog server's confirmation`;
  const { status: word, received_events: received } = result.output;
  if (received !== undefined && received !== count) {
    return `it answered ${status} but took ${received} of ${count} events`;
  }
  if (word !== "success" && (word !== undefined || received === undefined)) {
    return `it answered ${status} without a word of success`;
  }
}

/** Reads which events the server does not take. `undefined` when it finds fault with the envelope alone. */
function rejection(status: number, text: string, count: number): SendResult | undefined {
  const reasons = new Map<number, string>();
  let faultInEnvelope = false;
  const result = v.safeParse(ErrorSchema, safeJson(text));
  for (const { loc, msg, type } of result.success ? result.output.detail : []) {
    const at = loc.indexOf("events");
    const index = at === -1 ? undefined : loc[at + 1];
    // The server's words may quote a title: only the place, the message and the kind are kept, without the input.
    const reason = `${loc.join(".")}: ${msg}${type === "" ? "" : ` (${type})`}`.slice(0, MAX_REASON_LENGTH);
    if (typeof index === "number" && Number.isInteger(index) && index >= 0 && index < count) {
      if (!reasons.has(index)) reasons.set(index, reason);
    } else if (at !== -1 && index === undefined && type === "too_long") {
      return { kind: "too-large", status, reason: `it answered ${status} (too many events)` };
    } else if (loc[0] === "body" && typeof loc[1] === "string") {
      // A number there is where the text is no JSON, which may be the fault of an event.
      faultInEnvelope = true;
    }
  }
  if (reasons.size === 0 && faultInEnvelope) return undefined;
  return {
    kind: "rejected",
    status,
    reason: `it answered ${status}`,
    indices: [...reasons.keys()].sort((a, b) => a - b),
    reasons,
    // 422 is what the contract has for events that do not validate; another status may mean anything.
    ...(status === 422 ? {} : { perhapsAll: true }),
  };
}

function safeJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

const UNRESOLVED = "its name cannot be resolved";
const REFUSED = "the connection was refused";
/** The faults with which no byte of the request came to the server. */
const UNREACHED = new Set([UNRESOLVED, REFUSED]);

/** Says what was wrong with the connection, without the address, which may hold more than one wants to log. */
function connectionFault(error: unknown): string {
  const text = [error, error instanceof Error ? error.cause : undefined]
    .map((e) => e instanceof Error ? `${e.name} ${e.message}` : String(e ?? "")).join(" ")
    // A host may be called anything, such as tls.example.org.
    .replace(/https?:\/\/\S+/g, "");
  if (error instanceof RangeError) return "its answer is too long";
  if (/not the pinned one/.test(text)) return "its certificate is for another key than the pinned ones";
  if (/certificate|UnknownIssuer|tls|ssl|handshake|corrupt message/i.test(text)) {
    return "no secure connection (its certificate or TLS failed)";
  }
  if (/dns|lookup|resolve|name or service/i.test(text)) return UNRESOLVED;
  if (/refused/i.test(text)) return REFUSED;
  if (/invalid HTTP|parse/i.test(text)) return "its answer is no HTTP";
  if (/reset|broken pipe|closed before|eof|incomplete|reading a body/i.test(text)) {
    return "the connection broke off";
  }
  if (/unreachable|network/i.test(text)) return "the network cannot be reached";
  return "no connection";
}
