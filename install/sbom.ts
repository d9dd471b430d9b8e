/**
 * Makes dist/sbom.cdx.json, the list of all that is inside the program, in the form of CycloneDX 1.6: the packages that
 * main.ts reaches with the hashes that deno.lock holds, and the runtime with what it brings.
 */

import { Buffer } from "node:buffer";
import { createHash } from "node:crypto";
import { join } from "node:path";
import metadata from "../deno.json" with { type: "json" };

/** A package of `deno info --json`. */
interface InfoPackage {
  readonly name: string;
  readonly version: string;
  /** Keys of other packages. */
  readonly dependencies: readonly string[];
}

/** What {@link makeSbom} needs. */
export interface SbomOptions {
  /** What `deno info --json` says of the program. */
  readonly info: {
    readonly modules: readonly { readonly specifier: string }[];
    readonly npmPackages: Readonly<Record<string, InfoPackage>>;
  };
  /** The hash of a package by its key, as deno.lock holds it: `sha512-` and base64. */
  readonly integrityOf: (key: string) => string | undefined;
  /** The SPDX name of a package's licence. */
  readonly licenceOf: (name: string, version: string) => string | undefined;
  readonly versions: { readonly deno: string; readonly v8: string; readonly sqlite: string };
}

/** A part of the program. */
export interface SbomComponent {
  readonly type: "application" | "library" | "platform";
  readonly "bom-ref": string;
  readonly group?: string;
  readonly name: string;
  readonly version: string;
  readonly purl: string;
  readonly licenses?: readonly { readonly license: { readonly id: string } }[];
  readonly hashes?: readonly { readonly alg: string; readonly content: string }[];
}

/** A bill of materials. */
export interface Sbom {
  readonly bomFormat: "CycloneDX";
  readonly specVersion: "1.6";
  readonly serialNumber: string;
  readonly version: 1;
  readonly metadata: { readonly component: SbomComponent };
  readonly components: readonly SbomComponent[];
  readonly dependencies: readonly { readonly ref: string; readonly dependsOn: readonly string[] }[];
}

/** Lists what is in the program. The same program has the same list to the byte: it holds no time and no chance. */
export function makeSbom({ info, integrityOf, licenceOf, versions }: SbomOptions): Sbom {
  const roots = info.modules.flatMap(({ specifier }) => {
    const key = /^npm:\/((?:@[^/]+\/)?[^/]+)/.exec(specifier)?.[1];
    return key === undefined ? [] : [key];
  });
  const keyOf = (wanted: string) =>
    Object.keys(info.npmPackages).find((key) => key === wanted || key.startsWith(`${wanted}_`)) ??
      missing(wanted);
  const reached = new Set<string>();
  const reach = (key: string) => {
    if (reached.has(key)) return;
    reached.add(key);
    info.npmPackages[key]!.dependencies.forEach((dependency) => reach(keyOf(dependency)));
  };
  roots.map(keyOf).forEach(reach);

  const keys = [...reached].sort();
  const refOf = (key: string) => purlOf(info.npmPackages[key]!);
  const packages = keys.map((key): SbomComponent => {
    const { name, version } = info.npmPackages[key]!;
    const [group, short] = name.startsWith("@") ? name.split("/") as [string, string] : [undefined, name];
    const integrity = integrityOf(key) ?? missing(key);
    const licence = licenceOf(name, version);
    return {
      type: "library",
      "bom-ref": refOf(key),
      ...(group === undefined ? {} : { group }),
      name: short,
      version,
      purl: refOf(key),
      ...(licence === undefined ? {} : { licenses: [{ license: { id: licence } }] }),
      hashes: [{ alg: "SHA-512", content: hexOf(integrity) }],
    };
  });
  const part = (name: string, version: string, type: "library" | "platform", id: string): SbomComponent => ({
    type,
    "bom-ref": `pkg:generic/${name}@${version}`,
    name,
    version,
    purl: `pkg:generic/${name}@${version}`,
    licenses: [{ license: { id } }],
  });
  const runtime = part("deno", versions.deno, "platform", "MIT");
  const engine = part("v8", versions.v8, "library", "BSD-3-Clause");
  const sqlite = part("sqlite", versions.sqlite, "library", "blessing");
  const program: SbomComponent = {
    type: "application",
    "bom-ref": `pkg:generic/${metadata.name}@${metadata.version}`,
    name: metadata.name,
    version: metadata.version,
    purl: `pkg:generic/${metadata.name}@${metadata.version}`,
    licenses: [{ license: { id: "MIT" } }],
  };
  const components = [...packages, runtime, engine, sqlite];
  const direct = [...new Set(roots.map((root) => refOf(keyOf(root))))].sort();
  const dependencies = [
    { ref: program["bom-ref"], dependsOn: [...direct, runtime["bom-ref"]] },
    ...keys.map((key) => ({
      ref: refOf(key),
      dependsOn: info.npmPackages[key]!.dependencies.map((dependency) => refOf(keyOf(dependency))).sort(),
    })),
    { ref: runtime["bom-ref"], dependsOn: [engine["bom-ref"], sqlite["bom-ref"]] },
    { ref: engine["bom-ref"], dependsOn: [] },
    { ref: sqlite["bom-ref"], dependsOn: [] },
  ];
  const body = { metadata: { component: program }, components, dependencies };
  return { bomFormat: "CycloneDX", specVersion: "1.6", serialNumber: serialOf(body), version: 1, ...body };
}

