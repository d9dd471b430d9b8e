/**
 * Finds esbuild, by which `deno bundle` works. Deno would fetch it from the npm registry by itself and run it whatever
 * it is, for no lock file holds it: here it is put in Deno's place for it only when it is the one that we know.
 */

import { Buffer } from "node:buffer";
import { createHash } from "node:crypto";
import { join } from "node:path";

/** The version that Deno 2.7.11 runs. */
export const BUNDLER_VERSION = "0.25.5";

/** SHA-256 hashes of esbuild, in hexadecimal digits, by the last part of its package's name. */
export const BUNDLERS: Readonly<Record<string, string>> = {
  "linux-x64": "3331e0b23c99d93d9a39e436a4838de40ca1c95ac3bcbd9874ba169d8545b634",
  "linux-arm64": "d6d656d9326ce1c55c01f73604a3cffda35c63cce60016e9ed795ac91cd1e67d",
  "darwin-x64": "e7b2a105f88836f1e080a76180e5cd8e59d1c22f6575d63f5a77a104954c427e",
  "darwin-arm64": "58d144357454bca840167171380785b133b1e5e682d0c51afa8c80158bfd3f8a",
  "win32-x64": "889543031385fb79a28b09a5611a3a03f913beb5a608c7de29390c13f1030994",
};

/** What {@link ensureBundler} needs. */
export interface BundlerOptions {
  /** Deno's cache folder: esbuild is kept in it, where Deno looks for it. */
  readonly denoDir: string;
  /** The folder of Deno's npm cache. */
  readonly npmCache: string;
  /** Brings a package, such as `@scope/name@1.0.0`, into `npmCache`. */
  readonly fetchPackage: (specifier: string) => Promise<void>;
  /** The machine that builds. */
  readonly platform?: string;
  readonly hashes?: Readonly<Record<string, string>>;
}

/**
 * Puts esbuild where Deno looks for it, if it is not there; its hash is checked at each call.
 * @throws {Error} when the hash is another, or none is known for this machine
 */
export async function ensureBundler(options: BundlerOptions): Promise<void> {
  const { denoDir, npmCache, fetchPackage, platform = hostPlatform(), hashes = BUNDLERS } = options;
  const wanted = hashes[platform];
  if (wanted === undefined) throw new Error(`Cannot build on ${platform} as no esbuild is known for it`);
  const program = platform.startsWith("win32") ? "esbuild.exe" : "bin/esbuild";
  const suffix = platform.startsWith("win32") ? ".exe" : "";
  const kept = join(denoDir, "dl", `esbuild-${BUNDLER_VERSION}`, `esbuild-${platform}${suffix}`);
  const check = (bytes: Uint8Array, from: string) => {
    const sha256 = createHash("sha256").update(Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength))
      .digest("hex");
    if (sha256 !== wanted) {
      throw new Error(`Cannot use the esbuild in "${from}" as its SHA-256 must be ${wanted}: got ${sha256}`);
    }
  };
  const there = await readIfThere(kept);
  if (there !== undefined) return check(there, kept);

  await fetchPackage(`@esbuild/${platform}@${BUNDLER_VERSION}`);
  for await (const { name } of Deno.readDir(npmCache)) {
    const path = join(npmCache, name, "@esbuild", platform, BUNDLER_VERSION, program);
    const bytes = await readIfThere(path);
    if (bytes === undefined) continue;
    check(bytes, path);
    await Deno.mkdir(join(kept, ".."), { recursive: true });
    const draft = `${kept}.${Deno.pid}.new`;
    await Deno.writeFile(draft, bytes, { mode: 0o755 });
    return await Deno.rename(draft, kept);
  }
  throw new Error(`Cannot find esbuild in "${npmCache}" after it was fetched`);
}

function hostPlatform(): string {
  const { os, arch } = Deno.build;
  return `${os === "windows" ? "win32" : os}-${arch === "x86_64" ? "x64" : "arm64"}`;
}

async function readIfThere(path: string): Promise<Uint8Array<ArrayBuffer> | undefined> {
  try {
    return await Deno.readFile(path);
  } catch (error) {
    if (error instanceof Deno.errors.NotFound || error instanceof Deno.errors.NotADirectory) return undefined;
    throw error;
  }
}
