import assert from "node:assert/strict";
import { programLock } from "../../install/program_lock.ts";

const LOCK = {
  version: "5",
  specifiers: { "npm:@a/b@1.0.0": "1.0.0_c@2.0.0", "npm:driver@3.0.0": "3.0.0", "npm:c@2.0.0": "2.0.0" },
  npm: {
    "@a/b@1.0.0_c@2.0.0": { integrity: "1", dependencies: ["c", "deep@1.0.0"] },
    "c@2.0.0": { integrity: "2" },
    "deep@1.0.0": { integrity: "3", dependencies: ["deeper"] },
    "deep@2.0.0": { integrity: "4" },
    "deeper@1.0.0": { integrity: "5", dependencies: ["deep@1.0.0"] },
    "driver@3.0.0": { integrity: "6", dependencies: ["deep@2.0.0"] },
  },
  workspace: { dependencies: ["npm:@a/b@1.0.0", "npm:driver@3.0.0"] },
};
const IMPORTS = { "@a/b": "npm:@a/b@1.0.0", "driver": "npm:driver@3.0.0/bin.js", "plain": "npm:c@2.0.0" };

Deno.test("the program's lock holds what the program imports, with all that needs, and nothing of the tests", () => {
  const { lock, imports } = programLock(LOCK, IMPORTS, [`import { b } from "@a/b";`]);
  assert.deepEqual(imports, { "@a/b": "npm:@a/b@1.0.0" });
  assert.deepEqual(Object.keys(lock.npm), ["@a/b@1.0.0_c@2.0.0", "c@2.0.0", "deep@1.0.0", "deeper@1.0.0"]);
  assert.deepEqual(lock.specifiers, { "npm:@a/b@1.0.0": "1.0.0_c@2.0.0" });
  assert.deepEqual(lock.workspace, { dependencies: ["npm:@a/b@1.0.0"] });
  assert.equal(lock.version, "5");
});

Deno.test("a lock whose packages are all imported stays as it is", () => {
  const all = programLock(LOCK, IMPORTS, [`"@a/b"`, `import("driver")`, `"plain"`]);
  assert.deepEqual(all, { lock: LOCK, imports: IMPORTS });
});
