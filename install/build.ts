/**
 * Compiles dist/lifelog-agent for this machine or for others, with the least permissions that the agent needs, and
 * makes what a release consists of.
 */

import { dirname, resolve } from "node:path";
import { parseArgs } from "node:util";
import metadata from "../deno.json" with { type: "json" };
import { OTLP_VARIABLES } from "../lib/otlp/settings.ts";
import { SETTINGS } from "../lib/config/settings.ts";
import { bundle, ENTRY } from "./bundle.ts";
import { ensureBundler } from "./bundler.ts";
import { cutProgram } from "./cut.ts";
import { keptRuntime, runtimeFromNpm, type Target, TARGETS } from "./denort.ts";
import { finish, pack, PLATFORMS, type ReleaseOptions } from "./release.ts";
import { stage } from "./stage.ts";

/** What the agent and its dependencies read of the environment beside its settings. */
const ENVIRONMENT = [
  "LIFELOG_CONFIG",
  "NOTIFY_SOCKET",
  "WATCHDOG_USEC",
  "CREDENTIALS_DIRECTORY",
  "HOME",
  "USERPROFILE",
  "APPDATA",
  "LOCALAPPDATA",
  "XDG_CONFIG_HOME",
  "XDG_STATE_HOME",
  "NO_COLOR",
  "JOURNAL_STREAM",
  "FORCE_COLOR",
  "CLICOLOR_FORCE",
  "TERM",
  ...OTLP_VARIABLES,
];

/** What is known when the program is built, to narrow its permissions by. */
export interface Known {
  /** The hosts that it shall reach, each with or without a port, with commas between them. */
  readonly net?: string | undefined;
  /** The files and folders that it shall read and write, with commas between them. */
  readonly files?: string | undefined;
}

/**
 * The permissions baked into a program. Hosts and paths are settings, so network and files are only as narrow as is
 * known when it is built; running programs and loading libraries are never allowed, and of the system only the free
 * space of a disk may be asked for. A compiled program imports nothing from elsewhere.
 */
export function permissionsFor({ net, files }: Known = {}): string[] {
  const only = (flag: string, what: string | undefined) => what === undefined ? flag : `${flag}=${what}`;
  return [
    "--no-prompt",
    only("--allow-net", net),
    only("--allow-read", files),
    only("--allow-write", files),
    "--allow-sys=statfs",
    `--allow-env=${[...SETTINGS.map(({ env }) => env), ...ENVIRONMENT].join(",")}`,
  ];
}

/** The permissions of the program as it is released. */
export const PERMISSIONS: readonly string[] = permissionsFor();

/** Where the sources are bundled from, and where the program is compiled from. */
const STAGED = "dist/source";
const BUNDLED = "dist/bundle";

/**
 * Deno looks into each package before it compiles, and runs out of the 2 MiB of stack that its threads have by
 * default when it does so for the first time on a machine.
 */
export const COMPILER_STACK_BYTES = String(32 * 1024 * 1024);

/**
 * V8 takes memory for speed where nobody asks it not to: a backfill of 100,000 events would peak at twice as much. Its
 * heap has no hard limit by this, which one large answer could run into. Without its middle compiler it is as quick and
 * 3 MB smaller at rest.
 */
const V8_FLAGS = ["--max-semi-space-size=2", "--heap-growing-percent=20", "--no-maglev"];

/** What Deno does not do by itself yet; text files are in the bundle already. */
const UNSTABLE = metadata.unstable.filter((name) => name !== "raw-imports").map((name) =>
  `--unstable-${name}`
);

