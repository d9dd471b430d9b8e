/** What a benchmark prints, and writes to RESULTS.md. */
export class Report {
  readonly #lines: string[] = [];

  #add(...lines: string[]): void {
    this.#lines.push(...lines);
    for (const line of lines) console.log(line);
  }

  heading(text: string): void {
    this.#add("", `## ${text}`, "");
  }

  text(text: string): void {
    this.#add(text, "");
  }

  /** A table; what is no text is written with three significant digits. */
  table(head: readonly string[], rows: readonly (readonly (string | number)[])[]): void {
    const cells = [
      head,
      ...rows.map((row) => row.map((cell) => typeof cell === "number" ? figure(cell) : cell)),
    ];
    const widths = head.map((_, column) => Math.max(3, ...cells.map((row) => (row[column] ?? "").length)));
    const line = (row: readonly string[]) =>
      `| ${
        widths.map((width, column) =>
          column === 0 ? (row[column] ?? "").padEnd(width) : (row[column] ?? "").padStart(width)
        ).join(" | ")
      } |`;
    const rule = `| ${
      widths.map((width, column) => column === 0 ? "-".repeat(width) : `${"-".repeat(width - 1)}:`).join(
        " | ",
      )
    } |`;
    this.#add(line(cells[0] as string[]), rule, ...cells.slice(1).map((row) => line(row as string[])), "");
  }

  markdown(): string {
    return `${this.#lines.join("\n").replace(/\n{3,}/g, "\n\n").trim()}\n`;
  }
}

/** A number for people: three significant digits, and commas between thousands. */
export function figure(value: number): string {
  if (!Number.isFinite(value)) return "–";
  if (value !== 0 && Math.abs(value) < 0.001) return value.toExponential(1);
  const rounded = Number(value.toPrecision(3));
  return rounded.toLocaleString("en", { maximumFractionDigits: 3 });
}

export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 === 1 ? sorted[middle]! : (sorted[middle - 1]! + sorted[middle]!) / 2;
}

export function percentile(values: readonly number[], share: number): number {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? NaN;
}

/**
 * Runs each of several ways `runs` times, one after the other in turn, so that whatever else the machine does meets
 * all of them alike; returns all results by name.
 */
export async function interleaved<T>(
  runs: number,
  ways: Readonly<Record<string, () => Promise<T>>>,
): Promise<Record<string, T[]>> {
  const results: Record<string, T[]> = Object.fromEntries(Object.keys(ways).map((name) => [name, []]));
  for (let run = 0; run < runs; run++) {
    for (const [name, way] of Object.entries(ways)) results[name]!.push(await way());
  }
  return results;
}
