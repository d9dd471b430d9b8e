/** Prints what the privacy rules cost for each event: medians of five runs. */

import type { ActivityEvent, Bucket, Policy } from "../lib/event.ts";
import { createPolicy } from "../lib/filters/privacy.ts";
import type { PresetName } from "../lib/filters/presets.ts";
import { loadExpressions } from "../lib/filters/pattern.ts";
import { readRules, type RuleText } from "../lib/filters/rule.ts";
import { SECOND_US } from "../lib/time.ts";

const EVENTS = 20_000;
const RUNS = 5;
const WINDOW: Bucket = { id: "aw-watcher-window_h", type: "currentwindow", hostname: "h", created: "" };
const WEB: Bucket = { id: "aw-watcher-web-firefox_h", type: "web.tab.current", hostname: "h", created: "" };
const APPS = ["Firefox", "Code", "Slack", "Terminal", "Files"];

const windows: ActivityEvent[] = Array.from({ length: EVENTS }, (_, n) => ({
  startUs: n * 10 * SECOND_US,
  durationSeconds: 9.5,
  data: { app: APPS[n % APPS.length], title: `A window's title, of a usual length: ${n}` },
}));
const pages: ActivityEvent[] = Array.from({ length: EVENTS }, (_, n) => ({
  startUs: n * 10 * SECOND_US,
  durationSeconds: 9.5,
  data: {
    title: `A page's title ${n}`,
    url: `https://site${n % 50}.example/path/${n}?q=${n}`,
    incognito: false,
  },
}));

/** Twenty rules, as somebody careful may have. */
const TWENTY: RuleText[] = [
  ...Array.from(
    { length: 8 },
    (_, n): RuleText => ({ domain: [`bank${n}.example`, `*.clinic${n}.example`], action: "drop" }),
  ),
  ...Array.from(
    { length: 6 },
    (_, n): RuleText => ({ title: [`*invoice ${n}*`, `*salary ${n}*`], action: "redact" }),
  ),
  ...Array.from(
    { length: 4 },
    (_, n): RuleText => ({ title: `/\\b(secret${n}|private${n})\\b/`, action: "hash" }),
  ),
  { app: ["Slack", "*signal*"], time: "18:00-08:30", action: "drop" },
  { url: "*/admin/*", action: "url-origin" },
];

const expressions = await loadExpressions();

function policyOf(preset: PresetName, rules: RuleText[]): Policy {
  return createPolicy({
    preset,
    own: readRules(rules, "bench", expressions),
    hashKey: () => new Uint8Array(32),
  });
}

function measure(policy: Policy): number {
  const began = performance.now();
  const around = policy.surround([{ bucket: WEB, events: pages }]);
  for (const event of windows) policy.judge(event, WINDOW, around);
  const beside = policy.surround([{ bucket: WINDOW, events: windows }]);
  for (const event of pages) policy.judge(event, WEB, beside);
  return (performance.now() - began) * 1000 / (2 * EVENTS);
}

for (
  const [name, policy] of [
    ["full", policyOf("full", [])],
    ["standard", policyOf("standard", [])],
    ["work", policyOf("work", [])],
    ["20 rules", policyOf("standard", TWENTY)],
  ] as [string, Policy][]
) {
  const took = Array.from({ length: RUNS }, () => measure(policy)).sort((a, b) => a - b);
  console.log(`privacy ${name.padEnd(9)} ${took[RUNS >> 1]!.toFixed(1).padStart(5)} µs an event`);
}