async function compile(
  target: Target,
  output: string,
  flags: readonly string[],
  denort: string | undefined,
): Promise<boolean> {
  const { code } = await new Deno.Command(Deno.execPath(), {
    cwd: BUNDLED,
    args: [
      "compile",
      `--v8-flags=${V8_FLAGS.join(",")}`,
      "--quiet",
      "--no-config",
      "--no-check",
      // It would lie in the folder of all users' temporary files, by a name that everybody knows, and be trusted.
      "--no-code-cache",
      ...UNSTABLE,
      ...flags,
      "--target",
      target,
      "--output",
      resolve(output),
      ENTRY,
    ],
    env: { RUST_MIN_STACK: COMPILER_STACK_BYTES, ...(denort === undefined ? {} : { DENORT_BIN: denort }) },
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

/** Compiles the program for one target; `flags` are its permissions and what is put into it. */
async function build(target: Target, output: string, flags: readonly string[]): Promise<void> {
  await Deno.mkdir(dirname(output), { recursive: true });
  const named = Deno.env.get("DENORT_BIN");
  const folders = await cacheFolders();
  const kept = await Deno.stat(keptRuntime(folders.denoDir, target)).then(() => true, () => false);
  const done = named !== undefined
    ? await compile(target, output, flags, named)
    : (!kept && await compile(target, output, flags, undefined)) ||
      await compile(target, output, flags, await runtimeFromNpm({ target, ...folders, fetchPackage }));
  if (!done) throw new Error(`Cannot compile for ${target}`);
  const { format, cpu, embedded } = cutProgram(await Deno.readFile(output));
  const { size } = await Deno.stat(output);
  const megabytes = (bytes: number) => (bytes / 1e6).toFixed(1);
  console.log(
    `${output}: ${megabytes(size)} MB for ${target} (${format}, ${cpu}, ${
      megabytes(embedded.length)
    } MB of it the agent)`,
  );
}

function programName(target: Target): string {
  return target.includes("windows") ? "lifelog-agent.exe" : "lifelog-agent";
}

/**
 * Bundles the sources.
 * @returns the flags that put what is not imported into the program
 */
async function prepare(): Promise<string[]> {
  await stage(".", STAGED);
  await ensureBundler({ ...await cacheFolders(), fetchPackage });
  const beside = await bundle({ source: STAGED, folder: BUNDLED, timeSeconds: await timeSeconds() });
  return beside.map((name) => `--include=${name}`);
}

/** The time of the last commit, which makes programs and archives the same wherever they are built. */
async function timeSeconds(): Promise<number> {
  const args = ["log", "-1", "--format=%ct"];
  return Number(Deno.env.get("SOURCE_DATE_EPOCH") ?? await outputOf("git", args) ?? 0);
}

const FOLDER = "dist/release";

function homepage(): string {
  return Deno.env.get("HOMEPAGE") ?? "https://lifelog.example.org/agent";
}

/** What the archives are made with. */
async function releaseOptions(): Promise<ReleaseOptions> {
  const seconds = await timeSeconds();
  const printed = async (...args: string[]) => {
    const run = ["run", "--lock=deno.lock", ...PERMISSIONS, "main.ts", ...args];
    const text = await outputOf(Deno.execPath(), run);
    if (text === undefined) throw new Error(`Cannot make what ${args[0]} prints`);
    return text;
  };
  return {
    folder: FOLDER,
    timeSeconds: seconds,
    manual: await printed("man", "--date", new Date(seconds * 1000).toISOString().slice(0, 10)),
    completions: {
      bash: await printed("completion", "bash"),
      zsh: await printed("completion", "zsh"),
      fish: await printed("completion", "fish"),
    },
    homepage: homepage(),
    maintainer: Deno.env.get("MAINTAINER") ?? "the lifelog-agent authors <agent@lifelog.example.org>",
  };
}

async function outputOf(command: string, args: string[]): Promise<string | undefined> {
  try {
    const { success, stdout } = await new Deno.Command(command, { args, stdin: "null", stderr: "inherit" })
      .output();
    return success ? new TextDecoder().decode(stdout) : undefined;
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return undefined;
    throw error;
  }
}

const USAGE =
  `Usage: deno task build [--target TARGET | --all] [--pack] [--finish] [--net HOSTS] [--files PATHS]
  --target TARGET  compile for another machine: ${TARGETS.join(", ")}
  --all            compile for all of them, --pack and --finish
  --pack           make the archive, and the package, of what was compiled, in dist/release
  --finish         only: write the checksums and manifests of what is in dist/release
  --net HOSTS      let the program reach these only: lifelog.example.org:443,127.0.0.1:5600
  --files PATHS    let it read and write these only: its folders of settings, cache and logs`;

async function main(args: readonly string[]): Promise<void> {
  const { values } = parseArgs({
    args: [...args],
    options: {
      target: { type: "string", default: Deno.build.target },
      all: { type: "boolean", default: false },
      pack: { type: "boolean", default: false },
      finish: { type: "boolean", default: false },
      net: { type: "string" },
      files: { type: "string" },
    },
  });
  const targets = TARGETS.filter((target) => values.all || target === values.target);
  if (targets.length === 0) throw new TypeError(`Cannot build for "${values.target}"`);
  if (values.all) await Deno.remove("dist/release", { recursive: true }).catch(() => {});
  const release = values.all || values.pack ? await releaseOptions() : undefined;
  const included = values.finish ? [] : await prepare();
  for (const target of values.finish ? [] : targets) {
    const folder = values.all ? `dist/${PLATFORMS[target]}` : "dist";
    const output = `${folder}/${programName(target)}`;
    await build(target, output, [...permissionsFor(values), ...included]);
    if (release !== undefined) pack(target, await Deno.readFile(output), release);
  }
  if (values.all || values.finish) {
    finish(FOLDER, { homepage: homepage(), url: Deno.env.get("RELEASE_URL") });
    console.log(await Deno.readTextFile(`${FOLDER}/SHA256SUMS`));
  }
}

if (import.meta.main) {
  try {
    await main(Deno.args);
  } catch (error) {
    const usage = error instanceof TypeError;
    console.error(error instanceof Error ? error.message : error);
    if (usage) console.error(USAGE);
    Deno.exit(usage ? 2 : 1);
  }
}
