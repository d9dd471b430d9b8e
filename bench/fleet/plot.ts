/** Lines over time, as an SVG that reads on light and on dark. */

/** One line. */
export interface Line {
  readonly name: string;
  readonly color: string;
  /** One value a minute. */
  readonly values: ArrayLike<number>;
}

/** One panel of a picture. */
export interface Panel {
  readonly title: string;
  readonly lines: readonly Line[];
  /** A level to be held against, with its name. */
  readonly level?: { readonly name: string; readonly value: number };
  /** A stretch of minutes that is shaded, with its name. */
  readonly shade?: { readonly name: string; readonly from: number; readonly until: number };
}

const WIDTH = 760;
const HEIGHT = 190;
const LEFT = 64;
const RIGHT = 14;
const TOP = 34;
const BOTTOM = 30;

/** Draws panels below one another. */
export function plot(title: string, panels: readonly Panel[]): string {
  const height = 36 + panels.length * HEIGHT;
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${height}" font-family="sans-serif" font-size="11">
<style>text{fill:#24292f}.rule{stroke:#d0d7de}.shade{fill:#f6d7d2}@media(prefers-color-scheme:dark){text{fill:#d1d7e0}.rule{stroke:#3d444d}.shade{fill:#4d2a26}}</style>
<text x="${LEFT}" y="20" font-size="14" font-weight="bold">${escaped(title)}</text>
${panels.map((panel, n) => `<g transform="translate(0 ${36 + n * HEIGHT})">${draw(panel)}</g>`).join("\n")}
</svg>
`;
}

function draw({ title, lines, level, shade }: Panel): string {
  const minutes = Math.max(...lines.map(({ values }) => values.length));
  const top = 1.08 *
    Math.max(level?.value ?? 0, ...lines.map(({ values }) => Math.max(...Array.from(values))));
  const x = (minute: number) => round(LEFT + (WIDTH - LEFT - RIGHT) * minute / minutes);
  const y = (value: number) => round(HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * value / (top || 1));
  const parts: string[] = [];
  if (shade !== undefined) {
    parts.push(
      `<rect class="shade" x="${x(shade.from)}" y="${TOP}" width="${
        round(x(shade.until) - x(shade.from))
      }" height="${HEIGHT - TOP - BOTTOM}"/>`,
      `<text x="${x(shade.from) + 4}" y="${TOP + 26}">${escaped(shade.name)}</text>`,
    );
  }
  for (const share of [0, 0.5, 1]) {
    const value = top / 1.08 * share;
    parts.push(
      `<line class="rule" x1="${LEFT}" x2="${WIDTH - RIGHT}" y1="${y(value)}" y2="${y(value)}"/>`,
      `<text x="${LEFT - 6}" y="${y(value) + 4}" text-anchor="end">${short(value)}</text>`,
    );
  }
  for (let hour = 0; hour <= minutes / 60; hour++) {
    parts.push(`<text x="${x(hour * 60)}" y="${HEIGHT - BOTTOM + 15}" text-anchor="middle">${hour} h</text>`);
  }
  if (level !== undefined) {
    parts.push(
      `<line x1="${LEFT}" x2="${WIDTH - RIGHT}" y1="${y(level.value)}" y2="${
        y(level.value)
      }" stroke="#8c959f" stroke-dasharray="5 4"/>`,
      `<text x="${WIDTH - RIGHT - 4}" y="${y(level.value) - 4}" text-anchor="end">${
        escaped(level.name)
      }</text>`,
    );
  }
  for (const { color, values } of lines) {
    const points = Array.from(values, (value, minute) => `${x(minute)},${y(value)}`);
    parts.push(`<polyline fill="none" stroke="${color}" stroke-width="1.4" points="${points.join(" ")}"/>`);
  }
  parts.push(`<text x="${LEFT}" y="${TOP - 10}" font-weight="bold">${escaped(title)}</text>`);
  let at = WIDTH - RIGHT;
  for (const { name, color } of [...lines].reverse()) {
    parts.push(
      `<text x="${at}" y="${TOP - 10}" text-anchor="end" style="fill:${color}">${escaped(name)}</text>`,
    );
    at -= 7 * name.length + 14;
  }
  return parts.join("");
}

const round = (value: number) => Math.round(value * 10) / 10;

function short(value: number): string {
  if (value >= 1e6) return `${Number((value / 1e6).toPrecision(3))}M`;
  if (value >= 1e3) return `${Number((value / 1e3).toPrecision(3))}k`;
  return String(Number(value.toPrecision(3)));
}

function escaped(text: string): string {
  return text.replaceAll("&", "&amp;").replaceAll("<", "&lt;");
}
