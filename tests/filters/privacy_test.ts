import assert from "node:assert/strict";
import type { ActivityEvent, Bucket, Policy } from "../../lib/event.ts";
import { createPolicy } from "../../lib/filters/privacy.ts";
import type { PresetName } from "../../lib/filters/presets.ts";
import { readRules, type RuleText } from "../../lib/filters/rule.ts";

const KEY = new Uint8Array(32).fill(7);
const S = 1_000_000;
const WINDOW: Bucket = { id: "aw-watcher-window_h", type: "currentwindow", hostname: "h", created: "" };
const WEB: Bucket = { id: "aw-watcher-web-firefox_h", type: "web.tab.current", hostname: "h", created: "" };
const AFK: Bucket = { id: "aw-watcher-afk_h", type: "afkstatus", hostname: "h", created: "" };

function policyOf(rules: readonly RuleText[], preset: PresetName = "full"): Policy {
  return createPolicy({ preset, own: readRules(rules, "test"), hashKey: () => KEY });
}

function event(data: unknown, fromSeconds = 0, durationSeconds = 60): ActivityEvent {
  return { startUs: fromSeconds * S, durationSeconds, data };
}

/** What leaves of an event: its data, or `undefined`. */
function left(
  policy: Policy,
  subject: ActivityEvent,
  bucket: Bucket,
  beside: [Bucket, ActivityEvent[]][] = [],
) {
  const around = policy.surround(beside.map(([bucket, events]) => ({ bucket, events })));
  return policy.judge(subject, bucket, around).event?.data;
}

const firefox = (title: string) => ({ app: "Firefox", title: `${title} — Mozilla Firefox` });

Deno.test("full leaves every event as it is, the same object", () => {
  const policy = policyOf([]);
  for (
    const [bucket, data] of [
      [WINDOW, { app: "A", title: "https://a.example/?q=1", url: "https://a.example/?q=1" }],
      [WEB, { title: "T", url: "https://u:p@a.example/b?c#d", incognito: true }],
      [AFK, { status: "afk" }],
      [WEB, [1, 2]],
      [WEB, null],
    ] as [Bucket, unknown][]
  ) {
    const subject = event(data);
    assert.equal(policy.judge(subject, bucket, policy.surround([])).event, subject);
  }
});

Deno.test("standard takes query, fragment and passwords from URLs, also from those in titles, and drops what is private", () => {
  const policy = policyOf([], "standard");
  const url = "https://u:p@a.example/b?c#d";
  assert.deepEqual(left(policy, event({ title: "T", url, audible: true }), WEB), {
    title: "T",
    url: "https://a.example/b",
  });
  assert.deepEqual(
    left(policy, event({ app: "Firefox", title: "a.example/b?secret=1 — Mozilla Firefox" }), WINDOW),
    {
      app: "Firefox",
      title: "a.example/b — Mozilla Firefox",
      url: undefined,
    },
  );
  assert.equal(left(policy, event({ title: "T", url, incognito: true }), WEB), undefined);
  assert.equal(left(policy, event({ app: "Safari", title: "T", url, incognito: true }), WINDOW), undefined);
  assert.equal(
    left(policy, event({ app: "firefox", title: "T — Mozilla Firefox Private Browsing" }), WINDOW),
    undefined,
  );
  assert.equal(
    left(policy, event({ app: "Google Chrome", title: "T - Google Chrome (Incognito)" }), WINDOW),
    undefined,
  );
  const unchanged = [
    [WINDOW, { app: "Code", title: "incognito.ts - Code" }],
    [WINDOW, { app: "Google-chrome", title: "Incognito (film) - Google Chrome" }],
    [WINDOW, { app: "Code", title: "Is C# / .NET right? a.b?" }],
    [WEB, { title: "T", url: "https://a.example/b" }],
    [AFK, { status: "not-afk" }],
  ] as [Bucket, unknown][];
  for (const [bucket, data] of unchanged) assert.equal(left(policy, event(data), bucket), data);
});

