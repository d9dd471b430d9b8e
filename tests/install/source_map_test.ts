import assert from "node:assert/strict";
import { linesOnly } from "../../install/source_map.ts";

Deno.test("linesOnly() keeps the first place of each line, counted from the one before that is kept", () => {
  const map = {
    version: 3,
    sources: ["a.ts", "b.ts"],
    sourcesContent: ["…", "…"],
    names: ["x"],
    // Nothing; a.ts 17:1 and then b.ts 117:2 with a name; only a column; b.ts 118:5.
    mappings: ";EAgBC,SCoGCA;A;AACG",
  };
  assert.deepEqual(JSON.parse(linesOnly(JSON.stringify(map))), {
    version: 3,
    sources: ["a.ts", "b.ts"],
    names: [],
    mappings: ";AAgBC;;ACqGI",
  });
});
