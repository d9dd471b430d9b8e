import assert from "node:assert/strict";
import { parse as parseToml } from "smol-toml";
import metadata from "../deno.json" with { type: "json" };
import importMap from "../lib/imports.json" with { type: "json" };
import { SETTINGS } from "../lib/config/settings.ts";
import { ExitCode } from "../lib/exit_codes.ts";
import { loadExpressions } from "../lib/filters/pattern.ts";
import { PRESET_NAMES } from "../lib/filters/presets.ts";
import { readRules } from "../lib/filters/rule.ts";
import { configFiles, stateFolder } from "../lib/paths.ts";

const ROOT = new URL("../", import.meta.url);
const README = read("README.md");
const LIB_README = read("lib/README.md");
const CHANGELOG = read("CHANGELOG.md");

function read(path: string): string {
  return Deno.readTextFileSync(new URL(path, ROOT));
}

/** What stands between `<!-- name -->` and `<!-- /name -->`. */
function part(text: string, name: string): string {
  const match = new RegExp(`<!-- ${name} -->\n([\\s\\S]*?)<!-- /${name} -->`).exec(text);
  assert.ok(match, `There is no part "${name}"`);
  return match[1]!.trim();
}

/** The rows of a Markdown table, without its head. */
function rows(table: string): string[][] {
  return table.split("\n").filter((line) => line.startsWith("|"))
    .map((line) => line.slice(1, -1).split("|").map((cell) => cell.trim()))
    .filter(([first]) => !/^-+$/.test(first!)).slice(1);
}

function filesIn(folder: string): string[] {
  return [...Deno.readDirSync(new URL(folder, ROOT))].flatMap(({ name, isDirectory }) =>
    isDirectory ? filesIn(`${folder}${name}/`) : [`${folder}${name}`]
  );
}

Deno.test("the README's table of settings is the program's", () => {
  const expected = SETTINGS.map(({ env, secret, flag, default: byDefault, description }) => [
    `\`${env}\``,
    secret ? "" : `\`--${flag}\``,
    byDefault,
    description,
  ]);
  assert.deepEqual(rows(part(README, "settings")), expected);
});

Deno.test("the README's table of exit codes is the program's", () => {
  const table = README.slice(README.indexOf("### Exit codes"), README.indexOf("## See that it works"));
  const source = read("lib/exit_codes.ts");
  const expected = Object.entries(ExitCode).map(([name, code]) => {
    const comment = new RegExp(`/\\*\\* (.+?) \\*/\\s+${name}:`).exec(source)?.[1];
    assert.ok(comment, `ExitCode.${name} has no comment`);
    return [String(code), wordsOf(comment)];
  });
  assert.deepEqual(rows(table).map(([code, meaning]) => [code, wordsOf(meaning!)]), expected);
});

/** A sentence without its punctuation, which a table has otherwise. */
function wordsOf(sentence: string): string {
  return sentence.toLowerCase().replace(/[^a-z- ]/g, "");
}

Deno.test("the README says where files are on each platform", () => {
  const env = (name: string) => ({ HOME: "~", USERPROFILE: "~" } as Record<string, string>)[name];
  const text = part(README, "paths");
  for (const os of ["linux", "darwin"] as const) {
    for (const path of [...configFiles({ env, os }), `${stateFolder({ env, os })}/cache.sqlite`]) {
      assert.ok(text.includes(path), `The README does not name ${path}`);
    }
  }
});

Deno.test("every task that the documents name exists, and the README names every task", () => {
  const tasks = new Map(Object.entries(metadata.tasks).map(([name, { description }]) => [name, description]));
  for (const text of [README, LIB_README, CHANGELOG]) {
    for (const [, name] of text.matchAll(/\b(?:deno|deno@[\d.]+) task ([\w:]+)/g)) {
      assert.ok(tasks.has(name!), `There is no task "${name}"`);
    }
  }
  const named = rows(part(README, "tasks"));
  assert.deepEqual(named, [...tasks].map(([name, description]) => [`\`deno task ${name}\``, description]));
});