function purlOf({ name, version }: InfoPackage): string {
  return `pkg:npm/${name.replace(/^@/, "%40")}@${version}`;
}

function hexOf(integrity: string): string {
  const base64 = /^sha512-(.+)$/.exec(integrity)?.[1] ?? missing(`SHA-512 in ${integrity}`);
  return Buffer.from(base64, "base64").toString("hex");
}

/** A UUID made of what it is the number of (version 8, RFC 9562). */
function serialOf(content: unknown): string {
  const bytes = createHash("sha256").update(JSON.stringify(content)).digest().subarray(0, 16);
  bytes[6] = bytes[6]! & 0x0f | 0x80;
  bytes[8] = bytes[8]! & 0x3f | 0x80;
  const hex = bytes.toString("hex");
  return `urn:uuid:${hex.replace(/^(.{8})(.{4})(.{4})(.{4})/, "$1-$2-$3-$4-")}`;
}

function missing(what: string): never {
  throw new Error(`Cannot list what is in the program as there is no ${what}: run deno task check first`);
}

/** Gathers what {@link makeSbom} needs from this checkout and Deno's cache. */
export async function readSbomOptions(root: string): Promise<SbomOptions> {
  const deno = async (...args: string[]) => {
    const { success, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
      args,
      cwd: root,
      stdin: "null",
    })
      .output();
    if (!success) throw new Error(new TextDecoder().decode(stderr).trim());
    return new TextDecoder().decode(stdout);
  };
  const info = JSON.parse(await deno("info", "--json", "--lock=deno.lock", "main.ts"));
  const { npmCache } = JSON.parse(await deno("info", "--json"));
  const lock = JSON.parse(await Deno.readTextFile(join(root, "deno.lock")));
  const { DatabaseSync } = await import("node:sqlite");
  using db = new DatabaseSync(":memory:");
  const { version: sqlite } = db.prepare("SELECT sqlite_version() AS version").get() as { version: string };
  const registries = [...Deno.readDirSync(npmCache)].filter(({ isDirectory }) => isDirectory);
  return {
    info,
    integrityOf: (key) => lock.npm[key]?.integrity,
    licenceOf(name, version) {
      for (const registry of registries) {
        try {
          const text = Deno.readTextFileSync(join(npmCache, registry.name, name, version, "package.json"));
          return JSON.parse(text).license;
        } catch { /* it came from another registry */ }
      }
    },
    versions: { deno: Deno.version.deno, v8: Deno.version.v8, sqlite },
  };
}

if (import.meta.main) {
  const sbom = makeSbom(await readSbomOptions("."));
  await Deno.mkdir("dist", { recursive: true });
  await Deno.writeTextFile("dist/sbom.cdx.json", `${JSON.stringify(sbom, null, 2)}\n`);
  console.log(`dist/sbom.cdx.json: ${sbom.components.length} components`);
}
