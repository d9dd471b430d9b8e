import assert from "node:assert/strict";
import * as fc from "fast-check";
import { createHandler, type HandlerOptions } from "../../lib/web/handler.ts";
import { sessionOf } from "../../lib/web/token.ts";

const PORT = 5610;
const TOKEN = "a-token-of-thirty-two-letters-or-more";
const ORIGIN = `http://127.0.0.1:${PORT}`;
const OPEN = ["/healthz", "/readyz", "/", "/app.js"];
const CLOSED = ["/metrics", "/board/state", "/board/history", "/board/timeline"];

function handler(options: Partial<HandlerOptions> = {}) {
  const errors: unknown[] = [];
  const retried: unknown[] = [];
  const handle = createHandler({
    token: TOKEN,
    port: () => PORT,
    onError: (error) => errors.push(error),
    level: () => "well",
    files: new Map([
      ["/", { type: "text/html", text: "<p>page" }],
      ["/app.js", { type: "text/javascript", text: "1" }],
    ]),
    metrics: () => Promise.resolve({ type: "text/plain", text: "m 1\n" }),
    state: () => ({ waiting: 1 }),
    history: () => ({ atMs: [] }),
    timeline: (day) => Promise.resolve({ day }),
    retry: (seqs) => {
      retried.push(seqs);
      return 2;
    },
    ...options,
  });
  async function ask(path: string, init: RequestInit & { host?: string } = {}) {
    const headers = new Headers(init.headers);
    headers.set("host", init.host ?? `127.0.0.1:${PORT}`);
    const response = await handle(new Request(`${ORIGIN}${path}`, { ...init, headers }));
    return { status: response.status, headers: response.headers, text: await response.text() };
  }
  return { ask, errors, retried };
}

const bearer = (token = TOKEN) => ({ authorization: `Bearer ${token}` });
const cookie = { cookie: `other=1; lifelog_board=${sessionOf(TOKEN)}` };
const ownPage = { origin: ORIGIN, "content-type": "application/json", "sec-fetch-site": "same-origin" };
const post = (headers: Record<string, string>, body: unknown) => ({
  method: "POST",
  headers,
  body: typeof body === "string" ? body : JSON.stringify(body),
});

Deno.test("health and the page's files are open; metrics and all that was recorded need the token", async () => {
  const { ask } = handler();
  for (const path of OPEN) assert.equal((await ask(path)).status, 200, path);
  for (const path of CLOSED) {
    assert.equal((await ask(path)).status, 401, path);
    assert.equal((await ask(path, { headers: bearer("x".repeat(TOKEN.length)) })).status, 401, path);
    assert.equal((await ask(path, { headers: { cookie: `lifelog_board=${TOKEN}` } })).status, 401, path);
    assert.equal((await ask(path, { headers: bearer() })).status, 200, path);
    assert.equal((await ask(path, { headers: cookie })).status, 200, path);
  }
});

Deno.test("a wrong token is not saved by a right cookie beside it", async () => {
  const { ask } = handler();
  assert.equal((await ask("/metrics", { headers: { ...cookie, ...bearer("wrong") } })).status, 401);
});

Deno.test("/readyz says 503 only while the agent is failing", async () => {
  for (const [level, status] of [["well", 200], ["degraded", 200], ["failing", 503]] as const) {
    const { ask } = handler({ level: () => level });
    const answer = await ask("/readyz");
    assert.deepEqual([answer.status, answer.text], [status, `${level}\n`]);
    assert.equal((await ask("/healthz")).status, 200);
  }
});

Deno.test("a request for another host is refused, whatever it asks for and shows", async () => {
  const { ask } = handler();
  const hosts = ["rebound.example:5610", "127.0.0.1", "127.0.0.1:5611", "localhost.example:5610", "[::1]"];
  for (const host of hosts) {
    for (const path of [...OPEN, ...CLOSED]) {
      const { status, text } = await ask(path, { host, headers: bearer() });
      assert.equal(status, 421, `${host}${path}`);
      assert.ok(!text.includes("waiting"));
    }
  }
  for (const host of ["localhost:5610", "[::1]:5610"]) {
    assert.equal((await ask("/healthz", { host })).status, 200, host);
  }
});