Deno.test("the README names the packages that the program is made of, and the Deno that its build is", () => {
  const table = README.slice(README.indexOf("## What plays which part"), README.indexOf("## Development"));
  for (const name of Object.keys(importMap.imports)) {
    const used = [...filesIn("lib/"), ...filesIn("tests/"), "main.ts"].some((path) =>
      path.endsWith(".ts") && [`from "${name}`, `import("${name}`].some((text) => read(path).includes(text))
    );
    const named = table.includes(`\`${/^(@[^/]+\/)?[^/]+/.exec(name)![0]}\``);
    assert.equal(named, used, `${name} is ${used ? "" : "not "}used`);
  }
  for (const [, version] of README.matchAll(/deno@([\d.]+)/g)) assert.equal(version, "2.7.11");
  assert.ok(table.includes("Deno 2.7.11"));
});

Deno.test("lib/README.md names every file of lib and no other", () => {
  const table = LIB_README.slice(
    LIB_README.indexOf("## Layers"),
    LIB_README.indexOf("## The life of one event"),
  );
  const named = rows(table).map(([, file]) => file!.replaceAll("`", ""));
  const files = filesIn("lib/").filter((path) => path.endsWith(".ts")).map((path) =>
    path.slice("lib/".length)
  );
  assert.ok(files.length > 15);
  assert.deepEqual(named.toSorted(), files.toSorted());
});

Deno.test("every file of lib imports from its own layer of lib/README.md and from those below it", () => {
  const table = LIB_README.slice(
    LIB_README.indexOf("## Layers"),
    LIB_README.indexOf("## The life of one event"),
  );
  const layers = new Map<string, number>();
  let layer = -1;
  for (const [name, file] of rows(table)) {
    if (name !== "") layer++;
    layers.set(file!.replaceAll("`", ""), layer);
  }
  let seen = 0;
  for (const [file, own] of layers) {
    for (const [, specifier] of read(`lib/${file}`).matchAll(/^(?:import|\}) .*from "(\.[^"]+)";$/gm)) {
      const path = new URL(specifier!, new URL(`lib/${file}`, ROOT)).href.slice(
        new URL("lib/", ROOT).href.length,
      );
      if (path.startsWith("..") || !layers.has(path)) continue;
      seen++;
      assert.ok(layers.get(path)! >= own, `lib/${file} imports ${path}, which stands above it`);
    }
  }
  assert.ok(seen > 20);
});

Deno.test("every link in the documents to a file of the project leads somewhere", () => {
  const documents = [["README.md", README], ["lib/README.md", LIB_README], [
    "CHANGELOG.md",
    CHANGELOG,
  ]] as const;
  const links = documents.flatMap(([file, text]) =>
    [...text.matchAll(/(?:\]\(|\bsrc(?:set)?=")(?!https?:)([^)#"]+)/g)]
      .map(([, path]) => new URL(path!, new URL(file, ROOT)))
  );
  assert.ok(links.length > 0);
  for (const link of links) assert.ok(Deno.statSync(link).isFile, link.pathname);
});

Deno.test("the changelog has an entry for the program's version", () => {
  assert.match(CHANGELOG, new RegExp(`^## \\[${metadata.version.replaceAll(".", "\\.")}\\]`, "m"));
});

Deno.test("the README's privacy rules can be read, and its table names every preset", async () => {
  const section = README.slice(README.indexOf("### Rules"), README.indexOf("### Encryption"));
  const rules = parseToml(/```toml\n([\s\S]*?)```/.exec(section)![1]!) as { privacy: { rules: unknown } };
  assert.ok(readRules(rules.privacy.rules, "README.md", await loadExpressions()).rules.length >= 2);
  assert.deepEqual(rows(section).map(([name]) => name), PRESET_NAMES.map((name) => `\`${name}\``));
});
