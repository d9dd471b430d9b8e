/**
 * Takes a program that `deno compile` made apart again: into the runtime in front (denort) and what was put behind
 * it. What is undone here is what libsui 0.12.6, the library inside Deno 2.7.11, does to each format; putting
 * the two parts together again with that library gives the same program, to the byte.
 */

import { Buffer } from "node:buffer";
import { concat } from "./bytes.ts";

/** The formats of programs, by how they begin. */
export type Format = "ELF" | "Mach-O" | "PE";

/** What a compiled program is made of. */
export interface CompiledProgram {
  readonly format: Format;
  /** As the format's headers name it. */
  readonly cpu: "x86_64" | "aarch64";
  readonly runtime: Uint8Array;
  /** What Deno embedded: its settings, the modules and their packages. */
  readonly embedded: Uint8Array;
}

/** The name under which Deno embeds, which also begins and ends what it embeds. */
const MAGIC = "d3n0l4nd";

/**
 * Takes a compiled program apart.
 * @throws {RangeError} when it is of no known format, or nothing is embedded in it
 */
export function cutProgram(program: Uint8Array): CompiledProgram {
  const view = new DataView(program.buffer, program.byteOffset, program.byteLength);
  const first = program.length < 64 ? 0 : view.getUint32(0, true);
  const cut = first === 0x464c457f
    ? cutElf
    : first === 0xfeedfacf
    ? cutMachO
    : (first & 0xffff) === 0x5a4d
    ? cutPe
    : undefined;
  if (cut === undefined) {
    throw new RangeError("Cannot take the program apart as it is no 64-bit ELF, Mach-O or PE file");
  }
  try {
    const parts = cut(program, view);
    if (!isEmbedded(parts.embedded)) throw new RangeError("nothing of Deno's is embedded in it");
    return parts;
  } catch (error) {
    if (!(error instanceof RangeError)) throw error;
    throw new RangeError(`Cannot take the program apart as ${lowerFirst(error.message)}`, { cause: error });
  }
}

function isEmbedded(bytes: Uint8Array): boolean {
  const text = (at: number) => String.fromCharCode(...bytes.subarray(at, at + MAGIC.length));
  return text(0) === MAGIC && text(bytes.length - MAGIC.length) === MAGIC;
}

/** ELF: what a linker wrote ends with the table of section headers; all behind it was appended. */
function cutElf(program: Uint8Array, view: DataView): CompiledProgram {
  const machine = view.getUint16(0x12, true);
  const sections = Number(view.getBigUint64(0x28, true));
  const end = sections + view.getUint16(0x3a, true) * view.getUint16(0x3c, true);
  if (view.getUint16(4) !== 0x0201 || sections === 0 || end > program.length) {
    throw new RangeError("its ELF headers are damaged");
  }
  // A trailer of the length and a number, or a note, may stand around what is embedded.
  const rest = program.subarray(end);
  const begin = indexOf(rest, MAGIC);
  const last = lastIndexOf(rest, MAGIC);
  return {
    format: "ELF",
    cpu: machine === 0xb7 ? "aarch64" : "x86_64",
    runtime: program.subarray(0, end),
    embedded: begin < 0 ? new Uint8Array() : rest.subarray(begin, last + MAGIC.length),
  };
}

const LC_SEGMENT_64 = 0x19;
const LC_SYMTAB = 0x2;
const LC_DYSYMTAB = 0xb;
const LC_CODE_SIGNATURE = 0x1d;
/** Where, in each load command that points into __LINKEDIT, its offsets stand. */
const LINKEDIT_OFFSETS = new Map<number, readonly number[]>([
  [LC_SYMTAB, [8, 16]],
  [LC_DYSYMTAB, [32, 40, 48, 56, 64, 72]],
  [0x22, [8, 16, 24, 32, 40]], // LC_DYLD_INFO
  [0x80000022, [8, 16, 24, 32, 40]], // LC_DYLD_INFO_ONLY
  ...[LC_CODE_SIGNATURE, 0x26, 0x29, 0x2b, 0x2d, 0x36, 0x80000033, 0x80000034].map((command) =>
    [command, [8]] as const
  ),
]);
const CPU_ARM64 = 0x0100000c;
/** Ends the runtime of an x86_64 program; the length of what is embedded, in 8 bytes, follows. */
const SENTINEL = new Uint8Array([...new TextEncoder().encode("<~sui-data~>"), 0xef, 0xbe, 0xad, 0xde]);

interface LoadCommand {
  readonly kind: number;
  readonly at: number;
  readonly size: number;
  /** Of a segment. */
  readonly name: string;
}

function cutMachO(program: Uint8Array, view: DataView): CompiledProgram {
  const commands: LoadCommand[] = [];
  let at = 32;
  for (let left = view.getUint32(16, true); left > 0; left--) {
    const kind = view.getUint32(at, true);
    const size = view.getUint32(at + 4, true);
    if (size < 8) throw new RangeError("its load commands are damaged");
    const name = kind === LC_SEGMENT_64 ? textOf(program.subarray(at + 8, at + 24)) : "";
    commands.push({ kind, at, size, name });
    at += size;
  }
  return view.getUint32(4, true) === CPU_ARM64
    ? cutMachOArm64(program, view, commands)
    : cutMachOX64(program, commands);
}

/**
 * In arm64 programs a segment __SUI stands before __LINKEDIT, whose offsets are moved behind it, and the signature
 * was made anew. The runtime comes out without a signature: `deno compile` signs what it makes of it.
 */
