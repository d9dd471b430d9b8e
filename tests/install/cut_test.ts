import assert from "node:assert/strict";
import { cutProgram } from "../../install/cut.ts";

const EMBEDDED = new TextEncoder().encode("d3n0l4nd what is embedded d3n0l4nd");

/** A 64-bit ELF file of nothing but its headers. */
function elf(tail: Uint8Array): Uint8Array {
  const bytes = new Uint8Array(128 + tail.length);
  const view = new DataView(bytes.buffer);
  bytes.set([0x7f, 0x45, 0x4c, 0x46, 2, 1]);
  view.setUint16(0x12, 0xb7, true);
  view.setBigUint64(0x28, 64n, true);
  view.setUint16(0x3a, 64, true);
  view.setUint16(0x3c, 1, true);
  bytes.set(tail, 128);
  return bytes;
}

Deno.test("cutProgram() takes an ELF program apart at the end of its section headers", () => {
  const { format, cpu, runtime, embedded } = cutProgram(elf(EMBEDDED));
  assert.deepEqual([format, cpu], ["ELF", "aarch64"]);
  assert.deepEqual(runtime, elf(new Uint8Array()));
  assert.deepEqual(embedded, EMBEDDED);
});

Deno.test("cutProgram() refuses what is no program, what is damaged, and what holds nothing of Deno's", () => {
  assert.throws(() => cutProgram(new Uint8Array(100)), /no 64-bit ELF, Mach-O or PE file/);
  assert.throws(() => cutProgram(new Uint8Array()), /no 64-bit ELF, Mach-O or PE file/);
  assert.throws(() => cutProgram(elf(EMBEDDED).subarray(0, 100)), /its ELF headers are damaged/);
  assert.throws(() => cutProgram(elf(new Uint8Array(8))), /nothing of Deno's is embedded in it/);
});
