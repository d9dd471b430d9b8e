import assert from "node:assert/strict";
import type { BucketReport, Report } from "../../lib/status/report.ts";
import { judge } from "../../lib/status/verdict.ts";

const NOW_MS = 1_800_000_000_000;
const MINUTE_MS = 60_000;
const HOUR_MS = 60 * MINUTE_MS;
const OPTIONS = { delivers: true, collectionIntervalSeconds: 60, sendIntervalSeconds: 300 };

function bucket(change: Partial<BucketReport> = {}): BucketReport {
  return {
    id: "aw-watcher-window_h",
    type: "currentwindow",
    readAtMs: NOW_MS - 30_000,
    newestEndMs: NOW_MS - 31_000,
    complete: true,
    waiting: 0,
    waitingBytes: 0,
    revisions: 0,
    ...change,
  };
}

const AFK = bucket({ id: "aw-watcher-afk_h", type: "afkstatus" });
const WELL: Report = {
  atMs: NOW_MS,
  running: true,
  aheadMs: 0,
  agent: { pid: 1, version: "0", startedMs: NOW_MS - HOUR_MS },
  cache: { path: "c", exists: true, bytes: 1, quarantined: [] },
  collecting: { okAtMs: NOW_MS - 30_000 },
  delivering: { okAtMs: NOW_MS - 40_000 },
  buckets: [AFK, bucket()],
  outbox: { events: 0, bytes: 0 },
  deadLetters: 0,
  revisions: 3,
  dropped: 0,
};
const failure = (agoMs: number, hint?: string) => ({
  reason: "it answered 503",
  ...(hint === undefined ? {} : { hint }),
  sinceMs: NOW_MS - agoMs,
  atMs: NOW_MS,
  times: 3,
});
const waiting = { events: 10, bytes: 1000, oldestMs: NOW_MS - 5 * MINUTE_MS };

const LOSS = {
  atMs: NOW_MS - HOUR_MS,
  finding: "f",
  copy: "x",
  againFromUs: (NOW_MS - 50 * HOUR_MS) * 1000,
  knownBy: "mark",
  salvaged: 12,
} as const;

/** A change of what is well, and what it comes to. */
const CASES: readonly [string, Partial<Report>, string, "degraded" | "failing", Partial<typeof OPTIONS>?][] =
  [
    ["there is no cache", { cache: { ...WELL.cache, exists: false } }, "never-run", "failing"],
    [
      "the agent was stopped a moment ago",
      { running: false, agent: { ...WELL.agent!, stoppedMs: NOW_MS - MINUTE_MS } },
      "not-running",
      "degraded",
    ],
    [
      "the agent was stopped hours ago",
      { running: false, agent: { ...WELL.agent!, stoppedMs: NOW_MS - HOUR_MS } },
      "not-running",
      "failing",
    ],
    [
      "the agent was killed hours ago",
      { running: false, collecting: { okAtMs: NOW_MS - HOUR_MS } },
      "not-running",
      "failing",
    ],
    [
      "the cache cannot be read",
      { cache: { ...WELL.cache, problem: { message: "m" } } },
      "cache-unreadable",
      "failing",
    ],
    [
      "a damaged cache was made anew",
      { cache: { ...WELL.cache, quarantined: ["x"], loss: LOSS } },
      "cache-lost",
      "degraded",
    ],
    [
      "ActivityWatch has just gone",
      { collecting: { failure: failure(MINUTE_MS) } },
      "collecting-fails",
      "degraded",
    ],
    [
      "ActivityWatch has been down for an hour",
      { collecting: { failure: failure(HOUR_MS) } },
      "collecting-fails",
      "failing",
    ],
    [
      "the agent hangs",
      { collecting: { okAtMs: NOW_MS - 20 * MINUTE_MS } },
      "collecting-stalled",
      "failing",
    ],
    [
      "the window watcher has ended while the afk watcher goes on",
      { buckets: [AFK, bucket({ newestEndMs: NOW_MS - 3 * HOUR_MS })] },
      "watcher-silent",
      "degraded",
    ],
    [
      "both watchers have ended",
      {
        buckets: [
          { ...AFK, newestEndMs: NOW_MS - 2 * HOUR_MS },
          bucket({ newestEndMs: NOW_MS - 3 * HOUR_MS }),
        ],
      },
      "watchers-silent",
      "degraded",
    ],
    ["no endpoint is set", {}, "no-endpoint", "degraded", { delivers: false }],
    [
      "the server is down for an hour",
      { outbox: waiting, delivering: { failure: failure(HOUR_MS) } },
      "server-unavailable",
      "degraded",
    ],
    [
      "the server is down for days",
      { outbox: waiting, delivering: { failure: failure(50 * HOUR_MS) } },
      "server-unavailable",
      "failing",
    ],
    [
      "the server refuses the token",
      { outbox: waiting, delivering: { failure: failure(MINUTE_MS, "Check SERVER_AUTH_TOKEN") } },
      "server-refuses",
      "failing",
    ],
    [
      "events wait for long though nothing fails",
      { outbox: { ...waiting, oldestMs: NOW_MS - 3 * HOUR_MS } },
      "backlog",
      "degraded",
    ],
    [
      "the clock is off",
      { delivering: { okAtMs: NOW_MS, clockAheadMs: -10 * MINUTE_MS } },
      "clock-skew",
      "degraded",
    ],
    ["the disk is nearly full", { cache: { ...WELL.cache, freeBytes: 2e8 } }, "disk-low", "degraded"],
    ["the disk is full", { cache: { ...WELL.cache, freeBytes: 1e6 } }, "disk-low", "failing"],
    ["events are being dropped", { dropped: 5, outbox: waiting }, "events-dropped", "failing"],
    ["there are dead letters", { deadLetters: 2 }, "dead-letters", "degraded"],
  ];

