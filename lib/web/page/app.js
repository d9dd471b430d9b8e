// @ts-check
/// <reference lib="dom" />
/// <reference lib="dom.iterable" />
// The page of the agent's dashboard. It asks /board/* again and again while it is looked at, and shows what it gets
// as text only. No library but uPlot, which draws the two charts.

import { createCharts } from "./charts.js";
import { createLanes, STANDINGS, swatch } from "./lanes.js";
import { byId, el, replace } from "./dom.js";
import { clock, dayName, shiftDay, span, whole } from "./words.js";

const STATE_MS = 5_000;
const TIMELINE_MS = 30_000;
const HISTORY_MS = 60_000;
const LEVELS = { well: "✓", degraded: "!", failing: "✕" };

/** The day that is shown; `undefined` follows today. @type {string | undefined} */
let day;
let today = "";
/** How many requests in a row found nobody. */
let unanswered = 0;
/** @type {Map<string, number>} */
const dueAt = new Map();
const lanes = createLanes(byId("lanes"));
const charts = createCharts(byId("backlog"), byId("lag"));

class LoggedOut extends Error {}

/** @param {string} path @param {unknown} [body] @returns {Promise<any>} */
async function ask(path, body) {
  const response = await fetch(
    path,
    body === undefined
      ? { signal: AbortSignal.timeout(60_000) }
      : { method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify(body) },
  );
  if (response.status === 401) throw new LoggedOut((await response.json()).error);
  if (!response.ok) throw new Error((await response.json()).error);
  return await response.json();
}

/** @param {boolean} loggedIn */
function showBoard(loggedIn) {
  if (byId(loggedIn ? "board" : "login").hidden === false) return;
  byId("board").hidden = !loggedIn;
  byId("tools").hidden = !loggedIn;
  byId("login").hidden = loggedIn;
  if (!loggedIn) {
    byId("verdict").removeAttribute("data-level");
    replace(byId("verdict"), "Logged out");
    // Nothing of what was recorded stays in a page that was logged out.
    lanes.clear();
    for (const id of ["figures", "buckets", "dead", "privacy", "privacy-text", "reasons", "footer"]) {
      replace(byId(id));
    }
    byId("token").focus();
  }
}

/** @param {string} name @param {number} everyMs @param {() => Promise<void>} work */
async function every(name, everyMs, work) {
  if (document.hidden || performance.now() < (dueAt.get(name) ?? 0)) return;
  dueAt.set(name, performance.now() + everyMs);
  await work();
}

async function refresh() {
  // Who is logged out is not asked for again and again.
  if (!byId("login").hidden) return;
  try {
    await every("state", STATE_MS, async () => {
      showState(await ask("/board/state"));
      unanswered = 0;
    });
    await every("timeline", TIMELINE_MS, showTimeline);
    await every("history", HISTORY_MS, async () => charts.show(await ask("/board/history")));
  } catch (error) {
    if (error instanceof LoggedOut) {
      dueAt.clear();
      return showBoard(false);
    }
    unanswered++;
    if (unanswered > 1) {
      byId("verdict").dataset.level = "failing";
      replace(byId("verdict"), "✕ The agent does not answer: is it running?");
    }
  }
}

/** @param {any} state */
function showState(state) {
  showBoard(true);
  const { verdict, report, deadLetters, version, deviceId, delivers } = state;
  const line = `${LEVELS[/** @type {keyof typeof LEVELS} */ (verdict.level)]} ${verdict.line}`;
  const pill = byId("verdict");
  pill.dataset.level = verdict.level;
  // Written only when it is another, for it is read out each time.
  if (pill.textContent !== line) replace(pill, line);
  document.title = `${verdict.level === "well" ? "" : `(${verdict.level}) `}LifeLog agent`;
  replace(byId("updated"), `as of ${clock(report.atMs)}`);
  replace(
    byId("reasons"),
    ...verdict.findings.map((/** @type {any} */ { level, message, hint }) =>
      el("li", { "data-level": level }, el("strong", {}, message), hint ? ` — ${hint}` : "")
    ),
  );
  showFigures(report, delivers);
  showBuckets(report.buckets, report.atMs);
  showDeadLetters(deadLetters, report.atMs);
  replace(byId("footer"), `lifelog-agent ${version} · device ${deviceId} · cache ${report.cache.path}`);
  if (today !== state.today) {
    today = state.today;
    showDay();
  }
}

