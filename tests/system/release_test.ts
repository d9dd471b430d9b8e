import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import metadata from "../../deno.json" with { type: "json" };
import { cutProgram } from "../../install/cut.ts";
import { RUNTIME_PACKAGES, type Target, TARGETS } from "../../install/denort.ts";
import { archiveName } from "../../install/manifests.ts";
import { PLATFORMS } from "../../install/release.ts";

const DIST = fileURLToPath(new URL("../../dist/", import.meta.url));
const RELEASE = join(DIST, "release");
const FORMATS: Record<Target, [format: string, cpu: string]> = {
  "x86_64-unknown-linux-gnu": ["ELF", "x86_64"],
  "aarch64-unknown-linux-gnu": ["ELF", "aarch64"],
  "x86_64-apple-darwin": ["Mach-O", "x86_64"],
  "aarch64-apple-darwin": ["Mach-O", "aarch64"],
  "x86_64-pc-windows-msvc": ["PE", "x86_64"],
};

function programOf(target: Target): string {
  return join(DIST, PLATFORMS[target], `lifelog-agent${target.includes("windows") ? ".exe" : ""}`);
}

function run(command: string, args: readonly string[], env: Record<string, string> = {}) {
  try {
    const { code, stdout, stderr } = new Deno.Command(command, { args: [...args], env, stdin: "null" })
      .outputSync();
    const decoder = new TextDecoder();
    return { code, output: decoder.decode(stdout) + decoder.decode(stderr) };
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return undefined;
    throw error;
  }
}

const has = (command: string) => run(command, ["--version"]) !== undefined;
const without = (command: string) => has(command) ? "" : ` (no ${command} here)`;

for (const target of TARGETS) {
  Deno.test(`the program for ${target} is of its format, and of the runtime it was made of and the agent`, () => {
    const { format, cpu, runtime, embedded } = cutProgram(Deno.readFileSync(programOf(target)));
    assert.deepEqual([format, cpu], FORMATS[target]);
    const text = new TextDecoder("latin1").decode(embedded);
    for (const file of ["main.js", "main.js.map", "licences.txt"]) {
      assert.ok(text.includes(`"n":"${file}"`), `${file} is not embedded`);
    }
    for (const file of ["main.ts", "lib/deliverer.ts", "lib/sources/activitywatch.ts"]) {
      assert.ok(text.includes(`\n// ${file}\n`), `${file} is not in the bundle`);
    }
    assert.ok(text.includes('"allow_run":null') && text.includes('"allow_ffi":null'));
    // What was made by Deno's own download cannot be held against the package's.
    const sha256 = createHash("sha256").update(runtime).digest("hex");
    const known = RUNTIME_PACKAGES[target].sha256;
    if (sha256 !== known) console.log(`Another runtime than the one on npm: ${sha256}`);
    if (Deno.env.get("CI_OFFLINE_RUNTIME") === "1") assert.equal(sha256, known);
  });
}

Deno.test("SHA256SUMS names every archive and package, and each hashes to what it says", () => {
  const names = new Set<string>();
  for (const line of Deno.readTextFileSync(join(RELEASE, "SHA256SUMS")).trimEnd().split("\n")) {
    const [, sha256, name] = /^([0-9a-f]{64}) {2}(\S+)$/.exec(line) ?? [];
    assert.ok(name, line);
    names.add(name);
    assert.equal(createHash("sha256").update(Deno.readFileSync(join(RELEASE, name))).digest("hex"), sha256);
  }
  for (const target of TARGETS) {
    assert.ok(names.has(archiveName(metadata.version, PLATFORMS[target])), target);
  }
  for (const cpu of ["amd64", "arm64"]) {
    assert.ok(names.has(`lifelog-agent_${metadata.version}-1_${cpu}.deb`), cpu);
  }
});

Deno.test("the manifests name this release's archives by what they hash to", () => {
  const sums = Deno.readTextFileSync(join(RELEASE, "SHA256SUMS"));
  const hashOf = (platform: string) =>
    new RegExp(`^(\\S+) {2}${archiveName(metadata.version, platform).replaceAll(".", "\\.")}$`, "m").exec(
      sums,
    )![1]!;
  const read = (name: string) => Deno.readTextFileSync(join(RELEASE, name));
  const formula = read("lifelog-agent.rb");
  for (const platform of ["macos-arm64", "macos-x64", "linux-arm64", "linux-x64"]) {
    assert.match(
      formula,
      new RegExp(`${archiveName(metadata.version, platform)}"\\s+sha256 "${hashOf(platform)}"`),
    );
  }
  assert.equal(JSON.parse(read("lifelog-agent.json")).architecture["64bit"].hash, hashOf("windows-x64"));
  assert.ok(
    read("LifeLog.Agent.installer.yaml").includes(
      `InstallerSha256: ${hashOf("windows-x64").toUpperCase()}\n`,
    ),
  );
  assert.ok(!read("install.sh").includes("@RELEASE_URL@"));
});

const QEMU = "qemu-aarch64-static";
const ARM_LIBRARIES = "/usr/aarch64-linux-gnu";
const noArm = !has(QEMU) ? QEMU : run("ls", [ARM_LIBRARIES])?.code !== 0 ? ARM_LIBRARIES : undefined;

