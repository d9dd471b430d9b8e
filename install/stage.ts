/** Copies the sources to where the program is bundled from, without what only tests need. */

import { join } from "node:path";
import { programLock } from "./program_lock.ts";

/** What the program is made from. */
const SOURCES = ["main.ts", "deno.json", "deno.lock", "lib"];

/** Copies the sources from the folder `root` to `folder`; what stands there is removed. */
export async function stage(root: string, folder: string): Promise<void> {
  await Deno.remove(folder, { recursive: true }).catch(() => {});
  await Deno.mkdir(folder, { recursive: true });
  for (const source of SOURCES) await copy(join(root, source), join(folder, source));
  await dropTestPackages(folder);
}

/** Leaves the packages out that only tests import. */
async function dropTestPackages(folder: string): Promise<void> {
  const [lockPath, importsPath] = [join(folder, "deno.lock"), join(folder, "lib", "imports.json")];
  const read = async (path: string) => JSON.parse(await Deno.readTextFile(path));
  const write = (path: string, value: unknown) =>
    Deno.writeTextFile(path, `${JSON.stringify(value, null, 2)}\n`);
  const map = await read(importsPath);
  const { lock, imports } = programLock(await read(lockPath), map.imports, await modulesIn(folder));
  await write(lockPath, lock);
  await write(importsPath, { ...map, imports });
}

async function modulesIn(folder: string): Promise<string[]> {
  const texts: string[] = [];
  for await (const { name, isDirectory } of Deno.readDir(folder)) {
    const path = join(folder, name);
    if (isDirectory) texts.push(...await modulesIn(path));
    else if (name.endsWith(".ts")) texts.push(await Deno.readTextFile(path));
  }
  return texts;
}

async function copy(from: string, to: string): Promise<void> {
  if (!(await Deno.stat(from)).isDirectory) return await Deno.copyFile(from, to);
  await Deno.mkdir(to);
  for await (const { name } of Deno.readDir(from)) await copy(join(from, name), join(to, name));
}
