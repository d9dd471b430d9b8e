/** The parts of a source map that are read here. */
interface SourceMap {
  readonly version: 3;
  readonly sources: readonly string[];
  /** For each line of what was made, its places: their columns and where they come from, in base 64. */
  readonly mappings: string;
}

const DIGITS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/**
 * Leaves in a source map one place for each line, and neither names nor the sources themselves. The program reads a
 * map as soon as it loads the file that it belongs to, and the line is what one wants to know of a crash.
 */
export function linesOnly(text: string): string {
  const { version, sources, mappings }: SourceMap = JSON.parse(text);
  /** The source, its line and its column, each as the difference to the place before. */
  const at = [0, 0, 0];
  const written = [0, 0, 0];
  const lines = mappings.split(";").map((line) => {
    let first: number[] | undefined;
    for (const place of line.split(",")) {
      const fields = decode(place);
      if (fields.length < 4) continue;
      at.forEach((value, i) => at[i] = value + fields[i + 1]!);
      first ??= [...at];
    }
    if (first === undefined) return "";
    const differences = first.map((value, i) => value - written[i]!);
    first.forEach((value, i) => written[i] = value);
    return encode([0, ...differences]);
  });
  return JSON.stringify({ version, sources, names: [], mappings: lines.join(";") });
}

/** Reads numbers in base 64: five bits to a digit, the least first, the sign in the lowest bit. */
function decode(text: string): number[] {
  const numbers: number[] = [];
  let value = 0;
  let shift = 0;
  for (const digit of text) {
    const bits = DIGITS.indexOf(digit);
    value += (bits & 31) << shift;
    shift += 5;
    if (bits & 32) continue;
    numbers.push(value & 1 ? -(value >> 1) : value >> 1);
    value = shift = 0;
  }
  return numbers;
}

function encode(numbers: readonly number[]): string {
  let text = "";
  for (const number of numbers) {
    let value = number < 0 ? -number << 1 | 1 : number << 1;
    do {
      const more = value > 31 ? 32 : 0;
      text += DIGITS[value & 31 | more];
      value >>= 5;
    } while (value > 0);
  }
  return text;
}