Deno.test("judge() finds nothing where all is well, and says so in one line", () => {
  const { level, line, findings } = judge(WELL, OPTIONS);
  assert.deepEqual(findings, []);
  assert.equal(level, "well");
  assert.equal(line, "All well: recorded and delivered, read 30 s ago");
});

for (const [name, change, code, level, options] of CASES) {
  Deno.test(`judge() says that ${name}`, () => {
    const verdict = judge({ ...WELL, ...change }, { ...OPTIONS, ...options });
    assert.deepEqual(verdict.findings.map((f) => [f.code, f.level]), [[code, level]]);
    assert.equal(verdict.level, level);
    assert.equal(verdict.line, verdict.findings[0]!.message);
  });
}

Deno.test("judge() puts the worst first and counts the others", () => {
  const { level, line, findings } = judge(
    { ...WELL, deadLetters: 1, collecting: { failure: failure(HOUR_MS) } },
    OPTIONS,
  );
  assert.equal(level, "failing");
  assert.deepEqual(findings.map(({ code }) => code), ["collecting-fails", "dead-letters"]);
  assert.match(line, /for 1 h \(and 1 more\)$/);
});

Deno.test("judge() does not blame what is no fault", () => {
  const harmless: Partial<Report>[] = [
    // The device was asleep: nothing newer stands anywhere, and nobody has read it since.
    {
      buckets: [
        { ...AFK, newestEndMs: NOW_MS - 9 * HOUR_MS, readAtMs: NOW_MS - 9 * HOUR_MS },
        bucket({ newestEndMs: NOW_MS - 9 * HOUR_MS, readAtMs: NOW_MS - 9 * HOUR_MS }),
      ],
    },
    // A browser that is closed.
    { buckets: [AFK, bucket(), bucket({ type: "web.tab.current", newestEndMs: NOW_MS - 99 * HOUR_MS })] },
    // A backfill of hours is one pass.
    { collecting: {}, buckets: [bucket({ complete: false, readAtMs: undefined })] },
    // It is run once now and then.
    { running: false, agent: { ...WELL.agent!, once: true, stoppedMs: NOW_MS - 20 * HOUR_MS } },
    // Events were dropped in an outage that is over.
    { dropped: 5 },
    // What happened to the cache weeks ago.
    { cache: { ...WELL.cache, loss: { ...LOSS, atMs: NOW_MS - 400 * HOUR_MS } } },
    // An old fault of the server with nothing left to send.
    { delivering: { failure: failure(50 * HOUR_MS) } },
  ];
  for (const change of harmless) {
    assert.deepEqual(judge({ ...WELL, ...change }, OPTIONS).findings, []);
  }
});

Deno.test("judge() says of an agent's times that it notes seldom no more than is known", () => {
  const beside = (quietMs: number): Report => ({
    ...WELL,
    aheadMs: 15 * MINUTE_MS,
    collecting: { okAtMs: NOW_MS - quietMs },
  });
  assert.equal(
    judge(beside(13.5 * MINUTE_MS), OPTIONS).line,
    "All well: recorded and delivered, read within the last 14 min",
  );
  assert.equal(judge(beside(23 * MINUTE_MS), OPTIONS).level, "well");
  const { findings: [stalled] } = judge(beside(24 * MINUTE_MS), OPTIONS);
  assert.equal(stalled?.code, "collecting-stalled");
  // It has certainly not read for so long.
  assert.match(stalled.message, /for 9 min$/);
  const killed = { running: false, agent: WELL.agent, collecting: { okAtMs: NOW_MS - 20 * MINUTE_MS } };
  assert.equal(judge({ ...WELL, ...killed }, OPTIONS).level, "degraded");
});
