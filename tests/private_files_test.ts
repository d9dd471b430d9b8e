import assert from "node:assert/strict";
import { join } from "node:path";
import { StoreError } from "../lib/errors.ts";
import {
  checkPrivateFolder,
  guardCacheFiles,
  makePrivateFile,
  refuseForeignFile,
} from "../lib/private_files.ts";

const ignore = Deno.build.os === "windows";
const modeOf = (path: string) => Deno.lstatSync(path).mode! & 0o777;

async function inFolder(act: (folder: string) => void): Promise<void> {
  const folder = await Deno.makeTempDir({ prefix: "lifelog-private-" });
  try {
    act(folder);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

Deno.test({
  name: "makePrivateFile() makes a file for its user alone and closes one that others can read",
  ignore,
}, () =>
  inFolder((folder) => {
    const path = join(folder, "a");
    makePrivateFile(path);
    assert.equal(modeOf(path), 0o600);
    Deno.writeTextFileSync(path, "kept");
    Deno.chmodSync(path, 0o666);
    makePrivateFile(path);
    assert.equal(modeOf(path), 0o600);
    assert.equal(Deno.readTextFileSync(path), "kept");
  }));

Deno.test({
  name: "makePrivateFile() never goes through a link, be there something at its end or not",
  ignore,
}, () =>
  inFolder((folder) => {
    const path = join(folder, "link");
    const victim = join(folder, "victim");
    Deno.symlinkSync(victim, path);
    assert.throws(() => makePrivateFile(path), StoreError);
    assert.throws(() => Deno.lstatSync(victim), Deno.errors.NotFound);
    Deno.writeTextFileSync(victim, "mine", { mode: 0o644 });
    assert.throws(() => makePrivateFile(path), /is a link/);
    assert.equal(Deno.readTextFileSync(victim), "mine");
    assert.equal(modeOf(victim), 0o644);
    Deno.mkdirSync(join(folder, "folder"));
    assert.throws(() => refuseForeignFile(join(folder, "folder")), /no file/);
  }));

Deno.test(
  { name: "guardCacheFiles() refuses a link in place of any file beside the cache", ignore },
  () =>
    inFolder((folder) => {
      const cache = join(folder, "cache.sqlite");
      const names = [
        "cache.sqlite",
        "cache.sqlite-wal",
        "cache.sqlite-shm",
        "cache.sqlite.mark",
        "device-id",
      ];
      for (const name of names) {
        Deno.symlinkSync(join(folder, "victim"), join(folder, name));
        assert.throws(() => guardCacheFiles(cache), /is a link/, name);
        Deno.removeSync(join(folder, name));
      }
      guardCacheFiles(cache);
      assert.equal(modeOf(cache), 0o600);
    }),
);

Deno.test({
  name: "checkPrivateFolder() refuses a folder that every user may write to, but not one like /tmp",
  ignore,
}, () =>
  inFolder((folder) => {
    checkPrivateFolder(folder);
    Deno.chmodSync(folder, 0o777);
    assert.throws(() => checkPrivateFolder(folder), /every user/);
    Deno.chmodSync(folder, 0o1777);
    checkPrivateFolder(folder);
    assert.deepEqual([...Deno.readDirSync(folder)], []);
  }));

Deno.test({
  name: "a folder and a file of another user are refused",
  ignore: ignore || Deno.uid() !== 0,
}, () =>
  inFolder((folder) => {
    const path = join(folder, "a");
    Deno.writeTextFileSync(path, "");
    Deno.chownSync(path, 65534, 65534);
    Deno.chmodSync(folder, 0o1777);
    assert.throws(() => refuseForeignFile(path), /another user's/);
    Deno.chownSync(folder, 65534, 65534);
    assert.throws(() => checkPrivateFolder(folder), /belongs to another user/);
  }));
