/**
 * Makes few files of the many that the program is written in: each costs the program time when it starts, and memory.
 * Names stay as they are, and source maps lead from the place of a crash back to the sources.
 */

import { join, resolve } from "node:path";
import { linesOnly } from "./source_map.ts";

/** What {@link bundle} needs. */
export interface BundleOptions {
  /** The folder of the staged sources, with `main.ts` and `deno.lock`. */
  readonly source: string;
  /** Where the bundle is put; what stands there is removed. */
  readonly folder: string;
  /** The time that all files get, in seconds since 1970. */
  readonly timeSeconds: number;
}

/** The bundle's entry. */
export const ENTRY = "main.js";
const LICENCES = "licences.txt";

/**
 * Bundles the program. The same sources make the same bytes wherever they lie: packages are put beside the sources for
 * it, for the paths of both stand in the bundle.
 * @returns the names of the files that belong into the program and are not imported: source maps and licences
 */
export async function bundle({ source, folder, timeSeconds }: BundleOptions): Promise<string[]> {
  await Deno.remove(folder, { recursive: true }).catch(() => {});
  const packages = join(source, "node_modules");
  const { success } = await new Deno.Command(Deno.execPath(), {
    cwd: source,
    args: [
      "bundle",
      "--quiet",
      "--check",
      "--lock=deno.lock",
      "--frozen",
      "--node-modules-dir=auto",
      "--platform=deno",
      "--code-splitting",
      "--sourcemap=linked",
      "--outdir",
      resolve(folder),
      "main.ts",
    ],
    stdin: "null",
  }).output();
  if (!success) throw new Error("Cannot bundle the program");
  await Deno.writeTextFile(join(folder, LICENCES), await licencesIn(packages));
  await Deno.remove(packages, { recursive: true });
  const names = [...Deno.readDirSync(folder)].map(({ name }) => name).sort();
  for (const name of names) {
    const path = join(folder, name);
    const text = await Deno.readTextFile(path);
    if (name.endsWith(".map")) await Deno.writeTextFile(path, linesOnly(text));
    if (name.endsWith(".js")) await Deno.writeTextFile(path, toAscii(text));
    await Deno.utime(path, timeSeconds, timeSeconds);
  }
  return names.filter((name) => !name.endsWith(".js"));
}

/** The licences of all packages, which ask to be where their code is. */
async function licencesIn(packages: string): Promise<string> {
  const store = join(packages, ".deno");
  const texts: string[] = [];
  for (const key of [...Deno.readDirSync(store)].map(({ name }) => name).sort()) {
    // `@scope+name@1.0.0`
    const name = /^(.+)@\d/.exec(key)?.[1]?.replace("+", "/");
    if (name === undefined) continue;
    const folder = join(store, key, "node_modules", name);
    for (const { name: file } of Deno.readDirSync(folder)) {
      if (!/^licen[cs]e/i.test(file)) continue;
      texts.push(`${key.replace("+", "/")}\n\n${(await Deno.readTextFile(join(folder, file))).trim()}\n`);
    }
  }
  return texts.join(`\n${"-".repeat(72)}\n\n`);
}

/**
 * Writes every character beyond ASCII as an escape. V8 uses the bytes of a module where they lie as long as they are
 * ASCII, and makes a copy of twice the size when a single one is not.
 *
 * @throws {Error} where an escape would not be the same
 */
export function toAscii(code: string): string {
  // deno-lint-ignore no-control-regex
  if (/\braw`[^`]*[^\x00-\x7f]/.test(code)) throw new Error("Cannot write String.raw in ASCII");
  // deno-lint-ignore no-control-regex
  return code.replace(/[^\x00-\x7f]/g, (unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, "0")}`);
}
