/**
 * Writes a span of time with its one or two largest units.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * import { formatSpan } from "./words.ts";
 *
 * assert.equal(formatSpan(42_000), "42 s");
 * assert.equal(formatSpan(3_900_000), "1 h 5 min");
 * ```
 */
export function formatSpan(ms: number): string {
  const seconds = Math.max(0, Math.round(ms / 1000));
  if (seconds < 60) return `${seconds} s`;
  const minutes = Math.floor(seconds / 60);
  if (minutes < 60) return `${minutes} min`;
  const hours = Math.floor(minutes / 60);
  const two = (large: number, unit: string, small: number, smallUnit: string) =>
    small === 0 ? `${large} ${unit}` : `${large} ${unit} ${small} ${smallUnit}`;
  if (hours < 24) return two(hours, "h", minutes % 60, "min");
  return two(Math.floor(hours / 24), "d", hours % 24, "h");
}

/**
 * Writes a span that another is no longer than: rounded up.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * import { formatWithin } from "./words.ts";
 *
 * assert.equal(formatWithin(61_000), "2 min");
 * ```
 */
export function formatWithin(ms: number): string {
  const unitMs = ms > 59_000 ? 60_000 : 1000;
  return formatSpan(Math.max(1, Math.ceil(ms / unitMs)) * unitMs);
}

/**
 * Writes a number of bytes in the unit that fits, as file managers do.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * import { formatBytes } from "./words.ts";
 *
 * assert.equal(formatBytes(512), "512 B");
 * assert.equal(formatBytes(1_500_000), "1.5 MB");
 * ```
 */
export function formatBytes(bytes: number): string {
  const units = ["B", "kB", "MB", "GB", "TB"];
  let value = bytes;
  let unit = 0;
  while (value >= 999.5 && unit < units.length - 1) {
    value /= 1000;
    unit++;
  }
  return `${unit === 0 || value >= 100 ? Math.round(value) : value.toFixed(1)} ${units[unit]}`;
}

/** Writes a time in the clock of this place: `14:05` today, `2026-01-31 14:05` otherwise. */
export function formatTime(ms: number, nowMs: number): string {
  const pad = (n: number) => String(n).padStart(2, "0");
  const day = (d: Date) => `${d.getFullYear()}-${pad(d.getMonth() + 1)}-${pad(d.getDate())}`;
  const date = new Date(ms);
  const time = `${pad(date.getHours())}:${pad(date.getMinutes())}`;
  return day(date) === day(new Date(nowMs)) ? time : `${day(date)} ${time}`;
}

/** Writes a whole number with its thousands apart. */
export function formatNumber(number: number): string {
  return number.toLocaleString("en");
}

/** Writes a number of things: `1 event`, `2,000 events`. */
export function formatCount(number: number, noun: string): string {
  return `${formatNumber(number)} ${noun}${number === 1 ? "" : "s"}`;
}

const SGR = { green: 32, yellow: 33, red: 31, dim: 2 } as const;

/** A colour that every terminal has. */
export type Colour = keyof typeof SGR;

/** Gives a text a colour, where colours are wanted. */
export function paint(text: string, colour: Colour, colors: boolean): string {
  return colors ? `\x1b[${SGR[colour]}m${text}\x1b[0m` : text;
}

/** Sets rows under one another in columns, two blanks apart; the last one is as long as it is. */
export function table(rows: readonly (readonly string[])[]): string {
  const widths: number[] = [];
  for (const row of rows) row.forEach((cell, i) => widths[i] = Math.max(widths[i] ?? 0, cell.length));
  return rows.map((row) =>
    row.map((cell, i) => i === row.length - 1 ? cell : cell.padEnd(widths[i]!)).join("  ").trimEnd()
  ).join("\n");
}

/**
 * Breaks a text between words into lines of less than 80 columns, each but the first indented. A word that is longer,
 * such as a path, stays whole.
 * @param at the column that the first line begins in
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * import { wrap } from "./words.ts";
 *
 * assert.equal(wrap("two words", 4, 75), "two\n    words");
 * ```
 */
export function wrap(text: string, indent: number, at = 0): string {
  const lines: string[] = [];
  let line = "";
  for (const word of text.split(" ")) {
    const room = 79 - (lines.length === 0 ? at : indent);
    if (line !== "" && line.length + 1 + word.length > room) {
      lines.push(line);
      line = word;
    } else line = line === "" ? word : `${line} ${word}`;
  }
  return [...lines, line].join(`\n${" ".repeat(indent)}`);
}
