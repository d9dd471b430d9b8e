/**
 * Compiles dist/lifelog-agent for this machine, or for another by `--target TRIPLE`, with the least permissions
 * that the agent needs.
 */

import { SETTINGS } from "../lib/config/settings.ts";
import { keptRuntime, runtimeFromNpm, type Target, TARGETS } from "./denort.ts";

/** What the agent and its dependencies read of the environment beside its settings. */
const ENVIRONMENT = [
  "LIFELOG_CONFIG",
  "CREDENTIALS_DIRECTORY",
  "HOME",
  "USERPROFILE",
  "APPDATA",
  "LOCALAPPDATA",
  "XDG_CONFIG_HOME",
  "XDG_STATE_HOME",
  "NO_COLOR",
  "FORCE_COLOR",
  "CLICOLOR_FORCE",
  "TERM",
];

/**
 * The permissions baked into the program. Hosts and paths are settings, so network and files cannot be narrowed at
 * build time; running programs and loading libraries are never allowed, and of the system only the free space of a disk
 * may be asked for.
 */
export const PERMISSIONS: readonly string[] = [
  "--no-prompt",
  "--allow-net",
  "--allow-read",
  "--allow-write",
  "--allow-sys=statfs",
  `--allow-env=${[...SETTINGS.map(({ env }) => env), ...ENVIRONMENT].join(",")}`,
];

async function compile(target: Target, output: string, denort: string | undefined): Promise<boolean> {
  const { code } = await new Deno.Command(Deno.execPath(), {
    args: [
      "compile",
      "--quiet",
      "--lock=deno.lock",
      ...PERMISSIONS,
      "--target",
      target,
      "--output",
      output,
      "main.ts",
    ],
    ...(denort === undefined ? {} : { env: { DENORT_BIN: denort } }),
    stdin: "null",
    stdout: "inherit",
    // Where Deno cannot make its own download, the way by npm follows: its complaint would only confuse.
    stderr: denort === undefined ? "null" : "inherit",
  }).output();
  return code === 0;
}

/** Brings a package into Deno's npm cache, whatever registry that is set up with. */
async function fetchPackage(specifier: string): Promise<void> {
  const { code, stderr } = await new Deno.Command(Deno.execPath(), {
    args: ["cache", "--quiet", "--no-config", "--no-lock", `npm:${specifier}`],
    stdin: "null",
    stdout: "null",
    stderr: "piped",
  }).output();
  if (code !== 0) throw new Error(`Cannot fetch ${specifier}: ${new TextDecoder().decode(stderr).trim()}`);
}

async function cacheFolders(): Promise<{ denoDir: string; npmCache: string }> {
  const { stdout } = await new Deno.Command(Deno.execPath(), { args: ["info", "--json"], stderr: "null" })
    .output();
  const info = JSON.parse(new TextDecoder().decode(stdout));
  return { denoDir: info.denoDir, npmCache: info.npmCache };
}

async function build(target: Target): Promise<void> {
  const output = target.includes("windows") ? "dist/lifelog-agent.exe" : "dist/lifelog-agent";
  await Deno.mkdir("dist", { recursive: true });
  const named = Deno.env.get("DENORT_BIN");
  const folders = await cacheFolders();
  const kept = await Deno.stat(keptRuntime(folders.denoDir, target)).then(() => true, () => false);
  const done = named !== undefined
    ? await compile(target, output, named)
    : (!kept && await compile(target, output, undefined)) ||
      await compile(target, output, await runtimeFromNpm({ target, ...folders, fetchPackage }));
  if (!done) throw new Error(`Cannot compile for ${target}`);
  const { size } = await Deno.stat(output);
  console.log(`${output}: ${(size / 1e6).toFixed(1)} MB for ${target}`);
}

if (import.meta.main) {
  const asked = Deno.args[0] === "--target" ? Deno.args[1] : Deno.build.target;
  const target = TARGETS.find((known) => known === asked);
  if (target === undefined) {
    console.error(`Cannot build for "${asked}": use --target with one of ${TARGETS.join(", ")}`);
    Deno.exit(2);
  }
  try {
    await build(target);
  } catch (error) {
    console.error(error instanceof Error ? error.message : error);
    Deno.exit(1);
  }
}
