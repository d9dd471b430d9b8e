import assert from "node:assert/strict";
import { StoreError } from "../lib/errors.ts";
import { hashKeyFile, readHashKey, readOrCreateHashKey } from "../lib/paths.ts";

Deno.test("the key that titles are hashed with is made once, for its user alone, and never over another", async () => {
  const folder = await Deno.makeTempDir();
  try {
    const path = hashKeyFile(`${folder}/cache.sqlite`);
    assert.equal(readHashKey(path), undefined);
    const key = readOrCreateHashKey(path);
    assert.equal(key.length, 32);
    assert.ok(new Set(key).size > 8);
    assert.deepEqual(readOrCreateHashKey(path), key);
    assert.deepEqual(readHashKey(path), key);
    assert.deepEqual([...Deno.readDirSync(folder)].length, 1);
    if (Deno.build.os !== "windows") assert.equal(Deno.statSync(path).mode! & 0o777, 0o600);

    Deno.writeTextFileSync(path, "too short\n");
    assert.throws(() => readOrCreateHashKey(path), StoreError);
    assert.equal(Deno.readTextFileSync(path), "too short\n");
    assert.throws(() => readOrCreateHashKey(`${folder}/none/title-key`), StoreError);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});
