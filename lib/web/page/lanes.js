// @ts-check
/// <reference lib="dom" />
import { color, el, replace } from "./dom.js";
import { clock, span, whole } from "./words.js";

/** How an event can stand, in the order of the legend. @type {Record<string, { text: string, legend: boolean }>} */
export const STANDINGS = {
  delivered: { text: "delivered", legend: true },
  waiting: { text: "waiting here", legend: true },
  dead: { text: "not accepted", legend: true },
  gone: { text: "delivered, no longer in ActivityWatch", legend: true },
  kept: { text: "kept here by your rules", legend: true },
  open: { text: "not final yet", legend: true },
  late: { text: "came late, read again soon", legend: false },
  before: { text: "from before the agent's time", legend: false },
};
/** The kinds of bucket, in the order of their lanes. */
const KINDS = { currentwindow: "Windows", "web.tab.current": "Web", afkstatus: "Presence" };
const PALETTE = 8;
const HOUR_MS = 3_600_000;
const LEAST_HOURS = 4;
/** The rows of a lane, in CSS pixels: ActivityWatch's, the server's, and the hours. */
const ROWS = { top: 18, height: 24, gap: 4 };

/** @param {string} text */
function hueOf(text) {
  let hash = 7;
  for (let i = 0; i < text.length; i++) hash = (hash * 31 + text.charCodeAt(i)) | 0;
  return `c${Math.abs(hash) % PALETTE}`;
}

/**
 * Draws one event of the server's row. Each standing has a shape of its own beside its colour.
 * @param {CanvasRenderingContext2D} pen @param {string} standing @param {(name: string) => string} ink
 * @param {number} x @param {number} y @param {number} width @param {number} height
 */
function drawStanding(pen, standing, ink, x, y, width, height) {
  const w = Math.max(1, width);
  if (standing === "delivered") {
    pen.fillStyle = ink("ok");
    pen.fillRect(x, y, w, height);
  } else if (standing === "waiting") {
    pen.fillStyle = ink("warn");
    pen.fillRect(x, y + height / 2, w, height / 2);
  } else if (standing === "dead") {
    pen.fillStyle = ink("bad");
    pen.fillRect(x, y, w, height / 3);
    pen.fillRect(x, y + height * 2 / 3, w, height / 3);
  } else if (standing === "gone") {
    pen.strokeStyle = ink("bad");
    pen.strokeRect(x + .5, y + .5, Math.max(1, w - 1), height - 1);
  } else if (standing === "kept") {
    pen.fillStyle = ink("kept");
    pen.fillRect(x, y + height - 3, w, 3);
  } else {
    pen.fillStyle = ink("kept");
    for (let at = x; at < x + w; at += 4) pen.fillRect(at, y + height / 2 - 1, Math.min(2, x + w - at), 2);
  }
}

/** The colours as they are now, light or dark, by their name in the style sheet. */
function inks() {
  /** @type {Map<string, string>} */
  const known = new Map();
  return (/** @type {string} */ name) => {
    const value = known.get(name) ?? color(name);
    known.set(name, value);
    return value;
  };
}

/** @param {HTMLCanvasElement} canvas @param {number} width @param {number} height */
function penOf(canvas, width, height) {
  const ratio = devicePixelRatio || 1;
  canvas.width = Math.round(width * ratio);
  canvas.height = Math.round(height * ratio);
  const pen = /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d"));
  pen.scale(ratio, ratio);
  pen.clearRect(0, 0, width, height);
  return pen;
}

/** A small picture of a standing, for the legend. @param {string} name */
export function swatch(name) {
  const canvas = /** @type {HTMLCanvasElement} */ (el("canvas", { "aria-hidden": "true" }));
  drawStanding(penOf(canvas, 26, 14), name, inks(), 0, 0, 26, 14);
  return canvas;
}

/**
 * Shows a day's buckets, each as two rows one above the other: what ActivityWatch has, and what the server has of it.
 * @param {HTMLElement} root
 */
export function createLanes(root) {
  /** @type {any} */
  let timeline;
  /** @type {Map<string, ReturnType<typeof createLane>>} */
  let lanes = new Map();

  return {
    /** @param {any} next */
    show(next) {
      timeline = next;
      const order = Object.keys(KINDS);
      const buckets = next.buckets.toSorted((/** @type {any} */ a, /** @type {any} */ b) =>
        order.indexOf(a.type) - order.indexOf(b.type)
      );
      const kept = new Map();
      for (const bucket of buckets) {
        const lane = lanes.get(bucket.id) ?? createLane();
        kept.set(bucket.id, lane);
      }
      const known = [...lanes.keys()].join("\n") === [...kept.keys()].join("\n");
      lanes = kept;
      // Elements that are there stay there: somebody may stand on one.
      if (!known) replace(root, ...[...lanes.values()].map(({ element }) => element));
      const day = { span: spanOf(next) };
      for (const bucket of next.buckets) lanes.get(bucket.id)?.show(bucket, day);
      if (lanes.size === 0) replace(root, "Nothing was collected yet.");
    },
    redraw() {
      if (timeline !== undefined) { for (const lane of lanes.values()) lane.draw(); }
    },
    clear() {
      timeline = undefined;
      lanes = new Map();
      replace(root);
    },
  };
}

