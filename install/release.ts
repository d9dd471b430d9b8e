/** Makes dist/release of compiled programs: archives, packages, checksums and what package managers are told. */

import { createHash } from "node:crypto";
import { join } from "node:path";
import metadata from "../deno.json" with { type: "json" };
import { type ArchiveFile, tarGz, zip } from "./archive.ts";
import { type Completions, debianPackage } from "./deb.ts";
import type { Target } from "./denort.ts";
import { archiveName, homebrewFormula, type Release, scoopManifest, wingetManifests } from "./manifests.ts";

/** What people call the targets, and archives are named by. */
export const PLATFORMS: Record<Target, string> = {
  "x86_64-unknown-linux-gnu": "linux-x64",
  "aarch64-unknown-linux-gnu": "linux-arm64",
  "x86_64-apple-darwin": "macos-x64",
  "aarch64-apple-darwin": "macos-arm64",
  "x86_64-pc-windows-msvc": "windows-x64",
};

const DEBIAN: Partial<Record<Target, "amd64" | "arm64">> = {
  "x86_64-unknown-linux-gnu": "amd64",
  "aarch64-unknown-linux-gnu": "arm64",
};

/** What a release is made with. */
export interface ReleaseOptions {
  /** Where its files are put. */
  readonly folder: string;
  /** Default: the project's. */
  readonly version?: string;
  /** The time of all files in archives, in seconds since 1970. */
  readonly timeSeconds: number;
  /** The manual page, in roff. */
  readonly manual: string;
  /** What each shell needs to complete the command line. */
  readonly completions: Completions;
  readonly homepage: string;
  readonly maintainer: string;
}

/** Packs one compiled program: an archive for everyone, and a package where its platform has one. */
export function pack(target: Target, program: Uint8Array, options: ReleaseOptions): void {
  const { folder, version = metadata.version, timeSeconds, manual, completions, homepage, maintainer } =
    options;
  const windows = target.includes("windows");
  const read = (path: string) => Deno.readFileSync(new URL(`../${path}`, import.meta.url));
  const files: ArchiveFile[] = [
    { path: windows ? "lifelog-agent.exe" : "lifelog-agent", bytes: program, mode: 0o755 },
    {
      path: windows ? "install.ps1" : "install.sh",
      bytes: read(windows ? "install/install.ps1" : "install/install.sh"),
      mode: 0o755,
    },
    ...(windows ? [] : [{ path: "lifelog-agent.1", bytes: new TextEncoder().encode(manual) }]),
    ...["README.md", "CHANGELOG.md", "LICENSE"].map((path) => ({ path, bytes: read(path) })),
  ];
  Deno.mkdirSync(folder, { recursive: true });
  const name = archiveName(version, PLATFORMS[target]);
  Deno.writeFileSync(join(folder, name), (windows ? zip : tarGz)(files, { timeSeconds }));
  const architecture = DEBIAN[target];
  if (architecture === undefined) return;
  const text = (path: string) => new TextDecoder().decode(read(path));
  Deno.writeFileSync(
    join(folder, `lifelog-agent_${version}-1_${architecture}.deb`),
    debianPackage({
      version,
      architecture,
      program,
      manual,
      completions,
      license: text("LICENSE"),
      changelog: text("CHANGELOG.md"),
      homepage,
      maintainer,
      timeSeconds,
    }),
  );
}

/** What a release is finished with. */
export interface FinishOptions {
  /** Default: the project's. */
  readonly version?: string;
  readonly homepage: string;
  /** Where it is downloaded from, without a slash at the end. */
  readonly url: string | undefined;
}

/**
 * Writes `SHA256SUMS` over the folder's archives and packages, and beside it the installers. With the address that
 * the release is downloaded from, the installers know it too, and the manifests for package managers are written.
 */
export function finish(folder: string, options: FinishOptions): void {
  const { version = metadata.version, homepage, url } = options;
  const names = [...Deno.readDirSync(folder)].map(({ name }) => name)
    .filter((name) => /\.(tar\.gz|zip|deb)$/.test(name)).sort();
  const sha256 = new Map(names.map((name) => {
    const bytes = Deno.readFileSync(join(folder, name));
    return [name, createHash("sha256").update(bytes).digest("hex")];
  }));
  const write = (name: string, text: string) => Deno.writeTextFileSync(join(folder, name), text);
  write("SHA256SUMS", [...sha256].map(([name, hash]) => `${hash}  ${name}\n`).join(""));
  for (const name of ["install.sh", "install.ps1"]) {
    const script = Deno.readTextFileSync(new URL(name, import.meta.url));
    write(name, url === undefined ? script : script.replace("@RELEASE_URL@", url));
  }
  if (url === undefined) return;
  const release: Release = { version, homepage, url, sha256 };
  write("lifelog-agent.rb", homebrewFormula(release));
  write("lifelog-agent.json", scoopManifest(release));
  for (const [name, text] of wingetManifests(release)) write(name, text);
}
