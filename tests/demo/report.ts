/** What the demo prints at its end: the day as the server has it, and the table of fidelity. */

/** Paints text for a terminal, or leaves it as it is. */
export interface Paint {
  readonly bold: (text: string) => string;
  readonly dim: (text: string) => string;
  readonly green: (text: string) => string;
  readonly red: (text: string) => string;
  readonly yellow: (text: string) => string;
}

/** Colours where `colour` is set. */
export function paintFor(colour: boolean): Paint {
  const style = (code: number) => (text: string) => colour ? `\x1b[${code}m${text}\x1b[0m` : text;
  return { bold: style(1), dim: style(2), green: style(32), red: style(31), yellow: style(33) };
}

/** An event as the server stored it. */
export interface ReceivedEvent {
  readonly timestamp: string;
  readonly type: string;
  readonly data: Record<string, unknown>;
}

const COLUMN_MS = 2 * 60_000;
const HOUR_MS = 3_600_000;

interface Span {
  readonly fromMs: number;
  readonly toMs: number;
  readonly name: string;
}

/** Draws a line for each hour that has events: two minutes a column, the app that was in front the longest. */
export function timeline(events: readonly ReceivedEvent[], paint: Paint): string[] {
  const spans = (type: string, name: "app" | "title") =>
    events.filter((event) => event.type === type).map(({ timestamp, data }): Span => {
      const fromMs = Date.parse(timestamp);
      return { fromMs, toMs: fromMs + Number(data.duration_seconds) * 1000, name: String(data[name]) };
    });
  const windows = spans("desktop_activity.window", "app");
  const away = spans("desktop_activity.afk", "title").filter(({ name }) => name === "afk");
  const letters = lettersFor(windows.map(({ name }) => name));
  const lines: string[] = [];
  const firstMs = Math.floor(Math.min(...windows.map(({ fromMs }) => fromMs)) / HOUR_MS) * HOUR_MS;
  const lastMs = Math.max(...windows.map(({ toMs }) => toMs));
  for (let hourMs = firstMs; hourMs < lastMs; hourMs += HOUR_MS) {
    let bar = "";
    for (let atMs = hourMs; atMs < hourMs + HOUR_MS; atMs += COLUMN_MS) {
      const [top] = sharesOf(windows, atMs, atMs + COLUMN_MS);
      const awayMs = sharesOf(away, atMs, atMs + COLUMN_MS)[0]?.[1] ?? 0;
      bar += awayMs > COLUMN_MS / 2 ? "·" : top === undefined ? " " : letters.get(top[0])!;
    }
    const top = sharesOf(windows, hourMs, hourMs + HOUR_MS, away).slice(0, 3)
      .map(([name, ms]) => `${name} ${Math.round(ms / 60_000)} min`).join(", ");
    const count = events.filter(({ timestamp }) => {
      const ms = Date.parse(timestamp);
      return ms >= hourMs && ms < hourMs + HOUR_MS;
    }).length;
    const hour = new Date(hourMs).toISOString().slice(11, 16);
    lines.push(`  ${hour}  ${bar}  ${String(count).padStart(3)} events  ${paint.dim(top)}`);
  }
  const legend = [...letters].map(([name, letter]) => `${letter} ${name}`).join("  ");
  return [...lines, `         ${paint.dim(`${legend}  · away`)}`];
}

/** The time that each name has in [fromMs, toMs) beside `without`, longest first. */
function sharesOf(spans: readonly Span[], fromMs: number, toMs: number, without: readonly Span[] = []) {
  const shares = new Map<string, number>();
  const overlap = (a: { fromMs: number; toMs: number }, b: Span) =>
    Math.max(0, Math.min(a.toMs, b.toMs) - Math.max(a.fromMs, b.fromMs));
  for (const span of spans) {
    const part = { fromMs: Math.max(span.fromMs, fromMs), toMs: Math.min(span.toMs, toMs) };
    if (part.toMs <= part.fromMs) continue;
    const ms = part.toMs - part.fromMs - without.reduce((sum, other) => sum + overlap(part, other), 0);
    if (ms > 0) shares.set(span.name, (shares.get(span.name) ?? 0) + ms);
  }
  return [...shares].sort((a, b) => b[1] - a[1]);
}

/** A letter of its own for each name, from its own letters where they are free. */
function lettersFor(names: readonly string[]): Map<string, string> {
  const letters = new Map<string, string>();
  for (const name of new Set(names)) {
    const taken = new Set(letters.values());
    const free = [...name.toUpperCase(), ..."ABCDEFGHIJKLMNOPQRSTUVWXYZ"].find((c) => !taken.has(c));
    letters.set(name, free ?? "?");
  }
  return letters;
}

/** What the table counts for one bucket. */
export interface Counts {
  readonly inActivityWatch: number;
  readonly tooShort: number;
  readonly received: number;
  readonly lost: number;
  readonly repeated: number;
  readonly wrongDuration: number;
  readonly unknown: number;
}

/** Tells whether the server has exactly what it should. */
export function isExact({ lost, repeated, wrongDuration, unknown }: Counts): boolean {
  return lost + repeated + wrongDuration + unknown === 0;
}

/** Adds counts up. */
export function sum(all: readonly Counts[]): Counts {
  const add = (field: keyof Counts) => all.reduce((total, counts) => total + counts[field], 0);
  return {
    inActivityWatch: add("inActivityWatch"),
    tooShort: add("tooShort"),
    received: add("received"),
    lost: add("lost"),
    repeated: add("repeated"),
    wrongDuration: add("wrongDuration"),
    unknown: add("unknown"),
  };
}

/** Draws the table: a column for each kind of event and one for all. */
export function fidelityTable(byKind: Readonly<Record<string, Counts>>, paint: Paint): string[] {
  const columns = { ...byKind, all: sum(Object.values(byKind)) };
  const rows: [label: string, field: keyof Counts, mustBeZero: boolean][] = [
    ["events in ActivityWatch", "inActivityWatch", false],
    ["shorter than 5 s, left out by AW_MIN_DURATION_SECONDS", "tooShort", false],
    ["received by the LifeLog server", "received", false],
    ["lost", "lost", true],
    ["repeated", "repeated", true],
    ["wrong duration", "wrongDuration", true],
    ["not in ActivityWatch", "unknown", true],
  ];
  const head = `  ${"".padEnd(56)}${Object.keys(columns).map((name) => name.padStart(8)).join("")}`;
  return [
    paint.bold(head),
    ...rows.map(([label, field, mustBeZero]) => {
      const figures = Object.values(columns).map((counts) => {
        const text = String(counts[field]).padStart(8);
        return !mustBeZero ? text : counts[field] === 0 ? paint.green(text) : paint.red(text);
      });
      return `  ${label.padEnd(56)}${figures.join("")}`;
    }),
  ];
}