/** @param {any} report @param {boolean} delivers */
function showFigures(report, delivers) {
  const { atMs, outbox, collecting, delivering, buckets } = report;
  const ago = (/** @type {number | undefined} */ ms) => ms === undefined ? "never" : `${span(atMs - ms)} ago`;
  const lag = Math.max(...buckets.map((/** @type {any} */ bucket) => bucket.lagMs ?? 0), 0);
  const { failure, nextTryAtMs, deliveredAtMs } = delivering;
  /** @type {[string, string, string][]} */
  const figures = [
    [
      "Waiting",
      whole(outbox.events),
      outbox.oldestMs ? `the oldest for ${span(atMs - outbox.oldestMs)}` : "nothing",
    ],
    [
      "Last delivery",
      delivers ? ago(deliveredAtMs) : "off",
      delivers ? faultNote(failure, nextTryAtMs, atMs) : "no endpoint is set",
    ],
    [
      "Last read",
      ago(collecting.okAtMs),
      collecting.failure ? `fails since ${clock(collecting.failure.sinceMs, atMs)}` : "of ActivityWatch",
    ],
    ["Lag", buckets.length === 0 ? "–" : span(lag), "of the bucket furthest behind"],
    ["Dead letters", whole(report.deadLetters), "not accepted by the server"],
    ["Revisions", whole(report.revisions), "changed after delivery"],
  ];
  replace(
    byId("figures"),
    ...figures.map(([name, value, note]) =>
      el("div", {}, el("dt", {}, name), el("dd", {}, value), el("dd", { class: "note" }, note))
    ),
  );
}

/** @param {any} failure @param {number | undefined} nextTryAtMs @param {number} atMs */
function faultNote(failure, nextTryAtMs, atMs) {
  if (failure === undefined) return "the server takes events";
  if (nextTryAtMs === undefined || nextTryAtMs < atMs) return `fails since ${clock(failure.sinceMs, atMs)}`;
  return `next try in ${span(nextTryAtMs - atMs)}`;
}

/** @param {any[]} buckets @param {number} atMs */
function showBuckets(buckets, atMs) {
  const when = (/** @type {number | undefined} */ ms) => ms === undefined ? "–" : clock(ms, atMs);
  table(
    "buckets",
    ["Bucket", "Newest event", "Read", "Collected from", "to", "#Waiting", "#Revisions"],
    buckets.map((b) => [
      b.id,
      when(b.newestEndMs ?? b.newestStartMs),
      b.lagMs === undefined ? "never" : `${span(b.lagMs)} ago`,
      when(b.coveredFromMs),
      b.complete ? when(b.coveredToMs) : `${when(b.coveredToMs)}, gaps left`,
      whole(b.waiting),
      whole(b.revisions),
    ]),
    "No bucket was read yet.",
  );
}

/** @param {{ total: number, shown: any[] }} deadLetters @param {number} atMs */
function showDeadLetters({ total, shown }, atMs) {
  byId("retry-all").hidden = total === 0;
  byId("dead-scroll").hidden = total === 0;
  if (byId("dead-text").dataset.total !== String(total)) {
    byId("dead-text").dataset.total = String(total);
    replace(
      byId("dead-text"),
      total === 0
        ? "None: the server accepted everything that it was sent."
        : `${whole(total)} events that the server did not accept, kept here${
          total > shown.length ? `; the newest ${whole(shown.length)} are shown` : ""
        }. Retry puts them back in the queue.`,
    );
  }
  const focused = document.activeElement instanceof HTMLElement
    ? document.activeElement.dataset.seq
    : undefined;
  table(
    "dead",
    ["Event of", "Bucket", "Status", "Reason", "Since", ""],
    shown.map((letter) => [
      clock(letter.startMs, atMs),
      letter.bucket,
      letter.status === null ? "–" : String(letter.status),
      letter.reason,
      clock(letter.deadAtMs, atMs),
      // What has no form at the server was never sent, and would be none the better for it.
      letter.status === null ? "" : el(
        "button",
        {
          type: "button",
          "data-seq": String(letter.seq),
          "aria-label": `Retry the event of ${clock(letter.startMs, atMs)}`,
        },
        "Retry",
      ),
    ]),
    "",
  );
  // The table is made anew every few seconds: who stands on one of its buttons stays there.
  if (focused !== undefined) {
    /** @type {HTMLElement | null} */ (byId("dead").querySelector(`[data-seq="${CSS.escape(focused)}"]`))
      ?.focus();
  }
}

/** @param {{ name: string, kept: number, reduced: number }[]} rules @param {string} shown */
function showRules(rules, shown) {
  const sum = (/** @type {"kept" | "reduced"} */ what) => rules.reduce((sum, rule) => sum + rule[what], 0);
  replace(
    byId("privacy-text"),
    rules.length === 0
      ? `On ${dayName(shown)} your rules take nothing from what leaves this device.`
      : `On ${dayName(shown)} your rules, as they are now, keep ${
        whole(sum("kept"))
      } events here and take something from ${whole(sum("reduced"))} more.`,
  );
  byId("privacy-scroll").hidden = rules.length === 0;
  table(
    "privacy",
    ["Rule", "#Events kept here", "#Events reduced"],
    rules.map(({ name, kept, reduced }) => [name, whole(kept), whole(reduced)]),
    "",
  );
}