Deno.test("a private page in the web bucket drops the browser's window of that time, and no other window", () => {
  const policy = policyOf([], "standard");
  const page = event({ title: "Secret", url: "https://s.example/", incognito: true }, 10, 20);
  const next = event({ title: "News", url: "https://n.example/", incognito: false }, 30, 100);
  const beside: [Bucket, ActivityEvent[]][] = [[WEB, [page, next]]];
  assert.equal(left(policy, event(firefox("Secret"), 11, 18), WINDOW, beside), undefined);
  // Its title trails the page's by a moment.
  assert.equal(left(policy, event(firefox("Secret"), 30.5, 0.5), WINDOW, beside), undefined);
  assert.ok(left(policy, event(firefox("News"), 31, 50), WINDOW, beside));
  assert.ok(left(policy, event({ app: "Code", title: "main.ts" }, 11, 10), WINDOW, beside));
  assert.ok(left(policy, event({ app: "Google-chrome", title: "Docs" }, 11, 10), WINDOW, beside));
  // An application that nobody knows, with the page's title.
  assert.equal(left(policy, event({ app: "x11", title: "Secret" }, 11, 10), WINDOW, beside), undefined);
  assert.ok(left(policy, event(firefox("Before"), 0, 10), WINDOW, beside));
});

Deno.test("the title of a private page does not drop what stands near it and only holds the same word", () => {
  const policy = policyOf([], "standard");
  const chrome = { ...WEB, id: "aw-watcher-web-chrome_h" };
  const page = event({ title: "Google", url: "https://www.google.example/", incognito: true }, 0, 10);
  const next = event({ title: "Docs", url: "https://d.example/" }, 10, 600);
  const beside: [Bucket, ActivityEvent[]][] = [[chrome, [page, next]]];
  const near = (app: string, title: string) => left(policy, event({ app, title }, 10.5, 500), WINDOW, beside);
  assert.ok(near("Google-chrome", "Docs - Google Chrome"));
  assert.ok(near("Google-chrome", "Google Docs - Google Chrome"));
  assert.ok(near("firefox", "Google — Mozilla Firefox"));
  assert.ok(near("Code", "Google.md - Code"));
  assert.equal(near("Google-chrome", "Google - Google Chrome"), undefined);
});

Deno.test("a blink in common with a private page does not drop the window before or after it", () => {
  const policy = policyOf([], "standard");
  const page = event({ title: "Secret", url: "https://s.example/", incognito: true }, 10, 20);
  const next = event({ title: "News", url: "https://n.example/" }, 30, 1000);
  const beside: [Bucket, ActivityEvent[]][] = [[WEB, [page, next]]];
  const shown = (title: string, from: number, to: number) =>
    left(policy, event(firefox(title), from, to - from), WINDOW, beside) !== undefined;
  assert.equal(shown("News", 29.9, 900), true);
  assert.equal(shown("Before", 0, 10.2), true);
  assert.equal(shown("Before", 0, 11.5), false);
  // What is short itself, or shows the page by its title.
  assert.equal(shown("?", 29.5, 30.2), false);
  assert.equal(shown("Secret", 29.9, 40), false);
});

Deno.test("a page stays in view until the next one, up to the watcher's pulse time", () => {
  const policy = policyOf([], "standard");
  const page = event({ title: "S", url: "u", incognito: true }, 0, 0);
  assert.equal(left(policy, event(firefox("?"), 60, 5), WINDOW, [[WEB, [page]]]), undefined);
  assert.ok(left(policy, event(firefox("?"), 100, 5), WINDOW, [[WEB, [page]]]));
  const next = event({ title: "N", url: "v" }, 30, 100);
  assert.ok(left(policy, event(firefox("N"), 60, 5), WINDOW, [[WEB, [page, next]]]));
});

