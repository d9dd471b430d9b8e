import assert from "node:assert/strict";

const ROOT = new URL("../", import.meta.url);
const read = (path: string) => Deno.readTextFileSync(new URL(path, ROOT));
const { imports } = JSON.parse(read("lib/imports.json")) as { imports: Record<string, string> };
const lock = JSON.parse(read("deno.lock")) as {
  specifiers: Record<string, string>;
  npm: Record<string, { integrity: string; dependencies?: string[]; scripts?: boolean }>;
};
/** The package of a specifier, without a path inside of it. */
const packageOf = (specifier: string) => /^npm:((?:@[^/@]+\/)?[^/@]+@[^/]+)/.exec(specifier)?.[1];

Deno.test("every import is of a package at one exact version, and the lock file holds it", () => {
  for (const [name, specifier] of Object.entries(imports)) {
    assert.match(specifier, /^npm:(@[\w.-]+\/)?[\w.-]+@\d+\.\d+\.\d+(\/[\w./-]+)?$/, name);
    assert.ok(`npm:${packageOf(specifier)}` in lock.specifiers, `${specifier} is not in deno.lock`);
  }
});

Deno.test("the lock file holds a SHA-512 of every package, and none that nothing needs", () => {
  const keys = Object.keys(lock.npm);
  assert.ok(keys.length >= Object.keys(lock.specifiers).length);
  for (const [key, { integrity }] of Object.entries(lock.npm)) {
    assert.match(integrity, /^sha512-[A-Za-z0-9+/]{86}==$/, key);
  }
  const found = (wanted: string) =>
    keys.find((key) => key === wanted || key.startsWith(`${wanted}_`) || key.startsWith(`${wanted}@`)) ?? "";
  const reached = new Set<string>();
  const reach = (key: string) => {
    assert.ok(key in lock.npm, `${key} is missing`);
    if (reached.has(key)) return;
    reached.add(key);
    (lock.npm[key]!.dependencies ?? []).forEach((name) => reach(found(name)));
  };
  for (const [specifier, version] of Object.entries(lock.specifiers)) {
    const name = packageOf(specifier)!.replace(/@[^@]+$/, "");
    assert.ok(
      Object.values(imports).some((i) => packageOf(i) === packageOf(specifier)),
      `${specifier} is not imported`,
    );
    reach(`${name}@${version}`);
  }
  assert.deepEqual(keys.filter((key) => !reached.has(key)), []);
});

Deno.test("no package runs a script of its own when it is installed", () => {
  assert.deepEqual(Object.entries(lock.npm).filter(([, { scripts }]) => scripts).map(([key]) => key), []);
  assert.doesNotMatch(read("deno.json"), /allow-scripts|allowScripts/);
});

Deno.test("every task that runs code holds it against the lock file", () => {
  const { tasks } = JSON.parse(read("deno.json")) as { tasks: Record<string, { command: string }> };
  for (const [name, { command }] of Object.entries(tasks)) {
    for (const part of command.split("&&")) {
      if (/\bdeno (run|test|check|bench|audit)\b/.test(part)) assert.match(part, /--lock=deno\.lock/, name);
    }
  }
});
