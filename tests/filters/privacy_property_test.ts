import assert from "node:assert/strict";
import fc from "fast-check";
import { encodeEvent } from "../../lib/encode.ts";
import type { ActivityEvent, Bucket, BucketType, Policy } from "../../lib/event.ts";
import { loadExpressions } from "../../lib/filters/pattern.ts";
import { createPolicy } from "../../lib/filters/privacy.ts";
import { PRESET_NAMES } from "../../lib/filters/presets.ts";
import { readRules, type RuleText } from "../../lib/filters/rule.ts";

const expressions = await loadExpressions();

const S = 1_000_000;
const CANARY = "canary7f3a";
const BUCKETS: Record<BucketType, Bucket> = {
  "currentwindow": { id: "aw-watcher-window_h", type: "currentwindow", hostname: "h", created: "" },
  "web.tab.current": { id: "aw-watcher-web-firefox_h", type: "web.tab.current", hostname: "h", created: "" },
  "afkstatus": { id: "aw-watcher-afk_h", type: "afkstatus", hostname: "h", created: "" },
};

function policyOf(rules: readonly RuleText[], preset: typeof PRESET_NAMES[number]): Policy {
  return createPolicy({
    preset,
    own: readRules(rules, "test", expressions),
    hashKey: () => new Uint8Array(32),
  });
}

/** Any text around the canary, in any case: rules mind neither. */
const withCanary = fc.tuple(fc.string({ unit: "grapheme" }), fc.boolean(), fc.string({ unit: "grapheme" }))
  .map(([before, loud, after]) => `${before}${loud ? CANARY.toUpperCase() : CANARY}${after}`);
/** A value that may be what a watcher records, or anything else, or hold the canary deep inside. */
const value = fc.oneof(
  fc.string({ unit: "grapheme" }),
  withCanary,
  fc.webUrl({ withQueryParameters: true, withFragments: true }),
  fc.tuple(fc.webUrl(), withCanary).map(([url, text]) => `${url}/${encodeURIComponent(text)}?${text}`),
  fc.jsonValue() as fc.Arbitrary<unknown>,
  withCanary.map((text) => ({ deep: [text] })),
  fc.constant(null),
  fc.constant(undefined),
);
const app = fc.oneof(fc.constantFrom("Firefox", "firefox.exe", "Google-chrome", "Code", "Signal"), value);
const data = fc.oneof(
  {
    weight: 9,
    arbitrary: fc.record({ app, title: value, url: value, incognito: fc.oneof(fc.boolean(), value) }, {
      requiredKeys: [],
    }),
  },
  { weight: 1, arbitrary: fc.jsonValue() as fc.Arbitrary<unknown> },
);
const event: fc.Arbitrary<ActivityEvent> = fc.record({
  startUs: fc.integer({ min: 0, max: 600 }).map((s) => s * S),
  durationSeconds: fc.oneof(fc.integer({ min: -5, max: 900 }), fc.double({ min: 0, max: 60, noNaN: true })),
  data,
});
const action = fc.constantFrom("drop", "redact", "replace", "hash");
const rule: fc.Arbitrary<RuleText> = fc.tuple(
  fc.record({
    app: fc.constantFrom("*", "fire*", `*${CANARY}*`),
    title: fc.constantFrom("*", `*${CANARY}*`, `/${CANARY}/`, "a*"),
    url: fc.constantFrom("*", `*${CANARY}*`, "/[?#]/"),
    domain: fc.constantFrom("example.org", "*.com", `/${CANARY}/`),
    bucket: fc.constantFrom("*", "currentwindow", "aw-watcher-web-*"),
    time: fc.constantFrom("00:00-12:00", "23:00-01:00"),
    days: fc.constantFrom("mon", ["thu", "sun"]),
    afk: fc.boolean(),
    incognito: fc.boolean(),
  }, { requiredKeys: [] }),
  fc.constantFrom("drop", "redact", "replace", "hash", "url-path", "url-origin", "keep"),
).map(([conditions, action]) => ({
  ...conditions,
  action: action as RuleText["action"],
  ...(action === "replace" ? { replacement: "Private" } : {}),
}));

/** All that would be sent. */
function bodiesOf(
  policy: Policy,
  windows: ActivityEvent[],
  pages: ActivityEvent[],
  afk: ActivityEvent[] = [],
) {
  const around = policy.surround([
    { bucket: BUCKETS.currentwindow, events: windows },
    { bucket: BUCKETS["web.tab.current"], events: pages },
    { bucket: BUCKETS.afkstatus, events: afk },
  ]);
  const all: [BucketType, ActivityEvent[]][] = [
    ["currentwindow", windows],
    ["web.tab.current", pages],
    ["afkstatus", afk],
  ];
  return all.flatMap(([type, events]) =>
    events.flatMap((event) => {
      const left = policy.judge(event, BUCKETS[type], around).event;
      const body = left && encodeEvent(left, type);
      return body === undefined ? [] : [body];
    })
  );
}

const leaks = (bodies: string[]) => bodies.filter((body) => body.toLowerCase().includes(CANARY));

