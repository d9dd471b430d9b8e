import assert from "node:assert/strict";
import { renderStatus, statusJson } from "../../lib/status/render.ts";
import type { Report } from "../../lib/status/report.ts";
import { judge } from "../../lib/status/verdict.ts";

const NOW_MS = Date.UTC(2026, 0, 31, 12);
const OPTIONS = { delivers: true, collectionIntervalSeconds: 60, sendIntervalSeconds: 300 };
const PLACES = { activityWatch: "http://127.0.0.1:5600", endpoint: "https://lifelog.example.org" };
const FULL: Report = {
  atMs: NOW_MS,
  running: true,
  aheadMs: 0,
  agent: { pid: 4_194_304, version: "10.20.30", startedMs: NOW_MS - 40 * 86_400_000 },
  cache: {
    path: "/c",
    exists: true,
    bytes: 9.99e11,
    quarantined: ["/c.damaged-1"],
    loss: {
      atMs: NOW_MS - 9e7,
      finding: "f",
      copy: "/c.damaged-1",
      againFromUs: 0,
      knownBy: "mark",
      salvaged: 123_456,
    },
  },
  collecting: {
    fromMs: 0,
    okAtMs: NOW_MS - 40 * 86_400_000,
    failure: {
      reason: "Cannot read ActivityWatch at http://127.0.0.1:5600: no answer within 30 s or so and then some",
      sinceMs: NOW_MS - 9e7,
      atMs: NOW_MS,
      times: 9999,
    },
  },
  delivering: {
    deliveredAtMs: NOW_MS - 40 * 86_400_000,
    failure: {
      reason: "it answered 401",
      status: 401,
      hint: "Check SERVER_AUTH_TOKEN",
      sinceMs: NOW_MS - 9e7,
      atMs: NOW_MS,
      times: 9999,
    },
    nextTryAtMs: NOW_MS + 899_000,
    clockAheadMs: -999_999_999,
  },
  buckets: [{
    id: "aw-watcher-window_" + "long-name-of-a-device".repeat(5),
    type: "currentwindow",
    newestStartMs: NOW_MS - 41 * 86_400_000,
    newestEndMs: NOW_MS - 40.5 * 86_400_000,
    readAtMs: NOW_MS - 40.5 * 86_400_000,
    lagMs: 40.5 * 86_400_000,
    coveredFromMs: 0,
    coveredToMs: NOW_MS - 41 * 86_400_000,
    complete: false,
    waiting: 5_000_000,
    waitingBytes: 1e9,
    revisions: 12,
  }],
  outbox: { events: 5_000_000, bytes: 1e9, oldestMs: NOW_MS - 40.5 * 86_400_000 },
  deadLetters: 1234,
  revisions: 12,
  dropped: 77,
};

Deno.test("renderStatus() stays below 80 columns and has no control characters but new lines", () => {
  const text = renderStatus(FULL, judge(FULL, OPTIONS), { ...PLACES, colors: false });
  for (const line of text.split("\n")) {
    assert.ok(line.length < 80, `${line.length} columns: ${line}`);
    assert.doesNotMatch(line, /\p{Cc}/u);
    assert.equal(line, line.trimEnd());
  }
  assert.match(text, /^FAILING /);
  assert.match(text, /\nNext try +.* \(in 14 min\)\n/);
  assert.match(text, /5,000,000 events \(1\.0 GB\), the oldest for 40 d 12 h/);
  assert.match(text, / {2}40 d 12 h {2}still filling {3}5,000,000$/);
});

Deno.test("renderStatus() colours nothing but the level", () => {
  const verdict = judge(FULL, OPTIONS);
  const colored = renderStatus(FULL, verdict, { ...PLACES, colors: true });
  assert.ok(colored.startsWith("\x1b[31mFAILING\x1b[0m"));
  // deno-lint-ignore no-control-regex
  const stripped = colored.replace(/\x1b\[\d+m(?=[A-Z]+\x1b)|(?<=[A-Z])\x1b\[0m/g, "");
  assert.equal(stripped, renderStatus(FULL, verdict, { ...PLACES, colors: false }));
});

Deno.test("renderStatus() says within what time a running agent has read, beside it, and when one that fails has", () => {
  const report: Report = {
    ...FULL,
    aheadMs: 900_000,
    collecting: { okAtMs: NOW_MS - 61_000 },
    buckets: [{ ...FULL.buckets[0]!, lagMs: 61_000 }],
  };
  const render = (report: Report) =>
    renderStatus(report, judge(report, OPTIONS), { ...PLACES, colors: false });
  assert.match(render(report), /\nLast read +within the last 2 min from http/);
  assert.match(render(report), / {2}Read within {2}[^]* {2}2 min {2}/);
  const failing = render({ ...report, collecting: { ...FULL.collecting, okAtMs: NOW_MS - 61_000 } });
  assert.match(failing, /\nLast read +\d\d:\d\d \(1 min ago\) from http/);
});

/** The names in a value, with those inside; `null` and values alike. */
function shape(value: unknown): unknown {
  if (Array.isArray(value)) return value.slice(0, 1).map(shape);
  if (typeof value !== "object" || value === null) return "";
  return Object.fromEntries(Object.entries(value).map(([key, inner]) => [key, shape(inner)]));
}

Deno.test("statusJson() has the names that programs read, whether they are known or not", () => {
  const failure = { reason: "", status: "", hint: "", since: "", last_at: "", times: "" };
  const names = {
    schema_version: "",
    at: "",
    verdict: { level: "", line: "", findings: [{ code: "", level: "", message: "", hint: "" }] },
    agent: { running: "", pid: "", version: "", once: "", started_at: "", stopped_at: "" },
    collecting: { from: "", ok_at: "", failure },
    delivering: {
      endpoint_set: "",
      ok_at: "",
      delivered_at: "",
      failure,
      next_try_at: "",
      breaker_open: "",
      server_clock_ahead_seconds: "",
    },
    outbox: { events: "", bytes: "", oldest_at: "", oldest_age_seconds: "" },
    dead_letters: "",
    revisions: "",
    dropped: "",
    buckets: [{
      id: "",
      type: "",
      last_event_start: "",
      last_event_end: "",
      read_at: "",
      lag_seconds: "",
      covered_from: "",
      covered_to: "",
      complete: "",
      waiting: "",
      waiting_bytes: "",
      revisions: "",
    }],
    cache: {
      path: "",
      exists: "",
      bytes: "",
      free_bytes: "",
      problem: "",
      quarantined: [""],
      loss: { at: "", finding: "", copy: "", collected_again_from: "", salvaged: "" },
    },
  };
  const full = JSON.parse(JSON.stringify(statusJson(FULL, judge(FULL, OPTIONS), OPTIONS)));
  assert.deepEqual(shape(full), names);
  assert.equal(full.schema_version, 1);
  assert.equal(full.delivering.breaker_open, true);
  assert.equal(full.outbox.oldest_age_seconds, 40.5 * 86400);
  const empty: Report = {
    ...FULL,
    agent: undefined,
    collecting: {},
    delivering: {},
    buckets: [],
    outbox: { events: 0, bytes: 0 },
    cache: { path: "/c", exists: false, bytes: 0, quarantined: [] },
  };
  const nothing = JSON.parse(JSON.stringify(statusJson(empty, judge(empty, OPTIONS), OPTIONS)));
  assert.deepEqual(shape(nothing), {
    ...names,
    collecting: { ...names.collecting, failure: "" },
    delivering: { ...names.delivering, failure: "" },
    buckets: [],
    cache: { ...names.cache, quarantined: [], loss: "" },
  });
});
