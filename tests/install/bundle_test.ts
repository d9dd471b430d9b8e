import assert from "node:assert/strict";
import { toAscii } from "../../install/bundle.ts";

Deno.test("toAscii() writes escapes that mean the same in text, templates and expressions", () => {
  const code = "({ text: 'ä–𝄞', template: `é${1}`, find: /^[–—|𝄞]$/u, name: { größe: 1 } })";
  const ascii = toAscii(code);
  assert.match(ascii, /^[\x20-\x7e]+$/);
  const [before, after] = [code, ascii].map((text) => new Function(`return ${text}`)());
  assert.deepEqual({ ...after, find: 0 }, { ...before, find: 0 });
  for (const text of ["–", "𝄞", "|"]) assert.ok(after.find.test(text), text);
  assert.throws(() => toAscii("String.raw`a ä`"), /String\.raw/);
  assert.equal(toAscii("String.raw`a` + 'ä'"), "String.raw`a` + '\\u00e4'");
});