Deno.test("judge() is pure and total: any data and any rules give an answer, the same each time, and change nothing", () => {
  fc.assert(
    fc.property(
      fc.array(rule, { maxLength: 4 }),
      fc.constantFrom(...PRESET_NAMES),
      fc.array(event, { maxLength: 6 }),
      fc.array(event, { maxLength: 6 }),
      fc.array(event, { maxLength: 3 }),
      (rules, preset, windows, pages, afk) => {
        const policy = policyOf(rules, preset);
        const before = JSON.stringify([windows, pages, afk]);
        const bodies = bodiesOf(policy, windows, pages, afk);
        assert.deepEqual(bodiesOf(policyOf(rules, preset), windows, pages, afk), bodies);
        assert.equal(JSON.stringify([windows, pages, afk]), before);
      },
    ),
    { numRuns: 400 },
  );
});

Deno.test("what a rule for a title takes away stands in no field of any event", () => {
  fc.assert(
    fc.property(
      action,
      fc.constantFrom(`*${CANARY}*`, `/${CANARY}/`),
      fc.array(event, { maxLength: 5 }),
      fc.array(event, { maxLength: 5 }),
      (action, title, windows, pages) => {
        const rules = [{ title, action, ...(action === "replace" ? { replacement: "Private" } : {}) }];
        const shown = (events: ActivityEvent[]) =>
          // The canary stands in the title, and wherever else it likes.
          events.filter(({ data }) => holds((data as { title?: unknown } | null)?.title));
        const policy = policyOf(rules as RuleText[], "full");
        assert.deepEqual(leaks(bodiesOf(policy, shown(windows), shown(pages))), []);
      },
    ),
    { numRuns: 600 },
  );
});

Deno.test("what a rule for a domain hides, the window that shows the page does not tell", () => {
  fc.assert(
    fc.property(
      action,
      fc.array(fc.tuple(fc.integer({ min: 0, max: 600 }), fc.integer({ min: 0, max: 60 }), withCanary), {
        maxLength: 6,
      }),
      fc.constantFrom("Firefox", "firefox-esr", "librewolf", "Some Browser"),
      (action, visits, app) => {
        const pages = visits.map(([at, duration, title]) => ({
          startUs: at * S,
          durationSeconds: duration,
          data: { title, url: `https://secret.example/${encodeURIComponent(title)}` },
        }));
        // The window's title trails the page's.
        const windows = pages.map(({ startUs, durationSeconds, data }) => ({
          startUs: startUs + S / 2,
          durationSeconds,
          data: { app, title: `${data.title} — ${app}` },
        }));
        const rules = [{
          domain: "secret.example",
          action,
          ...(action === "replace" ? { replacement: "P" } : {}),
        }];
        assert.deepEqual(leaks(bodiesOf(policyOf(rules as RuleText[], "full"), windows, pages)), []);
      },
    ),
    { numRuns: 300 },
  );
});

Deno.test("no preset but full sends what stands in a query, a fragment or a password, not even in a title", () => {
  const secret = fc.stringMatching(/^[a-z0-9._~-]{0,8}$/).map((text) => `${text}${CANARY}`);
  const url = fc.tuple(
    fc.constantFrom(
      "https://a.example/b",
      "http://a.example",
      "view-source:https://a.example/",
      "localhost:8000/x",
    ),
    fc.constantFrom("?q=", "#", "/?"),
    secret,
  ).map(([base, sign, text]) => `${base}${sign}${text}`);
  const login = secret.map((text) => `https://${text}:${text}@a.example/`);
  fc.assert(
    fc.property(fc.oneof(url, login), fc.constantFrom("standard", "work", "minimal"), (url, preset) => {
      const at = { startUs: 0, durationSeconds: 9 };
      const pages = [{ ...at, data: { title: `${url} loading`, url } }, { ...at, data: { title: "T", url } }];
      const windows = [
        { ...at, data: { app: "Safari", title: "T", url } },
        { ...at, data: { app: "Firefox", title: `${url} — Mozilla Firefox` } },
        { ...at, data: { app: `Firefox ${url}`, title: "T" } },
      ];
      assert.deepEqual(leaks(bodiesOf(policyOf([], preset as "work"), windows, pages)), []);
    }),
    { numRuns: 300 },
  );
});

Deno.test("minimal lets nothing leave but applications, times and whether somebody was there", () => {
  fc.assert(
    fc.property(fc.array(event, { maxLength: 6 }), fc.array(event, { maxLength: 6 }), (windows, pages) => {
      const named = windows.map((event) => ({ ...event, data: { ...Object(event.data), app: "App" } }));
      for (const body of bodiesOf(policyOf([], "minimal"), named, pages)) {
        const { type, data } = JSON.parse(body);
        assert.equal(type, "desktop_activity.window");
        assert.deepEqual([data.app, data.url], ["App", null]);
        assert.ok(data.title === null || data.title === "[redacted]");
      }
    }),
    { numRuns: 300 },
  );
});

function holds(value: unknown): boolean {
  return (JSON.stringify(value) ?? "").toLowerCase().includes(CANARY);
}