/** The full hours that hold all events of a day, a few at least. @param {any} timeline */
function spanOf({ fromMs, toMs, buckets }) {
  const events = buckets.flatMap((/** @type {any} */ { events, gone }) => [...events, ...gone]);
  if (events.length === 0) return { fromMs, toMs };
  const starts = events.map((/** @type {any} */ { startMs }) => startMs);
  const ends = events.map((/** @type {any} */ { startMs, durationSeconds }) =>
    startMs + durationSeconds * 1000
  );
  const hour = (/** @type {number} */ ms, /** @type {number} */ more) => new Date(ms).setMinutes(more, 0, 0);
  const least = (/** @type {number[]} */ list) => list.reduce((a, b) => Math.min(a, b));
  const most = (/** @type {number[]} */ list) => list.reduce((a, b) => Math.max(a, b));
  const first = Math.max(fromMs, Math.min(hour(least(starts), 0), toMs - LEAST_HOURS * HOUR_MS));
  return {
    fromMs: first,
    toMs: Math.min(toMs, Math.max(hour(most(ends), 60), first + LEAST_HOURS * HOUR_MS)),
  };
}

function createLane() {
  /** @type {any} */
  let bucket;
  /** @type {any} */
  let day;
  /** The event that is pointed at, by its start: the list may grow. @type {number | undefined} */
  let at;
  const canvas = /** @type {HTMLCanvasElement} */ (el("canvas", {
    tabindex: "0",
    role: "slider",
    "aria-valuemin": "0",
    "aria-orientation": "horizontal",
  }));
  const name = el("span", {});
  const counts = el("span", { class: "quiet" });
  const details = el("output", { "aria-live": "off" });
  const totals = el("tbody", {});
  const element = el(
    "div",
    { class: "lane" },
    el("h3", {}, name, counts),
    el(
      "div",
      { class: "rows" },
      el(
        "div",
        { class: "names", "aria-hidden": "true" },
        el("span", {}, "ActivityWatch"),
        el("span", {}, "LifeLog"),
      ),
      canvas,
    ),
    details,
    el(
      "details",
      {},
      el("summary", {}, "As a table"),
      el(
        "table",
        {},
        el(
          "thead",
          {},
          el(
            "tr",
            {},
            el("th", { scope: "col" }, "What"),
            el("th", { scope: "col", class: "number" }, "Time"),
            el("th", { scope: "col", class: "number" }, "Events"),
            el("th", { scope: "col", class: "number" }, "Delivered"),
          ),
        ),
        totals,
      ),
    ),
  );

  const index = () => bucket.events.findIndex((/** @type {any} */ event) => event.startMs === at);
  /** @param {number} i */
  const point = (i) => {
    const { events } = bucket;
    if (events.length === 0) return;
    at = events[Math.max(0, Math.min(events.length - 1, i))].startMs;
    tell();
    draw();
  };

  function tell() {
    const i = at === undefined ? -1 : index();
    const { events } = bucket;
    const event = events[i];
    canvas.setAttribute("aria-valuemax", String(Math.max(0, events.length - 1)));
    canvas.setAttribute("aria-valuenow", String(Math.max(0, i)));
    if (event === undefined) {
      canvas.setAttribute("aria-valuetext", `${events.length} events; arrow keys go through them`);
      details.className = "quiet";
      replace(
        details,
        events.length === 0 ? "" : "Point at an event, or go through them with the arrow keys.",
      );
      return;
    }
    const { startMs, durationSeconds, label, title, standing, reduced } = event;
    const text = `${clock(startMs)}, ${span(durationSeconds * 1000)}: ${label || "(no name)"}${
      title ? ` — ${title}` : ""
    } (${STANDINGS[standing]?.text}${reduced ? ", reduced by your rules" : ""})`;
    details.className = "";
    canvas.setAttribute("aria-valuetext", text);
    replace(details, text);
  }

  function draw() {
    const width = canvas.clientWidth;
    if (width === 0) return;
    const ink = inks();
    const { top, height, gap } = ROWS;
    const full = top + 2 * height + gap + 4;
    const pen = penOf(canvas, width, full);
    const { fromMs, toMs } = day.span;
    const x = (/** @type {number} */ ms) => (ms - fromMs) / (toMs - fromMs) * width;
    pen.fillStyle = ink("empty");
    pen.fillRect(0, top, width, height);
    pen.fillRect(0, top + height + gap, width, height);
    // The hours, as many as have room.
    pen.font = "11px system-ui, sans-serif";
    const hours = Math.round((toMs - fromMs) / HOUR_MS);
    const step = [1, 2, 3, 4, 6, 12].find((step) => width / (hours / step) > 52) ?? 12;
    const first = new Date(fromMs);
    for (let hour = first.getHours(); hour < first.getHours() + hours; hour++) {
      if (hour % step !== 0) continue;
      const ms = new Date(first.getFullYear(), first.getMonth(), first.getDate(), hour).getTime();
      pen.fillStyle = ink("line");
      pen.fillRect(x(ms), top - 4, 1, 2 * height + gap + 4);
      pen.fillStyle = ink("quiet");
      pen.fillText(`${String(hour).padStart(2, "0")}:00`, x(ms) + 3, 11);
    }
    for (const event of bucket.events) {
      const from = x(event.startMs);
      const length = x(event.startMs + event.durationSeconds * 1000) - from;
      pen.globalAlpha = bucket.type === "afkstatus" && event.label === "afk" ? .25 : 1;
      pen.fillStyle = ink(bucket.type === "afkstatus" ? "c0" : hueOf(event.label));
      pen.fillRect(from, top, Math.max(1, length), height);
      pen.globalAlpha = 1;
      drawStanding(pen, event.standing, ink, from, top + height + gap, length, height);
    }
    for (const { startMs, durationSeconds } of bucket.gone) {
      const from = x(startMs);
      const length = x(startMs + durationSeconds * 1000) - from;
      drawStanding(pen, "gone", ink, from, top + height + gap, length, height);
    }
    const event = at === undefined ? undefined : bucket.events[index()];
    if (event !== undefined) {
      const from = x(event.startMs);
      pen.strokeStyle = ink("text");
      pen.lineWidth = 2;
      pen.strokeRect(
        from - 1,
        top - 2,
        Math.max(3, x(event.startMs + event.durationSeconds * 1000) - from + 2),
        2 * height + gap + 4,
      );
    }
  }

  function tabulate() {
    /** @type {Map<string, { seconds: number, events: number, delivered: number }>} */
    const sums = new Map();
    for (const { label, durationSeconds, standing } of bucket.events) {
      const sum = sums.get(label) ?? { seconds: 0, events: 0, delivered: 0 };
      sum.seconds += durationSeconds;
      sum.events++;
      if (standing === "delivered") sum.delivered++;
      sums.set(label, sum);
    }
    const rows = [...sums].sort(([, a], [, b]) => b.seconds - a.seconds).slice(0, 25);
    replace(
      totals,
      ...rows.map(([label, { seconds, events, delivered }]) =>
        el(
          "tr",
          {},
          el("th", { scope: "row" }, label || "(no name)"),
          el("td", { class: "number" }, span(seconds * 1000)),
          el("td", { class: "number" }, whole(events)),
          el("td", { class: "number" }, whole(delivered)),
        )
      ),
    );
  }

  canvas.addEventListener("keydown", (event) => {
    const i = at === undefined ? -1 : index();
    const last = bucket.events.length - 1;
    /** @type {Record<string, number>} */
    const to = {
      ArrowRight: i + 1,
      ArrowUp: i + 1,
      ArrowLeft: i === -1 ? last : i - 1,
      ArrowDown: i === -1 ? last : i - 1,
      PageDown: i + 10,
      PageUp: i - 10,
      Home: 0,
      End: last,
    };
    const next = to[event.key];
    if (next === undefined || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    point(next);
  });
  canvas.addEventListener("pointermove", (event) => {
    const { fromMs, toMs } = day.span;
    const ms = fromMs + event.offsetX / canvas.clientWidth * (toMs - fromMs);
    const i = bucket.events.findLastIndex((/** @type {any} */ { startMs }) => startMs <= ms);
    if (i >= 0) point(i);
  });

  return {
    element,
    draw,
    /** @param {any} nextBucket @param {any} nextDay */
    show(nextBucket, nextDay) {
      bucket = nextBucket;
      day = nextDay;
      const kind = KINDS[/** @type {keyof typeof KINDS} */ (bucket.type)] ?? bucket.type;
      replace(name, kind);
      name.title = bucket.id;
      canvas.setAttribute("aria-label", `${kind}: above in ActivityWatch, below at the server`);
      replace(
        counts,
        bucket.fault ??
          `${whole(bucket.events.length)} events${bucket.cut ? " at least" : ""}: ${
            Object.entries(bucket.counts).map(([standing, n]) =>
              `${whole(Number(n))} ${STANDINGS[standing]?.text}`
            )
              .join(", ") || "none yet"
          }`,
      );
      tell();
      tabulate();
      draw();
    },
  };
}
