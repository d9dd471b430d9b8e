import assert from "node:assert/strict";
import { dirname, join } from "node:path";
import { StoreError } from "../../lib/errors.ts";
import { readOrCreateWebToken, sameSecret, sessionOf, webTokenFile } from "../../lib/web/token.ts";

function inFolder(act: (path: string) => void): void {
  const folder = Deno.makeTempDirSync({ prefix: "lifelog-token-" });
  try {
    act(webTokenFile(join(folder, "cache.sqlite")));
  } finally {
    Deno.removeSync(folder, { recursive: true });
  }
}

Deno.test("the token is made once, is long, and is for its user alone", () =>
  inFolder((path) => {
    const token = readOrCreateWebToken(path);
    assert.match(token, /^[\w-]{43}$/);
    assert.equal(readOrCreateWebToken(path), token);
    assert.deepEqual([...Deno.readDirSync(dirname(path))].map(({ name }) => name), ["dashboard-token"]);
    if (Deno.build.os === "windows") return;
    assert.equal(Deno.statSync(path).mode! & 0o777, 0o600);
    Deno.chmodSync(path, 0o644);
    readOrCreateWebToken(path);
    assert.equal(Deno.statSync(path).mode! & 0o777, 0o600);
  }));

Deno.test("a token file that is empty, short or no file is refused instead of opening the door", () =>
  inFolder((path) => {
    for (const text of ["", "\n", "short", "x".repeat(31), `${"x".repeat(40)} y`]) {
      Deno.writeTextFileSync(path, text);
      assert.throws(() => readOrCreateWebToken(path), StoreError);
    }
    Deno.removeSync(path);
    if (Deno.build.os !== "windows") {
      const other = join(dirname(path), "other");
      Deno.writeTextFileSync(other, "x".repeat(43), { mode: 0o644 });
      Deno.symlinkSync(other, path);
      assert.throws(() => readOrCreateWebToken(path), /a link/);
      assert.equal(Deno.statSync(other).mode! & 0o777, 0o644);
      Deno.removeSync(path);
    }
    Deno.mkdirSync(path);
    assert.throws(() => readOrCreateWebToken(path), StoreError);
  }));

Deno.test("secrets of any length are compared, and a session follows from its token alone", () => {
  assert.ok(sameSecret("abc", "abc"));
  for (const other of ["", "ab", "abd", "abcd", "ABC"]) assert.ok(!sameSecret("abc", other));
  assert.equal(sessionOf("one"), sessionOf("one"));
  assert.notEqual(sessionOf("one"), sessionOf("two"));
  assert.ok(!sessionOf("one").includes("one"));
});
