import assert from "node:assert/strict";
import { fileURLToPath } from "node:url";
import * as v from "valibot";
import { makeSbom, readSbomOptions } from "../../install/sbom.ts";

const ROOT = fileURLToPath(new URL("../..", import.meta.url));

/** The shape of CycloneDX 1.6 for what is used of it: https://cyclonedx.org/docs/1.6/json/. */
const ComponentSchema = v.strictObject({
  type: v.picklist(["application", "library", "platform"]),
  "bom-ref": v.pipe(v.string(), v.minLength(1)),
  group: v.optional(v.string()),
  name: v.pipe(v.string(), v.minLength(1)),
  version: v.pipe(v.string(), v.regex(/^\d+\.\d+\.\d+/)),
  purl: v.pipe(v.string(), v.regex(/^pkg:(npm|generic)\/(%40[\w.-]+\/)?[\w.-]+@[\w.+-]+$/)),
  licenses: v.optional(v.array(v.strictObject({
    license: v.strictObject({
      id: v.picklist(["MIT", "Apache-2.0", "ISC", "BSD-2-Clause", "BSD-3-Clause", "blessing"]),
    }),
  }))),
  hashes: v.optional(v.array(v.strictObject({
    alg: v.picklist(["SHA-512"]),
    content: v.pipe(v.string(), v.regex(/^[a-f0-9]{128}$/)),
  }))),
});
const SbomSchema = v.strictObject({
  bomFormat: v.literal("CycloneDX"),
  specVersion: v.literal("1.6"),
  serialNumber: v.pipe(
    v.string(),
    v.regex(/^urn:uuid:[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/),
  ),
  version: v.literal(1),
  metadata: v.strictObject({ component: ComponentSchema }),
  components: v.array(ComponentSchema),
  dependencies: v.array(v.strictObject({ ref: v.string(), dependsOn: v.array(v.string()) })),
});

Deno.test("the bill of materials has the form of CycloneDX, names what is in the program and nothing that only tests use", async () => {
  const options = await readSbomOptions(ROOT);
  const sbom = makeSbom(options);
  v.parse(SbomSchema, JSON.parse(JSON.stringify(sbom)));
  const names = sbom.components.map(({ group, name }) => group === undefined ? name : `${group}/${name}`);
  for (const name of ["@logtape/logtape", "commander", "valibot", "deno", "sqlite", "v8"]) {
    assert.ok(names.includes(name), name);
  }
  for (const name of ["fast-check", "playwright-core"]) assert.ok(!names.includes(name), name);
  const refs = [sbom.metadata.component, ...sbom.components].map((component) => component["bom-ref"]);
  assert.equal(new Set(refs).size, refs.length);
  assert.deepEqual(sbom.dependencies.map(({ ref }) => ref).sort(), refs.toSorted());
  for (const { dependsOn } of sbom.dependencies) {
    assert.equal(new Set(dependsOn).size, dependsOn.length);
    for (const ref of dependsOn) assert.ok(refs.includes(ref), ref);
  }
  for (const component of sbom.components) {
    assert.ok(component.licenses, component.name);
    assert.equal(component.hashes !== undefined, component.purl.startsWith("pkg:npm/"), component.name);
  }
  assert.deepEqual(makeSbom(options), sbom);
});

Deno.test("a package that the lock file holds no hash of is not passed over", async () => {
  const options = await readSbomOptions(ROOT);
  assert.throws(() => makeSbom({ ...options, integrityOf: () => undefined }), /Cannot list/);
});
