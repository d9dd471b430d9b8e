import assert from "node:assert/strict";
import { join } from "node:path";
import fc from "fast-check";
import { digestOf } from "../../lib/encode.ts";
import { SealError, StoreError } from "../../lib/errors.ts";
import { createCipher } from "../../lib/store/cipher.ts";
import { cover, ensureBucket } from "../../lib/store/cursors.ts";
import { openDatabase } from "../../lib/store/database.ts";
import { beginSealing, convert, unlock } from "../../lib/store/encryption.ts";
import { markFile } from "../../lib/store/mark.ts";
import { setMeta } from "../../lib/store/meta.ts";
import { addToOutbox, outboxDepth, peekOutbox } from "../../lib/store/outbox.ts";
import { openCache } from "../../lib/store/recover.ts";
import { textsOf } from "../fakes/entries.ts";

const KEY = new Uint8Array(32).fill(1);
const COUNT = 60;
const bodyOf = (n: number) => `{"n":${n},"x":"${"é".repeat(80)}"}`;
const BODIES = new Set(Array.from({ length: COUNT }, (_, n) => bodyOf(n)));

function makeCache(path: string, encrypted: boolean): void {
  using db = openDatabase(path);
  db.transaction(() => {
    setMeta(db, "collect_from_us", "0");
    const { id } = ensureBucket(db, { id: "b", type: "currentwindow", hostname: "x", created: "" });
    cover(db, id, { fromUs: 0, toUs: COUNT });
    for (let n = 0; n < COUNT; n++) {
      const version = { startUs: n, digest: digestOf(n), durationSeconds: 1 };
      addToOutbox(db, id, version, bodyOf(n), 0);
    }
  });
  if (!encrypted) return;
  beginSealing(db, KEY, 0);
  for (const _ of convert(db, KEY));
}

async function inFolder(act: (folder: string) => void): Promise<void> {
  const folder = await Deno.makeTempDir({ prefix: "lifelog-fuzz-" });
  try {
    act(folder);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

/** Opens what stands there as the agent does, and gives what it would send. */
function readAll(path: string): string[] {
  const { db: opened } = openCache(path, { cacheKey: KEY });
  using db = opened;
  unlock(db, KEY);
  outboxDepth(db);
  return textsOf(peekOutbox(db, -1, 1000, 1e9));
}

for (const encrypted of [false, true]) {
  Deno.test(`a cache with any of its bytes changed or cut off never sends what was not put in${encrypted ? ", sealed" : ""}`, () =>
    inFolder((folder) => {
      const original = join(folder, "original");
      makeCache(original, encrypted);
      const bytes = Deno.readFileSync(original);
      const change = fc.record({
        at: fc.nat(bytes.length - 1),
        length: fc.constantFrom(1, 1, 1, 8, 100, 4096),
        fill: fc.option(fc.nat(255), { nil: undefined }),
        cut: fc.option(fc.nat(bytes.length), { nil: undefined, freq: 8 }),
      });
      let run = 0;
      fc.assert(
        fc.property(fc.array(change, { minLength: 1, maxLength: 3 }), (changes) => {
          const path = join(folder, `cache-${run++}.sqlite`);
          let damaged = bytes.slice();
          for (const { at, length, fill, cut } of changes) {
            for (let n = at; n < Math.min(at + length, damaged.length); n++) {
              damaged[n] = fill ?? damaged[n]! ^ (1 << (n % 8));
            }
            if (cut !== undefined) damaged = damaged.slice(0, cut);
          }
          Deno.writeFileSync(path, damaged);
          try {
            for (const body of readAll(path)) assert.ok(BODIES.has(body), body);
          } catch (error) {
            // `KeyError` where the wrapped key is what was changed.
            assert.ok(
              error instanceof StoreError || (error as Error).name === "KeyError",
              `${(error as Error)?.stack}`,
            );
          }
        }),
        { numRuns: 40 },
      );
    }));
}

Deno.test("a cache that was cut off anywhere in its last pages is opened in bounded time", () =>
  inFolder((folder) => {
    const original = join(folder, "original");
    makeCache(original, false);
    const bytes = Deno.readFileSync(original);
    // Cut here, a search for the next row finds the same one again and again.
    for (let cut = bytes.length - 4096; cut < bytes.length; cut += 256) {
      const path = join(folder, `cache-${cut}.sqlite`);
      Deno.writeFileSync(path, bytes.slice(0, cut));
      for (const body of readAll(path)) assert.ok(BODIES.has(body), body);
    }
  }));

Deno.test("a cache, a mark and a lock of any bytes are no crash", () =>
  inFolder((folder) => {
    let run = 0;
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 5000 }), fc.uint8Array({ maxLength: 200 }), (cache, mark) => {
        const path = join(folder, `cache-${run++}.sqlite`);
        Deno.writeFileSync(path, cache);
        Deno.writeFileSync(markFile(path), mark);
        try {
          assert.deepEqual(readAll(path), []);
        } catch (error) {
          assert.ok(error instanceof StoreError, `${(error as Error)?.stack}`);
        }
      }),
      { numRuns: 40 },
    );
  }));

Deno.test("sealed bytes of any kind open as what was sealed or not at all", () => {
  const cipher = createCipher({ version: 1, bytes: KEY });
  const place = { seq: 1, bucketId: 1 };
  fc.assert(fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => {
    for (const stored of [bytes, new Uint8Array([1, 0, 0, 0, 1, ...bytes])]) {
      assert.throws(() => cipher.openBody(place, stored), SealError);
      assert.throws(() => cipher.openReason(1, stored), SealError);
    }
  }));
});
