// @ts-check
const UNITS = /** @type {const} */ ([["d", 86_400], ["h", 3_600], ["min", 60], ["s", 1]]);

/** A span of time in its largest unit or two: `42 s`, `1 h 5 min`. @param {number} ms */
export function span(ms) {
  const seconds = Math.max(0, Math.round(ms / 1000));
  const at = UNITS.findIndex(([, size]) => seconds >= size);
  if (at === -1) return "0 s";
  const [unit, size] = /** @type {[string, number]} */ (/** @type {unknown} */ (UNITS[at]));
  const next = UNITS[at + 1];
  const rest = next === undefined || unit === "min" ? 0 : Math.floor((seconds % size) / next[1]);
  return `${Math.floor(seconds / size)} ${unit}${rest > 0 && next ? ` ${rest} ${next[0]}` : ""}`;
}

const TIME = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit" });
const DATE_TIME = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "short" });
const SECONDS = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit", second: "2-digit" });
const DAY = new Intl.DateTimeFormat(undefined, {
  weekday: "long",
  day: "numeric",
  month: "long",
  timeZone: "UTC",
});

/** The time of day, with the date where it is not that of `besideMs`. @param {number} ms @param {number} [besideMs] */
export function clock(ms, besideMs) {
  if (besideMs === undefined) return SECONDS.format(ms);
  const same = new Date(ms).toDateString() === new Date(besideMs).toDateString();
  return (same ? TIME : DATE_TIME).format(ms);
}

/** @param {number} n */
export function whole(n) {
  return n.toLocaleString();
}

/** @param {string} day as `2026-01-31` @param {number} by */
export function shiftDay(day, by) {
  return new Date(Date.parse(`${day}T00:00:00Z`) + by * 86_400_000).toISOString().slice(0, 10);
}

/** @param {string} day */
export function dayName(day) {
  return DAY.format(Date.parse(`${day}T00:00:00Z`));
}