function cutMachOArm64(
  program: Uint8Array,
  view: DataView,
  commands: readonly LoadCommand[],
): CompiledProgram {
  const sui = commands.find(({ name }) => name === "__SUI");
  const linkedit = commands.find(({ name }) => name === "__LINKEDIT");
  const signature = commands.find(({ kind }) => kind === LC_CODE_SIGNATURE);
  if (sui === undefined || linkedit === undefined || signature === undefined) {
    throw new RangeError("its segments __SUI and __LINKEDIT, or its signature, are missing");
  }
  const u64 = (offset: number) => Number(view.getBigUint64(offset, true));
  const [memory, from, length] = [u64(sui.at + 32), u64(sui.at + 40), u64(sui.at + 48)];
  const embedded = program.subarray(from, from + u64(sui.at + 112));
  const signedTo = view.getUint32(signature.at + 8, true);
  const commandsEnd = 32 + view.getUint32(20, true);

  const head = program.slice(0, commandsEnd);
  const headView = new DataView(head.buffer);
  for (const { kind, at } of commands) {
    for (const offset of LINKEDIT_OFFSETS.get(kind) ?? []) {
      const value = view.getUint32(at + offset, true);
      if (value >= from + length) headView.setUint32(at + offset, value - length, true);
    }
  }
  headView.setUint32(signature.at + 12, 0, true);
  const linkeditFrom = u64(linkedit.at + 40) - length;
  const linkeditLength = BigInt(signedTo - length - linkeditFrom);
  headView.setBigUint64(linkedit.at + 24, BigInt(u64(linkedit.at + 24) - memory), true);
  headView.setBigUint64(linkedit.at + 32, linkeditLength, true);
  headView.setBigUint64(linkedit.at + 40, BigInt(linkeditFrom), true);
  headView.setBigUint64(linkedit.at + 48, linkeditLength, true);
  headView.setUint32(16, commands.length - 1, true);
  headView.setUint32(20, commandsEnd - 32 - sui.size, true);
  const runtime = concat([
    head.subarray(0, sui.at),
    head.subarray(sui.at + sui.size),
    new Uint8Array(sui.size),
    program.subarray(commandsEnd, from),
    program.subarray(from + length, signedTo),
  ]);
  return { format: "Mach-O", cpu: "aarch64", runtime, embedded };
}

/** In x86_64 programs what is embedded stands behind a sentinel, and __LINKEDIT was lengthened over it. */
function cutMachOX64(program: Uint8Array, commands: readonly LoadCommand[]): CompiledProgram {
  const end = lastIndexOf(program, SENTINEL);
  if (end < 0) throw new RangeError("the sentinel before what is embedded is missing");
  const runtime = program.slice(0, end);
  const view = new DataView(runtime.buffer);
  const whole = new DataView(program.buffer, program.byteOffset, program.byteLength);
  const begin = end + SENTINEL.length + 8;
  const length = Number(whole.getBigUint64(begin - 8, true));
  for (const { kind, at, name } of commands) {
    if (name === "__LINKEDIT") {
      const size = BigInt(end) - view.getBigUint64(at + 40, true);
      view.setBigUint64(at + 32, size, true);
      view.setBigUint64(at + 48, size, true);
    }
    if (kind === LC_SYMTAB) view.setUint32(at + 20, end - view.getUint32(at + 16, true), true);
  }
  return { format: "Mach-O", cpu: "x86_64", runtime, embedded: program.subarray(begin, begin + length) };
}

/** In PE programs a last section `.pedata` was added as the directory of resources, of which there was none. */
function cutPe(program: Uint8Array, view: DataView): CompiledProgram {
  const coff = view.getUint32(0x3c, true) + 4;
  const sections = view.getUint16(coff + 2, true);
  const optional = coff + 20;
  const last = optional + view.getUint16(coff + 16, true) + 40 * (sections - 1);
  const length = view.getUint32(last + 16, true);
  const from = view.getUint32(last + 20, true);
  if (textOf(program.subarray(last, last + 8)) !== ".pedata" || from + length !== program.length) {
    throw new RangeError("its last section is not that of embedded resources");
  }
  const runtime = program.slice(0, from);
  const runtimeView = new DataView(runtime.buffer);
  runtimeView.setUint16(coff + 2, sections - 1, true);
  runtime.fill(0, last, last + 40);
  // The directory of resources, and the size of the image in memory.
  runtime.fill(0, optional + 128, optional + 136);
  runtimeView.setUint32(optional + 56, view.getUint32(optional + 56, true) - length, true);
  const section = program.subarray(from);
  return {
    format: "PE",
    cpu: view.getUint16(coff, true) === 0xaa64 ? "aarch64" : "x86_64",
    runtime,
    embedded: section.subarray(Math.max(0, indexOf(section, MAGIC))),
  };
}

function textOf(bytes: Uint8Array): string {
  const end = bytes.indexOf(0);
  return new TextDecoder().decode(end < 0 ? bytes : bytes.subarray(0, end));
}

function indexOf(bytes: Uint8Array, text: string): number {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).indexOf(text);
}

function lastIndexOf(bytes: Uint8Array, found: string | Uint8Array): number {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).lastIndexOf(found);
}

function lowerFirst(text: string): string {
  return text.charAt(0).toLowerCase() + text.slice(1);
}