Deno.test("every answer carries the strict policy and no leave for other origins", async () => {
  const { ask } = handler();
  for (const path of [...OPEN, ...CLOSED, "/nothing"]) {
    const { headers } = await ask(path, { headers: { origin: "http://evil.example" } });
    const policy = headers.get("content-security-policy")!;
    assert.match(policy, /default-src 'none'/);
    assert.doesNotMatch(policy, /unsafe|\*|https?:/);
    assert.equal(headers.get("access-control-allow-origin"), null);
    assert.equal(headers.get("cache-control"), "no-store");
    assert.equal(headers.get("x-content-type-options"), "nosniff");
  }
});

Deno.test("methods other than the one that a path takes are refused", async () => {
  const { ask } = handler();
  for (const method of ["POST", "PUT", "DELETE", "OPTIONS", "HEAD", "PATCH"]) {
    assert.equal((await ask("/board/state", { method, headers: bearer() })).status, 405, method);
  }
  assert.equal((await ask("/board/dead-letters/retry", { headers: bearer() })).status, 405);
  assert.equal((await ask("/nothing")).status, 404);
});

Deno.test("the own page logs in with the token and gets a cookie that scripts and other sites cannot use", async () => {
  const { ask } = handler();
  const answer = await ask("/board/login", post(ownPage, { token: TOKEN }));
  assert.equal(answer.status, 200);
  const set = answer.headers.get("set-cookie")!;
  assert.match(set, /^lifelog_board=[\w-]{43}; Path=\/board\/; Max-Age=\d+; HttpOnly; SameSite=Strict$/);
  assert.ok(!set.includes(TOKEN));
  assert.equal((await ask("/board/state", { headers: { cookie: set.split(";")[0]! } })).status, 200);
});

Deno.test("a login with a wrong token, a strange body or from another page is refused without a cookie", async () => {
  const { ask } = handler();
  const others = { ...ownPage, origin: "http://127.0.0.1:5600" };
  const tries = [
    [401, post(ownPage, { token: `${TOKEN}x` })],
    [401, post(ownPage, { token: "" })],
    [401, post(ownPage, { token: 1 })],
    [401, post(ownPage, "not json")],
    [401, post(ownPage, { token: TOKEN, more: "x".repeat(70_000) })],
    [403, post(others, { token: TOKEN })],
    [403, post({ ...ownPage, "content-type": "text/plain" }, { token: TOKEN })],
    [403, post({ ...ownPage, "sec-fetch-site": "same-site" }, { token: TOKEN })],
    [403, post({ "content-type": "application/json" }, { token: TOKEN })],
  ] as const;
  for (const [status, init] of tries) {
    const answer = await ask("/board/login", init);
    assert.equal(answer.status, status);
    assert.equal(answer.headers.get("set-cookie"), null);
  }
});

Deno.test("a retry is taken from the own page and from who has the token, and from no other page", async () => {
  const { ask, retried } = handler();
  const path = "/board/dead-letters/retry";
  const refused = [
    [401, post(ownPage, { seqs: "all" })],
    [403, post({ ...cookie, ...ownPage, origin: "http://127.0.0.1:5600" }, { seqs: "all" })],
    [403, post({ ...cookie, ...ownPage, origin: "null" }, { seqs: "all" })],
    [403, post({ ...cookie, ...ownPage, "content-type": "text/plain" }, { seqs: "all" })],
    [403, post({ ...cookie, ...ownPage, "sec-fetch-site": "same-site" }, { seqs: "all" })],
    [403, post(cookie, { seqs: "all" })],
    [400, post({ ...cookie, ...ownPage }, { seqs: "some" })],
    [400, post({ ...cookie, ...ownPage }, { seqs: [1.5] })],
    [400, post({ ...cookie, ...ownPage }, { seqs: Array.from({ length: 1001 }, (_, i) => i) })],
  ] as const;
  for (const [status, init] of refused) assert.equal((await ask(path, init)).status, status);
  assert.deepEqual(retried, []);
  assert.equal((await ask(path, post({ ...cookie, ...ownPage }, { seqs: [3, 4] }))).text, '{"put":2}');
  assert.equal((await ask(path, post(bearer(), { seqs: "all" }))).status, 200);
  assert.deepEqual(retried, [[3, 4], "all"]);
});

