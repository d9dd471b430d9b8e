import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { join } from "node:path";
import { BUNDLER_VERSION, ensureBundler } from "../../install/bundler.ts";

const KNOWN = createHash("sha256").update("esbuild").digest("hex");

/** Runs `act` with an empty cache, into which what is fetched is put. */
async function inCache(
  act: (cache: { kept: string; ensure: () => Promise<void>; fetched: string[] }) => Promise<void>,
  text = "esbuild",
): Promise<void> {
  const denoDir = await Deno.makeTempDir({ prefix: "lifelog-bundler-" });
  try {
    const npmCache = join(denoDir, "npm");
    const fetched: string[] = [];
    await act({
      kept: join(denoDir, "dl", `esbuild-${BUNDLER_VERSION}`, "esbuild-linux-x64"),
      fetched,
      ensure: () =>
        ensureBundler({
          denoDir,
          npmCache,
          platform: "linux-x64",
          hashes: { "linux-x64": KNOWN },
          async fetchPackage(specifier) {
            fetched.push(specifier);
            const folder = join(npmCache, "registry", "@esbuild", "linux-x64", BUNDLER_VERSION, "bin");
            await Deno.mkdir(folder, { recursive: true });
            await Deno.writeTextFile(join(folder, "esbuild"), text);
          },
        }),
    });
  } finally {
    await Deno.remove(denoDir, { recursive: true });
  }
}

Deno.test("ensureBundler() puts esbuild where Deno looks for it, once", () =>
  inCache(async ({ kept, ensure, fetched }) => {
    await ensure();
    await ensure();
    assert.deepEqual(fetched, [`@esbuild/linux-x64@${BUNDLER_VERSION}`]);
    assert.equal(await Deno.readTextFile(kept), "esbuild");
    if (Deno.build.os !== "windows") assert.equal((await Deno.stat(kept)).mode! & 0o100, 0o100);
  }));

Deno.test("ensureBundler() keeps no esbuild with another hash, and refuses one that is there", async () => {
  await inCache(async ({ kept, ensure }) => {
    await assert.rejects(ensure(), /its SHA-256 must be/);
    await assert.rejects(Deno.stat(kept), Deno.errors.NotFound);
  }, "another");
  await inCache(async ({ kept, ensure, fetched }) => {
    await Deno.mkdir(join(kept, ".."), { recursive: true });
    await Deno.writeTextFile(kept, "another");
    await assert.rejects(ensure(), /its SHA-256 must be/);
    assert.deepEqual(fetched, []);
  });
});

Deno.test("ensureBundler() says where no esbuild is known", async () => {
  await assert.rejects(
    ensureBundler({
      denoDir: "/x",
      npmCache: "/x",
      fetchPackage: () => Promise.resolve(),
      platform: "sunos-x64",
    }),
    /no esbuild is known/,
  );
});
