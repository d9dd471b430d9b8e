/** The table that the fault tests print when they have run. */

/** A row: the fault, and what came of it by column. */
export type FaultRow = Readonly<Record<string, string | number>>;

const MAX_CELL = 110;

function shorten(cell: string): string {
  const text = cell.replace(/^agent: /, "").replace("Cannot deliver to the LifeLog server: ", "… ")
    // Temporary folders tell nothing.
    .replace(/"\/[^"]*\/(?=[^"\/]*")/g, '"…/');
  return text.length > MAX_CELL ? `${text.slice(0, MAX_CELL - 1)}…` : text;
}

/** Collects rows and prints them after the last test of the file. */
export function faultTable(title: string): (fault: string, row: FaultRow) => void {
  const rows: Record<string, string>[] = [];
  Deno.test.afterAll(() => {
    if (rows.length === 0) return;
    const columns = Object.keys(rows[0]!);
    const widths = columns.map((column) =>
      Math.max(column.length, ...rows.map((row) => row[column]?.length ?? 0))
    );
    const line = (cells: readonly string[]) =>
      cells.map((cell, n) => cell.padEnd(widths[n]!)).join(" | ").trimEnd();
    console.log(`\n${title}\n`);
    console.log(line(columns));
    console.log(widths.map((width) => "-".repeat(width)).join("-|-"));
    for (const row of rows) console.log(line(columns.map((column) => row[column] ?? "")));
  });
  return (fault, row) => {
    rows.push({
      fault,
      ...Object.fromEntries(Object.entries(row).map(([name, cell]) => [name, shorten(String(cell))])),
    });
  };
}
