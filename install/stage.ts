/**
 * Puts the sources where `deno compile` makes the same program of them each time. It writes into the program when
 * each file was last changed, which tells of the machine and not of the program.
 */

import { join } from "node:path";
import { ballastOf } from "./ballast.ts";
import { programLock } from "./program_lock.ts";

/** What the program is compiled from. */
const SOURCES = ["main.ts", "deno.json", "deno.lock", "lib"];

/** What {@link stage} needs. */
export interface StageOptions {
  /** The project's folder. */
  readonly root: string;
  /** Where the copy is put; what stands there is removed. */
  readonly folder: string;
  /** The folder of Deno's npm cache, which the packages are compiled from. */
  readonly npmCache: string;
  /** The time that all files get, in seconds since 1970. */
  readonly timeSeconds: number;
}

/**
 * Copies the sources, and gives them and the packages in Deno's cache one time.
 * @returns what of the packages need not be compiled into the program
 */
export async function stage(options: StageOptions): Promise<string[]> {
  const { root, folder, npmCache, timeSeconds } = options;
  await Deno.remove(folder, { recursive: true }).catch(() => {});
  await Deno.mkdir(folder, { recursive: true });
  for (const source of SOURCES) await copy(join(root, source), join(folder, source));
  await dropTestPackages(folder);
  await setTimes(folder, timeSeconds);
  const lock = JSON.parse(await Deno.readTextFile(join(folder, "deno.lock")));
  const ballast: string[] = [];
  for (const specifier of Object.keys(lock.npm ?? {})) {
    const [, name, version] = /^(@?[^@]+)@([^_]+)/.exec(specifier) ?? [];
    if (name === undefined || version === undefined) continue;
    for await (const registry of Deno.readDir(npmCache)) {
      const path = join(npmCache, registry.name, name, version);
      if (!await isThere(path)) continue;
      await setTimes(path, timeSeconds);
      ballast.push(...await ballastOf(path));
    }
  }
  return ballast;
}

/** Of several registries only one has a package. */
function isThere(path: string): Promise<boolean> {
  return Deno.stat(path).then(() => true, () => false);
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

async function setTimes(path: string, timeSeconds: number): Promise<void> {
  for await (const { name, isDirectory } of Deno.readDir(path)) {
    const inner = join(path, name);
    if (isDirectory) await setTimes(inner, timeSeconds);
    else await Deno.utime(inner, timeSeconds, timeSeconds);
  }
}
