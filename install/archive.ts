/**
 * Writes tar, zip and ar archives that hold the same bytes whenever and wherever they are made from the same
 * files: names in the given order, one time for all, no owner.
 */

import { crc32, deflateRawSync, gzipSync } from "node:zlib";
import { concat } from "./bytes.ts";

/** A file of an archive. */
export interface ArchiveFile {
  /** Its path inside, with `/` between folders; the folders themselves are not entered unless asked for. */
  readonly path: string;
  readonly bytes: Uint8Array;
  /** Default: 0o644. */
  readonly mode?: number;
}

const encoder = new TextEncoder();

/** What an archive may be told. */
export interface ArchiveOptions {
  /** The time of every file, in seconds since 1970. */
  readonly timeSeconds: number;
  /** Enter the folders as well, as Debian's packages have them. Default: false. */
  readonly folders?: boolean;
}

/** Writes a tar archive in the ustar format, compressed by gzip. */
export function tarGz(files: readonly ArchiveFile[], options: ArchiveOptions): Uint8Array {
  const { timeSeconds, folders = false } = options;
  const parts: Uint8Array[] = [];
  const add = (path: string, kind: "0" | "5", mode: number, bytes: Uint8Array) => {
    if (encoder.encode(path).length > 100) {
      throw new RangeError(`Cannot archive "${path}" as the path is too long`);
    }
    const header = new Uint8Array(512);
    const put = (at: number, text: string) => header.set(encoder.encode(text), at);
    const octal = (value: number, digits: number) => value.toString(8).padStart(digits, "0");
    put(0, path);
    put(100, octal(mode, 7));
    put(108, octal(0, 7));
    put(116, octal(0, 7));
    put(124, octal(bytes.length, 11));
    put(136, octal(timeSeconds, 11));
    put(148, " ".repeat(8));
    put(156, kind);
    put(257, "ustar");
    put(263, "00");
    put(265, "root");
    put(297, "root");
    put(148, `${octal(header.reduce((sum, byte) => sum + byte, 0), 6)}\0`);
    parts.push(header, bytes, new Uint8Array((512 - bytes.length % 512) % 512));
  };
  const entered = new Set<string>();
  for (const { path, bytes, mode = 0o644 } of files) {
    const names = path.split("/").slice(0, -1);
    for (let depth = 1; folders && depth <= names.length; depth++) {
      const folder = `${names.slice(0, depth).join("/")}/`;
      if (!entered.has(folder)) add(folder, "5", 0o755, new Uint8Array());
      entered.add(folder);
    }
    add(path, "0", mode, bytes);
  }
  return gzip(concat([...parts, new Uint8Array(1024)]));
}

/** Compresses by gzip, without a name and a time in it. */
export function gzip(bytes: Uint8Array): Uint8Array {
  const packed = new Uint8Array(gzipSync(bytes, { level: 9 }));
  // The time, and the system that it was made on.
  packed.fill(0, 4, 8);
  packed[9] = 255;
  return packed;
}

/** Writes a zip archive. */
export function zip(files: readonly ArchiveFile[], options: ArchiveOptions): Uint8Array {
  const { date, time } = dosTime(options.timeSeconds);
  const local: Uint8Array[] = [];
  const central: Uint8Array[] = [];
  let at = 0;
  for (const { path, bytes, mode = 0o644 } of files) {
    const name = encoder.encode(path);
    const packed = deflateRawSync(bytes, { level: 9 });
    const common = numbers(
      [2, 20],
      [2, 0x800],
      [2, 8],
      [2, time],
      [2, date],
      [4, crc32(bytes)],
      [4, packed.length],
      [4, bytes.length],
      [2, name.length],
      [2, 0],
    );
    const header = concat([numbers([4, 0x04034b50]), common, name]);
    local.push(header, packed);
    central.push(
      numbers([4, 0x02014b50], [2, 0x0314]),
      common,
      numbers([2, 0], [2, 0], [2, 0], [4, (0o100000 | mode) * 0x10000], [4, at]),
      name,
    );
    at += header.length + packed.length;
  }
  const directory = concat(central);
  const end = numbers(
    [4, 0x06054b50],
    [2, 0],
    [2, 0],
    [2, files.length],
    [2, files.length],
    [4, directory.length],
    [4, at],
    [2, 0],
  );
  return concat([...local, directory, end]);
}

/** Writes an ar archive, the outer form of Debian's packages. */
export function ar(files: readonly ArchiveFile[], { timeSeconds }: ArchiveOptions): Uint8Array {
  const parts: Uint8Array[] = [encoder.encode("!<arch>\n")];
  for (const { path, bytes, mode = 0o644 } of files) {
    const header = path.padEnd(16) + String(timeSeconds).padEnd(12) + "0".padEnd(6) + "0".padEnd(6) +
      (0o100000 | mode).toString(8).padEnd(8) + String(bytes.length).padEnd(10) + "`\n";
    parts.push(encoder.encode(header), bytes, encoder.encode(bytes.length % 2 === 1 ? "\n" : ""));
  }
  return concat(parts);
}

/** Little-endian numbers of so many bytes each, one after another. */
function numbers(...values: readonly (readonly [bytes: number, value: number])[]): Uint8Array {
  return Uint8Array.from(
    values.flatMap(([bytes, value]) =>
      Array.from({ length: bytes }, (_, i) => Math.floor(value / 2 ** (8 * i)) & 255)
    ),
  );
}

/** The time as FAT has it: from 1980 on, every other second. */
function dosTime(timeSeconds: number): { date: number; time: number } {
  const at = new Date(Math.max(timeSeconds, 315532800) * 1000);
  return {
    date: (at.getUTCFullYear() - 1980) << 9 | (at.getUTCMonth() + 1) << 5 | at.getUTCDate(),
    time: at.getUTCHours() << 11 | at.getUTCMinutes() << 5 | at.getUTCSeconds() >> 1,
  };
}
