import assert from "node:assert/strict";
import { join } from "node:path";
import { ballastOf } from "../../install/ballast.ts";

Deno.test("types, maps, documents and tests of a package stay out of the program; code, data and licences go in", async () => {
  const folder = await Deno.makeTempDir({ prefix: "lifelog-ballast-" });
  try {
    const write = async (path: string, bytes = 10_000) => {
      await Deno.mkdir(join(folder, path, ".."), { recursive: true });
      await Deno.writeTextFile(join(folder, path), "x".repeat(bytes));
    };
    for (const path of ["LICENSE", "package.json", "index.js", "lib/tests.js", "lib/a.cjs", "lib/b.mjs"]) {
      await write(path);
    }
    await write("lib/small.d.ts", 100);
    for (const path of ["README.md", "lib/a.d.cts", "lib/a.js.map", "test/data.json", "lib/tests/a.js"]) {
      await write(path);
    }
    assert.deepEqual(
      await ballastOf(folder),
      ["README.md", "lib/a.d.cts", "lib/a.js.map", "lib/tests", "test"].map((path) => join(folder, path)),
    );
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});
