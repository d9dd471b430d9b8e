/** Finds what packages carry along that no program runs: `deno compile` would put all of it into the program. */

import { join } from "node:path";

/** Declarations of types, maps back to sources, and documents. */
const BALLAST_FILE = /\.(?:map|md|ts|cts|mts)$/;
const BALLAST_FOLDER = /^(?:tests?|examples)$/;

/** Smaller files are worth no argument: the command line of Windows is short. */
const WORTH_BYTES = 8 * 1024;

/** Returns the paths in a package's folder that need not be in the program, in an order that is always the same. */
export async function ballastOf(folder: string): Promise<string[]> {
  const paths: string[] = [];
  for await (const { name, isDirectory } of Deno.readDir(folder)) {
    const path = join(folder, name);
    if (isDirectory) paths.push(...BALLAST_FOLDER.test(name) ? [path] : await ballastOf(path));
    else if (BALLAST_FILE.test(name) && (await Deno.stat(path)).size > WORTH_BYTES) paths.push(path);
  }
  return paths.sort();
}
