// @ts-check
/// <reference lib="dom" />
import { color, replace } from "./dom.js";
import { span, whole } from "./words.js";

/* global uPlot */

/** The steps that an axis may have: whole events, and times as clocks have them, in milliseconds. */
const COUNTS = [0, 1, 2, 3, 4, 5, 6].flatMap((power) => [1, 2, 5].map((n) => n * 10 ** power));
const SPANS = [1, 5, 15, 30, 60, 300, 900, 1800, 3600, 7200, 21_600, 43_200, 86_400, 604_800].map((s) =>
  s * 1000
);

/**
 * Two charts of the last 48 hours: what waits, and how far behind the agent is.
 * @param {HTMLElement} backlog @param {HTMLElement} lag
 */
export function createCharts(backlog, lag) {
  /** @type {any} */
  let history;

  /** @param {HTMLElement} root @param {{ label: string, ink: string, data: (number | null)[], value: (v: number) => string }[]} lines @param {number[]} incrs */
  function plot(root, lines, incrs) {
    const axis = {
      stroke: color("quiet"),
      grid: { stroke: color("line"), width: 1 },
      ticks: { stroke: color("line"), width: 1 },
      font: "12px system-ui, sans-serif",
    };
    const uPlot = /** @type {any} */ (globalThis).uPlot;
    replace(root);
    new uPlot(
      {
        width: Math.max(200, root.clientWidth),
        height: 180,
        cursor: { drag: { x: false, y: false } },
        scales: {
          y: {
            range: (
              /** @type {any} */ _,
              /** @type {number} */ __,
              /** @type {number} */ max,
            ) => [0, Math.max(1, max * 1.1)],
          },
        },
        axes: [axis, {
          ...axis,
          size: 64,
          incrs,
          values: (/** @type {any} */ _, /** @type {number[]} */ at) => at.map((v) => lines[0]?.value(v)),
        }],
        series: [
          { label: "Time" },
          ...lines.map(({ label, ink, value }, i) => ({
            label,
            stroke: color(ink),
            width: 2,
            dash: i === 0 ? [] : [6, 4],
            points: { show: false },
            value: (/** @type {any} */ _, /** @type {number | null} */ v) => v === null ? "–" : value(v),
          })),
        ],
      },
      [history.atMs.map((/** @type {number} */ ms) => ms / 1000), ...lines.map(({ data }) => data)],
      root,
    );
  }

  function draw() {
    if (history === undefined) return;
    const { waiting, dead, lagMs } = history;
    const most = Math.max(0, ...waiting);
    const longest = Math.max(0, ...lagMs.map((/** @type {number | null} */ ms) => ms ?? 0));
    replace(
      /** @type {Element} */ (document.getElementById("backlog-text")),
      `Events waiting: ${whole(waiting.at(-1) ?? 0)} now, ${whole(most)} at most in the last 48 hours`,
    );
    replace(
      /** @type {Element} */ (document.getElementById("lag-text")),
      `Lag: ${span(lagMs.at(-1) ?? 0)} now, ${span(longest)} at most in the last 48 hours`,
    );
    plot(backlog, [
      { label: "Waiting", ink: "c0", data: waiting, value: whole },
      { label: "Dead letters", ink: "bad", data: dead, value: whole },
    ], COUNTS);
    plot(lag, [{ label: "Lag", ink: "c0", data: lagMs, value: (v) => span(v) }], SPANS);
  }

  return {
    /** @param {any} next */
    show(next) {
      history = next;
      draw();
    },
    redraw: draw,
  };
}