Deno.test("a rule for a domain acts on its pages and on the browser's window that shows them", () => {
  const policy = policyOf([{ domain: "bank.example", action: "redact" }]);
  const page = event({ title: "Account 123", url: "https://www.bank.example/a" }, 0, 60);
  assert.deepEqual(left(policy, page, WEB), { title: "[redacted]", url: null });
  const window = event(firefox("Account 123"), 1, 60);
  assert.deepEqual(left(policy, window, WINDOW, [[WEB, [page]]]), {
    app: "Firefox",
    title: "[redacted]",
    url: undefined,
  });
  assert.equal(left(policy, window, WINDOW), window.data);
  // Without a web watcher, where the title shows the address.
  const address = event({ app: "Firefox", title: "bank.example/login" });
  assert.deepEqual(left(policy, address, WINDOW), { app: "Firefox", title: "[redacted]", url: undefined });
  const other = event({ title: "T", url: "https://notbank.example/bank.example" });
  assert.equal(left(policy, other, WEB), other.data);
});

Deno.test("a rule for an application acts on the pages of that browser", () => {
  const policy = policyOf([{ app: "firefox*", action: "drop" }]);
  assert.equal(left(policy, event({ title: "T", url: "u" }), WEB), undefined);
  const chrome = { ...WEB, id: "aw-watcher-web-chrome_h" };
  assert.ok(left(policy, event({ title: "T", url: "u" }), chrome));
  const unknown = { ...WEB, id: "aw-watcher-web-other_h" };
  const window = event({ app: "Firefox", title: "x" });
  assert.equal(left(policy, event({ title: "T", url: "u" }), unknown, [[WINDOW, [window]]]), undefined);
});

Deno.test("where a title goes, so does the application's name that holds it", () => {
  const byTitle = policyOf([{ title: "*clinic*", action: "redact" }]);
  assert.deepEqual(left(byTitle, event({ app: "My Clinic", title: "My Clinic - appointments" }), WINDOW), {
    app: "[redacted]",
    title: "[redacted]",
    url: undefined,
  });
  const all = policyOf([{ action: "redact" }]);
  assert.deepEqual(left(all, event({ app: "Chrome - Inbox of Ann", title: "Inbox of Ann" }), WINDOW), {
    app: "[redacted]",
    title: "[redacted]",
    url: undefined,
  });
  assert.deepEqual(left(all, event({ app: "Spotify", title: "Spotify" }), WINDOW), {
    app: "Spotify",
    title: "[redacted]",
    url: undefined,
  });
});

Deno.test("hash gives one title one hash, with the device's key, and takes the URL", () => {
  const rules: RuleText[] = [{ action: "hash", keep_url: "origin" }];
  const one = left(policyOf(rules), event({ title: "T", url: "https://a.example/b" }), WEB);
  assert.deepEqual(left(policyOf(rules), event({ title: "T", url: "https://a.example/c" }), WEB), one);
  assert.match((one as { title: string }).title, /^hash:[0-9a-f]{24}$/);
  assert.equal((one as { url: string }).url, "https://a.example");
  const other = createPolicy({
    preset: "full",
    own: readRules(rules, "t"),
    hashKey: () => new Uint8Array(32),
  });
  assert.notDeepEqual(left(other, event({ title: "T", url: "https://a.example/b" }), WEB), one);
});

Deno.test("keep ends the reading for all that it fits, but not for what is private", () => {
  const policy = policyOf([{ domain: "work.example", action: "keep" }, { action: "drop" }], "standard");
  const page = event({ title: "W", url: "https://work.example/?q" }, 0, 60);
  assert.equal(left(policy, page, WEB), page.data);
  assert.equal(left(policy, event({ ...Object(page.data), incognito: true }), WEB), undefined);
  const window = event(firefox("W"), 0, 60);
  assert.equal(left(policy, window, WINDOW, [[WEB, [page]]]), window.data);
  // It showed another page as well.
  const bank = event({ title: "B", url: "https://bank.example/" }, 30, 60);
  assert.equal(left(policy, window, WINDOW, [[WEB, [page, bank]]]), undefined);
  const named = policyOf([{ incognito: true, domain: "work.example", action: "keep" }], "standard");
  const hidden = event({ ...Object(page.data), incognito: true });
  assert.equal(left(named, hidden, WEB), hidden.data);
});