/**
 * Fills a table; a column's name that begins with # holds numbers.
 * @param {string} id @param {string[]} columns @param {(string | Node)[][]} rows @param {string} empty
 */
function table(id, columns, rows, empty) {
  const kind = (/** @type {number} */ i) => columns[i]?.startsWith("#") ? { class: "number" } : {};
  const head = columns.map((name, i) =>
    name === ""
      ? el("td", {}, el("span", { class: "hidden" }, "Action"))
      : el("th", { scope: "col", ...kind(i) }, name.replace("#", ""))
  );
  replace(
    byId(id),
    el("thead", {}, el("tr", {}, ...head)),
    el(
      "tbody",
      {},
      ...(rows.length === 0 && empty !== ""
        ? [el("tr", {}, el("td", { colspan: String(columns.length) }, empty))]
        : rows.map((cells) =>
          el(
            "tr",
            {},
            ...cells.map((cell, i) => i === 0 ? el("th", { scope: "row" }, cell) : el("td", kind(i), cell)),
          )
        )),
    ),
  );
}

async function showTimeline() {
  const asked = day;
  try {
    const timeline = await ask(`/board/timeline${asked === undefined ? "" : `?day=${asked}`}`);
    if (asked !== day) return;
    replace(byId("timeline-fault"));
    lanes.show(timeline);
    showRules(timeline.rules, timeline.day);
  } catch (error) {
    if (error instanceof LoggedOut) throw error;
    replace(byId("timeline-fault"), "The timeline could not be read.");
  }
}

function showDay() {
  replace(byId("day"), day === undefined ? `Today, ${dayName(today)}` : dayName(day));
  const shown = day ?? today;
  /** @type {HTMLButtonElement} */ (byId("day-before")).disabled = shown <= shiftDay(today, -6);
  /** @type {HTMLButtonElement} */ (byId("day-after")).disabled = day === undefined;
}

/** @param {number} by */
function goTo(by) {
  const next = shiftDay(day ?? today, by);
  day = next >= today ? undefined : next;
  lanes.clear();
  showDay();
  dueAt.delete("timeline");
  void refresh();
}

/** @param {string} token */
async function logIn(token) {
  try {
    await ask("/board/login", { token });
    replace(byId("login-fault"));
    /** @type {HTMLInputElement} */ (byId("token")).value = "";
    dueAt.clear();
    byId("login").hidden = true;
    await refresh();
    byId("content").focus();
  } catch (error) {
    showBoard(false);
    byId("login").hidden = false;
    replace(
      byId("login-fault"),
      error instanceof LoggedOut ? "This is not the token." : "The agent does not answer.",
    );
  }
}

/** @param {"all" | number[]} seqs */
async function retry(seqs) {
  try {
    const { put } = await ask("/board/dead-letters/retry", { seqs });
    byId("dead-text").dataset.total = "";
    dueAt.delete("state");
    await refresh();
    byId("dead-text").append(` ${whole(put)} put back in the queue.`);
    byId("content").focus();
  } catch {
    byId("dead-text").append(" That could not be done.");
  }
}

byId("login").addEventListener("submit", (event) => {
  event.preventDefault();
  void logIn(/** @type {HTMLInputElement} */ (byId("token")).value.trim());
});
byId("logout").addEventListener("click", async () => {
  await ask("/board/logout", {}).catch(() => {});
  dueAt.clear();
  showBoard(false);
});
byId("day-before").addEventListener("click", () => goTo(-1));
byId("day-after").addEventListener("click", () => goTo(1));
byId("retry-all").addEventListener("click", () => void retry("all"));
byId("dead").addEventListener("click", (event) => {
  const seq = event.target instanceof HTMLElement ? event.target.dataset.seq : undefined;
  if (seq !== undefined) void retry([Number(seq)]);
});
document.addEventListener("visibilitychange", () => void refresh());
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
  lanes.redraw();
  charts.redraw();
  showLegend();
});
addEventListener("resize", () => {
  lanes.redraw();
  charts.redraw();
});

function showLegend() {
  replace(
    byId("legend"),
    ...Object.entries(STANDINGS).filter(([, { legend }]) => legend).map(([name, { text }]) =>
      el("li", {}, swatch(name), text)
    ),
  );
}

showLegend();
// The token comes behind the #, which no browser sends anywhere, and leaves the address bar and the history at once.
const given = new URLSearchParams(location.hash.slice(1)).get("token");
if (given !== null) {
  history.replaceState(null, "", "/");
  await logIn(given);
} else {
  await refresh();
}
setInterval(() => void refresh(), 1_000);
