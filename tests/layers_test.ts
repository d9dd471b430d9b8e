import assert from "node:assert/strict";

const ROOT = new URL("../", import.meta.url);
/** Folders whose files know nothing of the other folders' files. */
const LAYERS = ["sources", "filters", "sinks", "store"];
const MAX_LINES = 600;

interface Module {
  /** From the project's root, such as `lib/store/outbox.ts`. */
  readonly path: string;
  readonly text: string;
  readonly imports: readonly string[];
}

const SPECIFIER =
  /(?:^|[;\s}])(?:import|export)\s*(?:type\s+)?(?:[\w*${}\s,]*?\sfrom\s*)?["']([^"'\n]+)["']|import\(\s*["']([^"']+)["']/g;

/** The code without its comments: examples in them import, and prose names what the code must not. */
function withoutComments(text: string): string {
  return text.replace(/\/\*[\s\S]*?\*\//g, "").replace(/(^|\s)\/\/.*$/gm, "$1");
}

function readModules(folder: string): Module[] {
  const modules: Module[] = [];
  for (const entry of Deno.readDirSync(new URL(folder, ROOT))) {
    const path = `${folder}${entry.name}`;
    if (entry.isDirectory) modules.push(...readModules(`${path}/`));
    else if (path.endsWith(".ts")) {
      const text = withoutComments(Deno.readTextFileSync(new URL(path, ROOT)));
      modules.push({ path, text, imports: [...text.matchAll(SPECIFIER)].map((m) => (m[1] ?? m[2])!) });
    }
  }
  return modules;
}

const layerOf = (path: string) => LAYERS.find((layer) => path.startsWith(`lib/${layer}/`));
const resolve = (from: string, specifier: string) =>
  new URL(specifier, new URL(from, ROOT)).href.slice(ROOT.href.length);
const offenders = (bad: (module: Module) => boolean) =>
  readModules("lib/").filter(bad).map(({ path }) => path);

Deno.test("the reading of imports finds every form of them", () => {
  const text = withoutComments(`
    import { a } from "./a.ts";
    // import "./no.ts";
    import type { B, C } from "./b.ts";
    import * as v from "valibot";
    import "./side.ts";
    export { d } from "./d.ts";
    import {
      e,
      type F,
    } from "./e.ts";
    const g = await import("./g.ts");
  `);
  assert.deepEqual([...text.matchAll(SPECIFIER)].map((m) => m[1] ?? m[2]), [
    "./a.ts",
    "./b.ts",
    "valibot",
    "./side.ts",
    "./d.ts",
    "./e.ts",
    "./g.ts",
  ]);
  const modules = readModules("lib/");
  assert.ok(modules.length >= 15);
  for (const { path, text, imports } of modules) {
    const statements = text.match(/^import\b/gm)?.length ?? 0;
    assert.ok(imports.length >= statements, `${path}: ${imports.length} imports of ${statements} were read`);
  }
});

Deno.test("a source, a filter, a sink and the store never import one another", () => {
  for (const { path, imports } of readModules("lib/")) {
    const own = layerOf(path);
    if (own === undefined) continue;
    for (const specifier of imports.filter((s) => s.startsWith("."))) {
      const other = layerOf(resolve(path, specifier));
      assert.ok(other === undefined || other === own, `${path} imports ${specifier}`);
    }
  }
});

Deno.test("a layer's file imports nothing that itself reaches into a layer", () => {
  const modules = new Map(readModules("lib/").map((module) => [module.path, module]));
  const reached = (path: string, seen = new Set<string>()): Set<string> => {
    if (seen.has(path)) return seen;
    seen.add(path);
    for (const s of modules.get(path)?.imports ?? []) if (s.startsWith(".")) reached(resolve(path, s), seen);
    return seen;
  };
  for (const path of modules.keys()) {
    const own = layerOf(path);
    if (own === undefined) continue;
    const foreign = [...reached(path)].filter((p) => layerOf(p) !== undefined && layerOf(p) !== own);
    assert.deepEqual(foreign, [], path);
  }
});

Deno.test("only lib/store/database.ts imports SQLite", () => {
  assert.deepEqual(offenders(({ imports }) => imports.some((s) => /sqlite/i.test(s))), [
    "lib/store/database.ts",
  ]);
});

Deno.test("no file of lib/ reads the environment or the arguments, or ends the process", () => {
  assert.deepEqual(
    offenders(({ text }) => /\bDeno\s*\.\s*(env|args|exit)\b|\bprocess\.(env|argv|exit)\b/.test(text)),
    [],
  );
});

Deno.test("nothing is exported as default, and no file only hands on what others define", () => {
  assert.deepEqual(offenders(({ text }) => /\bexport\s+default\b|\bas\s+default\b/.test(text)), []);
  assert.deepEqual(
    offenders(({ text }) => /\bexport\s+(type\s+)?(\*|\{[^}]*\})\s*(as\s+\w+\s*)?from\b/.test(text)),
    [],
  );
});

Deno.test("every import is of a file that is there, or of a package that the import map names", () => {
  const { imports } = JSON.parse(Deno.readTextFileSync(new URL("lib/imports.json", ROOT)));
  for (const { path, imports: specifiers } of readModules("lib/")) {
    for (const specifier of specifiers) {
      if (specifier.startsWith(".")) {
        assert.ok(
          Deno.statSync(new URL(specifier, new URL(path, ROOT))).isFile,
          `${path} imports ${specifier}`,
        );
      } else {
        assert.ok(specifier.startsWith("node:") || specifier in imports, `${path} imports ${specifier}`);
      }
    }
  }
});

Deno.test("files are named in snake_case and are short enough to be read at once", () => {
  for (const { path } of readModules("lib/")) {
    assert.match(path, /^lib\/([a-z_]+\/)?[a-z][a-z0-9_]*\.ts$/);
    const lines = Deno.readTextFileSync(new URL(path, ROOT)).split("\n").length;
    assert.ok(lines <= MAX_LINES, `${path} has ${lines} lines`);
  }
});