Deno.test("the strictest of all rules that fit wins, and drop above all", () => {
  const rules: RuleText[] = [
    { action: "hash", keep_url: "path" },
    { title: "B*", action: "replace", replacement: "Private", keep_url: "origin" },
    { title: "*C", action: "drop" },
  ];
  const policy = policyOf(rules);
  const page = (title: string) => left(policy, event({ title, url: "https://a.example/b" }), WEB);
  assert.match(JSON.stringify(page("A")), /"hash:.*a\.example\/b"/);
  assert.deepEqual(page("B"), { title: "Private", url: "https://a.example" });
  assert.equal(page("BC"), undefined);
});

Deno.test("rules by afk act on what happened while nobody was there, and leave the afk events themselves", () => {
  const policy = policyOf([{ afk: true, action: "drop" }]);
  const away = event({ status: "afk" }, 100, 100);
  const beside: [Bucket, ActivityEvent[]][] = [[AFK, [event({ status: "not-afk" }, 0, 100), away]]];
  assert.ok(left(policy, event({ app: "A", title: "T" }, 0, 100), WINDOW, beside));
  assert.equal(left(policy, event({ app: "A", title: "T" }, 90, 20), WINDOW, beside), undefined);
  assert.equal(left(policy, away, AFK, beside), away.data);
});

Deno.test("a rule for a bucket acts on that bucket's events alone, by its id or its type", () => {
  const policy = policyOf([{ bucket: ["afkstatus", "aw-watcher-web-*"], action: "drop" }]);
  assert.equal(left(policy, event({ status: "afk" }), AFK), undefined);
  const page = event({ title: "Title", url: "u" });
  assert.equal(left(policy, page, WEB), undefined);
  assert.ok(left(policy, event(firefox("Title")), WINDOW, [[WEB, [page]]]));
});

Deno.test("minimal leaves applications and times; work takes titles of messages and the paths of URLs", () => {
  const minimal = policyOf([], "minimal");
  assert.equal(left(minimal, event({ title: "T", url: "u" }), WEB), undefined);
  assert.deepEqual(left(minimal, event({ app: "Code", title: "x", url: "https://a.example" }), WINDOW), {
    app: "Code",
    title: "[redacted]",
    url: null,
  });
  assert.ok(left(minimal, event({ status: "afk" }), AFK));
  const work = policyOf([], "work");
  assert.deepEqual(left(work, event({ app: "Signal", title: "Ann" }), WINDOW), {
    app: "Signal",
    title: "[redacted]",
    url: undefined,
  });
  assert.deepEqual(left(work, event({ title: "T", url: "https://a.example/b?c" }), WEB), {
    title: "T",
    url: "https://a.example",
  });
});

Deno.test("an event is not ready before the web bucket of its browser is known up to its end", () => {
  const policy = policyOf([], "standard");
  const at = (untilSeconds: number) =>
    policy.surround([{ bucket: WEB, events: [event({ title: "T", url: "u" }, 0, untilSeconds)] }]);
  const window = event(firefox("T"), 10, 50);
  assert.equal(policy.isReady(window, WINDOW, at(59)), false);
  assert.equal(policy.isReady(window, WINDOW, at(60)), true);
  assert.equal(policy.isReady(event({ app: "Code", title: "T" }, 10, 50), WINDOW, at(0)), true);
  assert.equal(policy.isReady(window, WINDOW, policy.surround([])), true);
  assert.equal(policy.isReady(event({ status: "afk" }), AFK, at(0)), true);
});

Deno.test("policies that judge otherwise have other fingerprints", () => {
  const prints = [
    policyOf([]),
    policyOf([], "standard"),
    policyOf([{ app: "a", action: "drop" }]),
    policyOf([{ app: "a", action: "redact" }]),
    policyOf([{ action: "hash" }]),
    createPolicy({
      preset: "full",
      own: readRules([{ action: "hash" }], "t"),
      hashKey: () => new Uint8Array(32),
    }),
  ].map(({ fingerprint }) => fingerprint);
  assert.equal(new Set(prints).size, prints.length);
  assert.equal(policyOf([]).fingerprint, prints[0]);
});
