import assert from "node:assert/strict";
import fc from "fast-check";
import { readSettings } from "../../lib/config/load.ts";
import { SETTINGS } from "../../lib/config/settings.ts";
import { SettingError } from "../../lib/errors.ts";

const SECRET = "canary-secret";
const names = SETTINGS.map(({ env }) => env);
const secretNames = SETTINGS.filter(({ secret }) => secret).map(({ env }) => env);
const value = fc.oneof(
  fc.string({ unit: "binary" }),
  fc.string(),
  fc.constantFrom(
    "0",
    "-1",
    "1e99",
    "NaN",
    "true",
    "https://x",
    "http://[::1]:1/",
    "sha256/",
    "\n",
    '"""',
    "[",
    "~",
    "a".repeat(9000),
  ),
  fc.integer().map(String),
);

function load(path: string, text: string, env: Record<string, string>) {
  return readSettings({
    config: path,
    env: (name) => ({ HOME: "/nonexistent", ...env })[name],
    readTextFile: (asked) => {
      if (asked === path) return text;
      throw new Deno.errors.NotFound("there is none");
    },
  });
}

/** What is printed of settings: errors with their hints, and warnings. */
function printed(act: () => { warnings: readonly string[] }): string {
  try {
    return act().warnings.join("\n");
  } catch (error) {
    assert.ok(error instanceof SettingError, `${(error as Error)?.stack}`);
    return `${error.message}\n${error.hint}`;
  }
}

Deno.test("whatever stands in the environment and in a settings file, it is read or a SettingError, and no secret is quoted", () => {
  let good = 0;
  const line = fc.tuple(fc.oneof(fc.constantFrom(...names), fc.string()), value);
  fc.assert(
    fc.property(
      fc.constantFrom("/s/config.env", "/s/config.toml"),
      fc.array(line, { maxLength: 6 }),
      fc.array(fc.tuple(fc.constantFrom(...names), value), { maxLength: 4 }),
      fc.constantFrom(...secretNames),
      fc.string(),
      (path, lines, env, secretName, noise) => {
        const quote = (text: string) => path.endsWith(".toml") ? JSON.stringify(text) : text;
        const text = [
          ...lines.map(([name, value]) => `${name} = ${quote(value)}`),
          `${secretName} = ${quote(`${SECRET} ${noise}`)}`,
          noise,
        ].join("\n");
        const out = printed(() => load(path, text, Object.fromEntries(env)));
        assert.ok(!out.includes(SECRET), out);
        if (out === "") good++;
      },
    ),
    { numRuns: 1500 },
  );
  fc.assert(fc.property(fc.constantFrom(...names), fc.integer({ min: 1, max: 9 }), (name, number) => {
    if (printed(() => load("/s/config.env", "", { [name]: String(number) })) === "") good++;
  }));
  assert.ok(good > 0);
});

Deno.test("a settings file of any bytes, or of a million lines, is read or refused in bounded time", () => {
  fc.assert(fc.property(fc.uint8Array({ maxLength: 300 }), fc.boolean(), (bytes, toml) => {
    printed(() => load(toml ? "/s/c.toml" : "/s/c.env", new TextDecoder("latin1").decode(bytes), {}));
  }));
  const hostile = [
    "a=".repeat(100_000),
    "[".repeat(100_000),
    '"'.repeat(100_001),
    "x = {".repeat(20_000),
    "A=1\n".repeat(200_000),
    " ".repeat(500_000),
  ];
  for (const text of hostile) {
    for (const path of ["/s/c.toml", "/s/c.env"]) printed(() => load(path, text, {}));
  }
});
