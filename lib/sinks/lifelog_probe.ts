import * as v from "valibot";
import { readBounded } from "../bounded_body.ts";
import type { ProbeResult } from "../event.ts";
import { timeLimit } from "../time.ts";

const MAX_ANSWER_BYTES = 64 * 1024;
/**
 * Valid JSON that is no batch. A LifeLog server looks at the token before it validates the body, and validates before
 * it does anything: with a good token the answer is 422, with a bad one 401 or 403, and nothing is ever stored. An
 * empty batch would not do: the server takes it and puts a message in its queue.
 */
const NO_BATCH = "{}";

const MissingSchema = v.object({
  detail: v.pipe(v.array(v.object({ loc: v.array(v.union([v.string(), v.number()])) })), v.minLength(1)),
});

/** What {@link probeLifelog} needs. */
export interface ProbeOptions {
  readonly endpoint: URL;
  /** With the token in them. */
  readonly headers: Headers;
  readonly timeoutMs: number;
  readonly fetch: typeof fetch;
  readonly now: () => number;
  /** Says in words what failed below HTTP. */
  readonly faultOf: (error: unknown) => string;
  readonly signal?: AbortSignal | undefined;
}

/**
 * Asks a LifeLog server whether it would take events, by requests that it cannot take: nothing is stored.
 * @throws {DOMException} when `signal` is aborted
 */
export async function probeLifelog(options: ProbeOptions): Promise<ProbeResult> {
  const { endpoint, headers, timeoutMs, fetch: request, now, faultOf, signal } = options;

  async function ask(headers: Headers): Promise<{ response: Response; text: string; clockAheadMs?: number }> {
    using limit = timeLimit(timeoutMs, signal);
    const response = await request(endpoint, {
      method: "POST",
      headers,
      body: NO_BATCH,
      redirect: "manual",
      signal: limit.signal,
    });
    const serverMs = Date.parse(response.headers.get("date") ?? "");
    const clockAheadMs = Number.isNaN(serverMs) ? {} : { clockAheadMs: serverMs - now() };
    return { response, text: await readBounded(response, MAX_ANSWER_BYTES), ...clockAheadMs };
  }

  let answer: Awaited<ReturnType<typeof ask>>;
  try {
    answer = await ask(headers);
  } catch (error) {
    signal?.throwIfAborted();
    const slow = error instanceof DOMException && error.name === "TimeoutError";
    if (slow) return { kind: "unreachable", reason: `no answer within ${timeoutMs / 1000} s` };
    return { kind: "unreachable", reason: faultOf(error), detail: detailOf(error) };
  }
  const { response: { status }, text, clockAheadMs } = answer;
  const rest = { status, ...(clockAheadMs === undefined ? {} : { clockAheadMs }) };
  const reason = `it answered ${status}`;
  if (status === 422 && v.safeParse(MissingSchema, parse(text)).success) {
    const withoutToken = new Headers(headers);
    withoutToken.delete("authorization");
    const asksForToken = await ask(withoutToken).then(
      ({ response }) => response.status === 401 || response.status === 403,
      () => undefined,
    );
    signal?.throwIfAborted();
    return { kind: "ready", reason, ...rest, ...(asksForToken === undefined ? {} : { asksForToken }) };
  }
  if (status === 401 || status === 403 || status === 407) return { kind: "refused", reason, ...rest };
  if (status >= 500 || status === 408 || status === 425 || status === 429) {
    return { kind: "unavailable", reason, ...rest };
  }
  return { kind: "stranger", reason, ...rest };
}

/** The end of Deno's message: what comes before is the address. */
function detailOf(error: unknown): string {
  const text = error instanceof Error ? error.message : String(error);
  return text.replace(/^.*client error \(\w+\): /s, "");
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