Deno.test("what the cookie opens is closed to pages of other ports, which the browser sends it along with", async () => {
  const { ask } = handler();
  for (const site of ["same-site", "cross-site"]) {
    const answer = await ask("/board/state", { headers: { ...cookie, "sec-fetch-site": site } });
    assert.equal(answer.status, 403, site);
  }
});

Deno.test("a fault inside is told to the log and not to the asker", async () => {
  const secret = new Error("secret of the inside");
  const { ask, errors } = handler({
    state() {
      throw secret;
    },
    timeline: () => Promise.reject(secret),
  });
  for (const path of ["/board/state", "/board/timeline?day=2026-01-31"]) {
    const { status, text, headers } = await ask(path, { headers: bearer() });
    assert.equal(status, 500);
    assert.ok(!text.includes("secret"));
    assert.ok(headers.has("content-security-policy"));
  }
  assert.deepEqual(errors, [secret, secret]);
});

Deno.test("a day that is none is refused before anything is read", async () => {
  const { ask } = handler();
  for (const day of ["today", "2026-1-1", "2026-01-31T00:00", "../../etc"]) {
    assert.equal((await ask(`/board/timeline?day=${day}`, { headers: bearer() })).status, 400, day);
  }
});

Deno.test("no request without the token gets what needs it, however it is made up", async () => {
  const { ask, errors, retried } = handler({
    metrics: () => Promise.resolve({ type: "text/plain", text: "SECRET" }),
    state: () => "SECRET",
    history: () => "SECRET",
    timeline: () => Promise.resolve("SECRET"),
  });
  const paths = [
    "/metrics",
    "/board/state",
    "/board/history",
    "/board/timeline",
    "/board/dead-letters/retry",
  ];
  const path = fc.oneof(
    fc.constantFrom(...paths, "/board/login", "/board/logout"),
    fc.tuple(fc.constantFrom(...paths), fc.constantFrom("/", "//", "%00", "/..", ";x", "?token=x", "#")).map((
      parts,
    ) => parts.join("")),
    fc.webPath(),
  );
  const text = fc.stringMatching(/^[!-~]{0,40}$/);
  const headers = fc.record({
    "authorization": fc.oneof(text, text.map((token) => `Bearer ${token}`), fc.constant(`Basic ${TOKEN}`)),
    "cookie": fc.oneof(text, text.map((value) => `lifelog_board=${value}`), fc.constant("lifelog_board")),
    "origin": fc.constantFrom(ORIGIN, "null", "http://evil.example"),
    "content-type": fc.constantFrom("application/json", "text/plain"),
    "sec-fetch-site": fc.constantFrom("same-origin", "none", "cross-site"),
    "x-forwarded-host": fc.constantFrom("127.0.0.1:5610"),
  }, { requiredKeys: [] });
  const request = fc.tuple(path, fc.constantFrom("GET", "POST", "PUT", "HEAD"), headers, text);
  await fc.assert(
    fc.asyncProperty(request, async ([path, method, headers, body]) => {
      const sent = method === "POST" || method === "PUT" ? { body } : {};
      const { status, text, headers: got } = await ask(path || "/", { method, headers, ...sent });
      assert.ok([200, 401, 403, 404, 405].includes(status), `${status}`);
      assert.ok(!text.includes("SECRET"));
      assert.ok(got.has("content-security-policy"));
      assert.ok(!got.has("set-cookie") && !got.has("access-control-allow-origin"));
    }),
    { numRuns: 200 },
  );
  assert.deepEqual([errors, retried], [[], []]);
});