Deno.test({
  name: `the program for linux-arm64 runs under QEMU${noArm === undefined ? "" : ` (no ${noArm} here)`}`,
  ignore: noArm !== undefined,
  fn: async () => {
    const home = await Deno.makeTempDir({ prefix: "lifelog-arm-" });
    try {
      const env = { HOME: home, QEMU_LD_PREFIX: ARM_LIBRARIES };
      const arm = (...args: string[]) => run(QEMU, [programOf("aarch64-unknown-linux-gnu"), ...args], env)!;
      assert.match(arm("--version").output, new RegExp(`^lifelog-agent ${metadata.version}\ndeno `));
      // The cache is made and nothing can be read: no ActivityWatch listens there.
      const once = arm("--once", "--aw-url", "http://127.0.0.1:9");
      assert.equal(once.code, 1, once.output);
      assert.ok(Deno.statSync(join(home, ".local/state/lifelog-agent/cache.sqlite")).size > 0);
    } finally {
      await Deno.remove(home, { recursive: true });
    }
  },
});

for (const cpu of ["amd64", "arm64"]) {
  Deno.test({
    name: `lintian finds no error and nothing to warn of in the package for ${cpu}${without("lintian")}`,
    ignore: !has("lintian"),
    fn: () => {
      const { code, output } = run("lintian", [
        "--no-cfg",
        "--fail-on",
        "error,warning",
        join(RELEASE, `lifelog-agent_${metadata.version}-1_${cpu}.deb`),
      ])!;
      assert.equal(code, 0, output);
    },
  });
}

Deno.test({
  name: `shellcheck has nothing to say of install.sh${without("shellcheck")}`,
  ignore: !has("shellcheck"),
  fn: () => {
    const { code, output } = run("shellcheck", [
      fileURLToPath(new URL("../../install/install.sh", import.meta.url)),
    ])!;
    assert.equal(code, 0, output);
  },
});

Deno.test({
  name: `actionlint has nothing to say of the workflows${without("actionlint")}`,
  ignore: !has("actionlint"),
  fn: () => {
    const { code, output } = run("actionlint", [
      ".github/workflows/test.yml",
      ".github/workflows/release.yml",
    ])!;
    assert.equal(code, 0, output);
  },
});

const PARSE = `import sys, tree_sitter, tree_sitter_powershell as grammar
text = open(sys.argv[1], "rb").read() if len(sys.argv) > 1 else b"if ("
root = tree_sitter.Parser(tree_sitter.Language(grammar.language())).parse(text).root_node
sys.exit(3 if root.has_error else 0)`;
/** Of a text that is broken the parser must say so, or it would say nothing of install.ps1 either. */
const parses = run("python3", ["-c", PARSE])?.code === 3;

Deno.test({
  name: "install.ps1 is PowerShell, by its grammar" + (parses ? "" : " (no tree-sitter-powershell here)"),
  ignore: !parses,
  fn: () => {
    const script = fileURLToPath(new URL("../../install/install.ps1", import.meta.url));
    assert.equal(run("python3", ["-c", PARSE, script])!.code, 0);
  },
});

/** What distroless/cc has of a system that a program in it can need. */
const IMAGE = ["libc.so.6", "libm.so.6", "libdl.so.2", "librt.so.1", "libpthread.so.0", "libgcc_s.so.1"];
const CERTIFICATES = "/etc/ssl/certs/ca-certificates.crt";
const root = Deno.build.os === "linux" && Deno.build.arch === "x86_64" && Deno.uid() === 0 && has("chroot");

Deno.test({
  name: "the program runs where there is nothing but what the image's base holds" +
    (root ? "" : " (needs root on Linux)"),
  ignore: !root,
  fn: async () => {
    const folder = await Deno.makeTempDir({ prefix: "lifelog-image-" });
    try {
      await Deno.chmod(folder, 0o755);
      for (
        const path of ["usr/bin", "lib/x86_64-linux-gnu", "lib64", "state", "home/nonroot", "dev", "proc"]
      ) {
        await Deno.mkdir(join(folder, path), { recursive: true });
      }
      for (const name of IMAGE) {
        const path = `lib/x86_64-linux-gnu/${name}`;
        await Deno.copyFile(await Deno.realPath(`/${path}`), join(folder, path));
      }
      await Deno.copyFile(
        await Deno.realPath("/lib64/ld-linux-x86-64.so.2"),
        join(folder, "lib64/ld-linux-x86-64.so.2"),
      );
      await Deno.copyFile(programOf("x86_64-unknown-linux-gnu"), join(folder, "usr/bin/lifelog-agent"));
      await Deno.mkdir(join(folder, "etc/ssl/certs"), { recursive: true });
      await Deno.copyFile(CERTIFICATES, join(folder, CERTIFICATES));
      for (const path of ["state", "home/nonroot"]) await Deno.chown(join(folder, path), 65532, 65532);
      const env = {
        HOME: "/home/nonroot",
        LOCAL_CACHE_DB_PATH: "/state/cache.sqlite",
        AW_URL: "http://127.0.0.1:9",
      };
      // Its own processes and its own /proc, as a container has them.
      const script = `mount -t proc proc ${folder}/proc && exec chroot --userspec=65532:65532 ${folder} "$@"`;
      const agent = (...args: string[]) =>
        run("unshare", [
          "--mount",
          "--pid",
          "--fork",
          "sh",
          "-c",
          script,
          "sh",
          "/usr/bin/lifelog-agent",
          ...args,
        ], env)!;
      const version = agent("--version");
      assert.match(version.output, /^lifelog-agent /, version.output);
      const once = agent("--once");
      assert.equal(once.code, 1, once.output);
      assert.ok(Deno.statSync(join(folder, "state/cache.sqlite")).size > 0);
    } finally {
      await Deno.remove(folder, { recursive: true });
    }
  },
});
