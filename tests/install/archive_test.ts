import assert from "node:assert/strict";
import { gunzipSync, inflateRawSync } from "node:zlib";
import { ar, tarGz, zip } from "../../install/archive.ts";

const text = (content: string) => new TextEncoder().encode(content);
const FILES = [
  { path: "folder/program", bytes: text("#!/bin/sh\n"), mode: 0o755 },
  { path: "README.md", bytes: text("r".repeat(600)) },
];
const OPTIONS = { timeSeconds: 1_760_000_000 };

Deno.test("tarGz() writes what tar reads, and the same bytes each time", () => {
  const packed = tarGz(FILES, { ...OPTIONS, folders: true });
  assert.deepEqual(packed, tarGz(FILES, { ...OPTIONS, folders: true }));
  const tar = gunzipSync(packed);
  const field = (at: number, length: number) => tar.subarray(at, at + length).toString().replace(/\0.*$/, "");
  const seen: string[] = [];
  for (let at = 0; field(at, 100) !== "";) {
    const size = parseInt(field(at + 124, 12), 8);
    const sum = tar.subarray(at, at + 512).reduce(
      (total, byte, i) => total + (i >= 148 && i < 156 ? 32 : byte),
      0,
    );
    assert.equal(parseInt(field(at + 148, 8), 8), sum);
    seen.push(`${field(at, 100)} ${field(at + 100, 8)} ${size} ${parseInt(field(at + 136, 12), 8)}`);
    at += 512 + Math.ceil(size / 512) * 512;
  }
  assert.deepEqual(seen, [
    "folder/ 0000755 0 1760000000",
    "folder/program 0000755 10 1760000000",
    "README.md 0000644 600 1760000000",
  ]);
});

Deno.test("zip() writes each file whole, with its name and mode", () => {
  const bytes = zip(FILES, OPTIONS);
  const view = new DataView(bytes.buffer);
  const end = bytes.length - 22;
  assert.equal(view.getUint32(end, true), 0x06054b50);
  let at = view.getUint32(end + 16, true);
  for (const { path, bytes: content, mode = 0o644 } of FILES) {
    assert.equal(view.getUint32(at, true), 0x02014b50);
    const packedSize = view.getUint32(at + 20, true);
    const nameLength = view.getUint16(at + 28, true);
    assert.equal(new TextDecoder().decode(bytes.subarray(at + 46, at + 46 + nameLength)), path);
    assert.equal(view.getUint32(at + 38, true) >>> 16, 0o100000 | mode);
    const local = view.getUint32(at + 42, true);
    const begin = local + 30 + view.getUint16(local + 26, true);
    assert.deepEqual(new Uint8Array(inflateRawSync(bytes.subarray(begin, begin + packedSize))), content);
    at += 46 + nameLength;
  }
});

Deno.test("ar() begins each member at an even byte", () => {
  const bytes = ar([{ path: "debian-binary", bytes: text("2.0") }, { path: "x", bytes: text("y") }], OPTIONS);
  const whole = new TextDecoder().decode(bytes);
  assert.match(whole, /^!<arch>\ndebian-binary {3}1760000000 +0 +0 +100644 +3 +`\n2\.0\nx +1760000000 /);
});

Deno.test("tarGz() refuses a path that its header cannot hold", () => {
  assert.throws(() => tarGz([{ path: "p".repeat(101), bytes: text("") }], OPTIONS), /the path is too long/);
});
