/** The release that the tests of the installer install, and another one after it. */

import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { COMPILER_STACK_BYTES, PERMISSIONS } from "../../install/build.ts";
import { keptRuntime, type Target } from "../../install/denort.ts";
import { finish, pack, PLATFORMS } from "../../install/release.ts";
import metadata from "../../deno.json" with { type: "json" };

const ROOT = fileURLToPath(new URL("../../", import.meta.url));

/** A folder as it is downloaded from: archives, SHA256SUMS, installers. */
export interface TestRelease {
  readonly folder: string;
  readonly version: string;
}

/** Packs the program that `deno task build --all` made into a folder. */
export function currentRelease(folder: string): TestRelease {
  return packInto(
    folder,
    metadata.version,
    join(ROOT, "dist", PLATFORMS[Deno.build.target as Target], "lifelog-agent"),
  );
}

/** Compiles the same sources as a later version, and packs it. */
export async function nextRelease(folder: string): Promise<TestRelease> {
  const version = "99.0.0";
  const staged = join(folder, "source");
  await copy(join(ROOT, "dist", "source"), staged);
  const file = join(staged, "deno.json");
  await Deno.writeTextFile(
    file,
    (await Deno.readTextFile(file)).replace(`"version": "${metadata.version}"`, `"version": "${version}"`),
  );
  const program = join(folder, "lifelog-agent");
  const { denoDir } = JSON.parse(await outputOf(Deno.execPath(), ["info", "--json"]));
  const kept = keptRuntime(denoDir, Deno.build.target as Target);
  const isKept = await Deno.stat(kept).then(() => true, () => false);
  const { success, stderr } = await new Deno.Command(Deno.execPath(), {
    cwd: staged,
    args: ["compile", "--quiet", "--lock=deno.lock", ...PERMISSIONS, "--output", program, "main.ts"],
    env: { RUST_MIN_STACK: COMPILER_STACK_BYTES, ...(isKept ? { DENORT_BIN: kept } : {}) },
    stdin: "null",
  }).output();
  if (!success) throw new Error(`Cannot compile the next release: ${new TextDecoder().decode(stderr)}`);
  return packInto(join(folder, "release"), version, program);
}

function packInto(folder: string, version: string, program: string): TestRelease {
  const target = Deno.build.target as Target;
  pack(target, Deno.readFileSync(program), {
    folder,
    version,
    timeSeconds: 1_760_000_000,
    manual: ".TH LIFELOG-AGENT 1\n",
    completions: { bash: "# bash\n", zsh: "#compdef lifelog-agent\n", fish: "# fish\n" },
    homepage: "https://lifelog.example.org/agent",
    maintainer: "nobody <nobody@example.org>",
  });
  finish(folder, { version, homepage: "https://lifelog.example.org/agent", url: undefined });
  return { folder, version };
}

async function copy(from: string, to: string): Promise<void> {
  if (!(await Deno.stat(from)).isDirectory) return await Deno.copyFile(from, to);
  await Deno.mkdir(to, { recursive: true });
  for await (const { name } of Deno.readDir(from)) await copy(join(from, name), join(to, name));
}

/** What a command writes to its standard output. */
export async function outputOf(command: string, args: string[]): Promise<string> {
  const { success, stdout, stderr } = await new Deno.Command(command, { args, stdin: "null" }).output();
  if (!success) throw new Error(`${command} failed: ${new TextDecoder().decode(stderr)}`);
  return new TextDecoder().decode(stdout);
}
