import { sameSecret, sessionOf } from "./token.ts";

/**
 * The cookie's path, under which all that needs it lies. A browser sends the cookies of 127.0.0.1 to every port, so
 * with `/` each other server on this device would get this one with its own requests.
 */
export const COOKIE_PATH = "/board/";
const COOKIE = "lifelog_board";
const COOKIE_DAYS = 30;

/**
 * What every answer carries. The page loads nothing that this server does not give, runs no inline script or style,
 * stands in no frame, and is kept in no cache.
 */
export const SECURITY_HEADERS: Readonly<Record<string, string>> = {
  "content-security-policy":
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; " +
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'",
  "x-content-type-options": "nosniff",
  "x-frame-options": "DENY",
  "referrer-policy": "no-referrer",
  "cross-origin-opener-policy": "same-origin",
  "cross-origin-resource-policy": "same-origin",
  "permissions-policy": "camera=(), geolocation=(), microphone=()",
  "cache-control": "no-store",
};

/**
 * Tells whether a request was meant for this server. A page of another site can have its name resolve to 127.0.0.1
 * and then read what it asks for (DNS rebinding), but the browser still says that name as the host.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * import { isOwnHost } from "./guard.ts";
 *
 * assert.equal(isOwnHost("127.0.0.1:5610", 5610), true);
 * assert.equal(isOwnHost("rebound.example:5610", 5610), false);
 * ```
 */
export function isOwnHost(host: string | null, port: number): boolean {
  const names = ["127.0.0.1", "localhost", "[::1]"];
  return names.some((name) => host === `${name}:${port}` || (port === 80 && host === name));
}

/** How a request showed that it may see more than the health: by the token itself, by the page's cookie, or not. */
export type Credential = "token" | "cookie" | undefined;

/** Looks for the token in `Authorization: Bearer …` and for the session in the page's cookie. */
export function credentialOf(request: Request, token: string): Credential {
  const bearer = /^Bearer +(\S+)$/i.exec(request.headers.get("authorization") ?? "")?.[1];
  if (bearer !== undefined) return sameSecret(bearer, token) ? "token" : undefined;
  const session = sessionOf(token);
  for (const pair of (request.headers.get("cookie") ?? "").split(";")) {
    const [name, value = ""] = pair.trim().split("=", 2);
    if (name === COOKIE && sameSecret(value, session)) return "cookie";
  }
  return undefined;
}

/**
 * Tells whether a request that changes something was made by this server's own page and by no other site's. The
 * cookie is `SameSite=Strict`, but for a browser every port of 127.0.0.1 is the same site.
 */
export function isOwnPage(request: Request): boolean {
  const { headers, url } = request;
  const { host } = new URL(url);
  const site = headers.get("sec-fetch-site");
  return headers.get("origin") === `http://${host}` && (site === null || site === "same-origin") &&
    headers.get("content-type") === "application/json";
}

/** The cookie that keeps a page logged in, or, without a token, one that ends that. */
export function sessionCookie(token: string | undefined): string {
  const [value, age] = token === undefined ? ["", 0] : [sessionOf(token), COOKIE_DAYS * 86_400];
  return `${COOKIE}=${value}; Path=${COOKIE_PATH}; Max-Age=${age}; HttpOnly; SameSite=Strict`;
}
