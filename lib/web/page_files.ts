import plotScript from "uplot/script" with { type: "text" };
import plotStyle from "uplot/style" with { type: "text" };
import type { PageFile } from "./handler.ts";
import app from "./page/app.js" with { type: "text" };
import charts from "./page/charts.js" with { type: "text" };
import dom from "./page/dom.js" with { type: "text" };
import icon from "./page/icon.svg" with { type: "text" };
import html from "./page/index.html" with { type: "text" };
import lanes from "./page/lanes.js" with { type: "text" };
import style from "./page/style.css" with { type: "text" };
import words from "./page/words.js" with { type: "text" };

const SCRIPT = "text/javascript; charset=utf-8";
const STYLE = "text/css; charset=utf-8";

/** The page's files as they stand in the program, by the path under which they are given. */
export const PAGE_FILES: ReadonlyMap<string, PageFile> = new Map([
  ["/", { type: "text/html; charset=utf-8", text: html }],
  ["/icon.svg", { type: "image/svg+xml", text: icon }],
  ["/style.css", { type: STYLE, text: style }],
  ["/uplot.css", { type: STYLE, text: plotStyle }],
  ["/uplot.js", { type: SCRIPT, text: plotScript }],
  ["/app.js", { type: SCRIPT, text: app }],
  ["/charts.js", { type: SCRIPT, text: charts }],
  ["/dom.js", { type: SCRIPT, text: dom }],
  ["/lanes.js", { type: SCRIPT, text: lanes }],
  ["/words.js", { type: SCRIPT, text: words }],
]);
