import * as v from "valibot";
import { readBounded } from "../bounded_body.ts";
import type { Level } from "../status/verdict.ts";
import { credentialOf, isOwnHost, isOwnPage, SECURITY_HEADERS, sessionCookie } from "./guard.ts";
import { sameSecret } from "./token.ts";

const MAX_BODY_BYTES = 64 * 1024;

const LoginSchema = v.object({ token: v.pipe(v.string(), v.maxLength(512)) });
const RetrySchema = v.object({
  seqs: v.union([v.literal("all"), v.pipe(v.array(v.pipe(v.number(), v.integer())), v.maxLength(1000))]),
});

/** A file of the page, held in memory. */
export interface PageFile {
  readonly type: string;
  readonly text: string;
}

/** What the server shows, and the one thing that it does. */
export interface Views {
  /** How the agent does; `failing` is not ready. */
  readonly level: () => Level;
  /** The page's files, by their path. */
  readonly files: ReadonlyMap<string, PageFile>;
  /** The metrics, in the OpenMetrics text format. */
  readonly metrics: () => Promise<{ readonly type: string; readonly text: string }>;
  /** All figures of the page but for the timeline and the history. */
  readonly state: () => unknown;
  /** Lag and backlog over time. */
  readonly history: () => unknown;
  /** One day as ActivityWatch has it and as it was delivered; `day` as `2026-01-31`; `undefined` for one that is not kept. */
  readonly timeline: (day: string | undefined, signal: AbortSignal) => Promise<unknown>;
  /** Puts dead letters back in the outbox and tells how many. */
  readonly retry: (seqs: readonly number[] | "all") => number | Promise<number>;
}

/** What {@link createHandler} needs. */
export interface HandlerOptions extends Views {
  readonly token: string;
  /** The port that the server listens on, for the look at the host. */
  readonly port: () => number;
  /** Told of what went wrong inside; the asker only learns that something did. */
  readonly onError: (error: unknown) => void;
}

interface Route {
  readonly method: "GET" | "POST";
  /** Open to everybody on this device, as it tells nothing of what was recorded. */
  readonly open?: boolean;
  readonly answer: (request: Request, url: URL) => Response | Promise<Response>;
}

/**
 * Makes the function that answers a request: health for everybody on this device; metrics, page and actions for who
 * has the token. Never throws.
 */
export function createHandler(options: HandlerOptions): (request: Request) => Promise<Response> {
  const { token, port, onError, level, files, metrics, state, history, timeline, retry } = options;

  const routes = new Map<string, Route>([
    ["/healthz", { method: "GET", open: true, answer: () => text("ok\n") }],
    ["/readyz", {
      method: "GET",
      open: true,
      answer() {
        const word = level();
        return text(`${word}\n`, word === "failing" ? 503 : 200);
      },
    }],
    ["/metrics", {
      method: "GET",
      async answer() {
        const { type, text: body } = await metrics();
        return new Response(body, { headers: { "content-type": type } });
      },
    }],
    ["/board/login", { method: "POST", open: true, answer: login }],
    ["/board/logout", {
      method: "POST",
      answer: () => Response.json({}, { headers: { "set-cookie": sessionCookie(undefined) } }),
    }],
    ["/board/state", { method: "GET", answer: () => Response.json(state()) }],
    ["/board/history", { method: "GET", answer: () => Response.json(history()) }],
    ["/board/timeline", {
      method: "GET",
      async answer(request, url) {
        const day = url.searchParams.get("day") ?? undefined;
        if (day !== undefined && !/^\d{4}-\d{2}-\d{2}$/.test(day)) return problem(400, "No such day");
        const shown = await timeline(day, request.signal);
        return shown === undefined ? problem(404, "Only the last days can be shown") : Response.json(shown);
      },
    }],
    ["/board/dead-letters/retry", {
      method: "POST",
      async answer(request) {
        const body = await readJson(request, RetrySchema);
        return body === undefined
          ? problem(400, "No such request")
          : Response.json({ put: await retry(body.seqs) });
      },
    }],
  ]);
  for (const [path, { type, text: body }] of files) {
    const headers = { "content-type": type };
    routes.set(path, { method: "GET", open: true, answer: () => new Response(body, { headers }) });
  }

  async function login(request: Request): Promise<Response> {
    if (!isOwnPage(request)) return problem(403, "Only this server's own page may log in");
    const body = await readJson(request, LoginSchema);
    if (body === undefined || !sameSecret(body.token, token)) return problem(401, "This is not the token");
    return Response.json({}, { headers: { "set-cookie": sessionCookie(token) } });
  }

  async function answer(request: Request): Promise<Response> {
    if (!isOwnHost(request.headers.get("host"), port())) return problem(421, "This host is not served here");
    const url = new URL(request.url);
    const route = routes.get(url.pathname);
    if (route === undefined) return problem(404, "There is nothing here");
    if (request.method !== route.method) {
      const response = problem(405, `This takes ${route.method} only`);
      response.headers.set("allow", route.method);
      return response;
    }
    if (!route.open) {
      const credential = credentialOf(request, token);
      if (credential === undefined) {
        const response = problem(401, "This needs the token: run lifelog-agent dashboard");
        response.headers.set("www-authenticate", "Bearer");
        return response;
      }
      if (credential === "cookie" && !fromOwnPage(request)) {
        return problem(403, "Only this server's own page may ask that");
      }
    }
    return await route.answer(request, url);
  }

  return async (request) => {
    let response: Response;
    try {
      response = await answer(request);
    } catch (error) {
      if (!request.signal.aborted) onError(error);
      response = problem(500, "This could not be answered: see the agent's log");
    }
    for (const [name, value] of Object.entries(SECURITY_HEADERS)) response.headers.set(name, value);
    return response;
  };
}

/** A cookie comes along with the requests of other servers' pages on this device as well: they are not its page. */
function fromOwnPage(request: Request): boolean {
  if (request.method === "POST") return isOwnPage(request);
  const site = request.headers.get("sec-fetch-site");
  return site === null || site === "same-origin" || site === "none";
}

/** Reads a small JSON body; `undefined` when it is too long, no JSON or not as it must be. */
async function readJson<S extends v.GenericSchema>(
  request: Request,
  schema: S,
): Promise<v.InferOutput<S> | undefined> {
  try {
    const result = v.safeParse(schema, JSON.parse(await readBounded(request, MAX_BODY_BYTES)));
    return result.success ? result.output : undefined;
  } catch {
    return undefined;
  }
}

function text(body: string, status = 200): Response {
  return new Response(body, { status, headers: { "content-type": "text/plain; charset=utf-8" } });
}

function problem(status: number, message: string): Response {
  return Response.json({ error: message }, { status });
}
