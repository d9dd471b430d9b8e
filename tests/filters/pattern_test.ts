import assert from "node:assert/strict";
import fc from "fast-check";
import {
  loadExpressions,
  NoExpressionsError,
  type Pattern,
  readPattern as read,
} from "../../lib/filters/pattern.ts";

const expressions = await loadExpressions();
const readPattern = (source: string): Pattern => read(source, expressions);

Deno.test("only an expression needs its engine", () => {
  assert.equal(read("*bank*")("My bank"), true);
  assert.equal(read("/ bank")("/ bank"), true);
  assert.throws(() => read("/bank/"), NoExpressionsError);
});

Deno.test("a glob fits whole texts, minds no case, and ? stands for one character of any plane", () => {
  const cases: [string, string, boolean][] = [
    ["firefox", "Firefox", true],
    ["firefox", "Firefox!", false],
    ["fire*", "FIREFOX", true],
    ["*fox", "Firefox", true],
    ["*ref*", "Firefox", true],
    ["f*f*x", "Firefox", true],
    ["f*x*x", "Firefox", false],
    ["a*a", "a", false],
    ["*", "", true],
    ["?", "🦊", true],
    ["??", "🦊", false],
    ["a?c*", "abcd", true],
    ["*?", "", false],
    ["*b?d", "abbcd", true],
    ["a.c", "abc", false],
    ["[ab]", "a", false],
    ["café*", "CAFE\u0301 x", true],
    ["/", "/", true],
    ["//", "//", true],
  ];
  for (const [glob, text, fits] of cases) assert.equal(readPattern(glob)(text), fits, `${glob} ${text}`);
});

Deno.test("a glob fits what its translation to a regular expression fits", () => {
  const sign = fc.constantFrom("a", "b", "*", "?");
  fc.assert(
    fc.property(
      fc.array(sign, { minLength: 1, maxLength: 8 }),
      fc.array(fc.constantFrom("a", "b"), { maxLength: 10 }),
      (glob, text) => {
        const source = glob.map((c) => c === "*" ? ".*" : c === "?" ? "." : c).join("");
        assert.equal(
          readPattern(glob.join(""))(text.join("")),
          new RegExp(`^${source}$`, "s").test(text.join("")),
        );
      },
    ),
    { numRuns: 2000 },
  );
});

Deno.test("an expression between slashes is found anywhere, minds no case, and goes over line ends", () => {
  assert.equal(readPattern("/b.nk/")("My BANK, one"), true);
  assert.equal(readPattern("/^bank/")("My bank"), false);
  assert.equal(readPattern("/a.b/")("a\nb"), true);
  assert.equal(readPattern("/a|b/")("xxb"), true);
});

Deno.test("a pattern that cannot be read says why", () => {
  for (
    const [source, why] of [
      ["", /empty/],
      ["  ", /empty/],
      ["/(/", /missing closing/],
      ["/(?=a)/", /Perl syntax/],
      ["/(a)\\1/", /escape/],
      ["/a{1001}/", /repeat/],
      ["/[a-z]{900}[0-9]{900}/", /too large/],
      ["x".repeat(1001), /longer/],
    ] as [string, RegExp][]
  ) {
    assert.throws(
      () => readPattern(source),
      (error) => error instanceof SyntaxError && why.test(error.message),
    );
  }
});

Deno.test("an expression that takes others for ever takes time linear in the text", () => {
  // With 30 letters, a backtracking engine takes some 2^30 steps for the first of these: the test would never end.
  const text = `${"a".repeat(60_000)}!`;
  for (const source of ["(a+)+$", "(a|aa)+$", "(a|a?)+b", "(.*a){20}$", "^(([a-z])+.)+[0-9]([a-z])+$"]) {
    assert.equal(readPattern(`/${source}/`)(text), false, source);
  }
  assert.equal(readPattern(`*${"a*".repeat(200)}b`)(text), false);
  assert.equal(readPattern(`*${"a?".repeat(200)}b`)(text), false);
});

Deno.test("a text too long to be looked through counts as matched", () => {
  assert.equal(readPattern("/never/")("x".repeat(64 * 1024 + 1)), true);
});
