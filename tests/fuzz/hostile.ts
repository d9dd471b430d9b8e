import fc from "fast-check";

export const CANARY = "canary-title";

/** Values as a hostile or broken peer may send them: any JSON, with what breaks parsers among it. */
export const anyJson: fc.Arbitrary<unknown> = fc.letrec((tie) => ({
  value: fc.oneof(
    { depthSize: "small" },
    fc.constantFrom<unknown>(
      null,
      true,
      "",
      CANARY,
      "__proto__",
      "\u0000\uFFFF",
      0,
      -0,
      -1,
      1e308,
      5e-324,
      Number.MAX_SAFE_INTEGER + 2,
      "9".repeat(400),
    ),
    fc.string({ unit: "binary" }),
    fc.double(),
    fc.array(tie("value"), { maxLength: 5 }),
    fc.dictionary(
      fc.oneof(fc.string(), fc.constantFrom("__proto__", "constructor", "id", "data")),
      tie("value"),
      {
        maxKeys: 5,
      },
    ),
  ),
})).value;

/** The text of an answer: JSON of any kind, JSON that was cut, or bytes of any kind. */
export const anyText: fc.Arbitrary<string> = fc.oneof(
  anyJson.map((value) => JSON.stringify(value) ?? ""),
  fc.tuple(anyJson, fc.nat(50)).map(([value, cut]) => (JSON.stringify(value) ?? "").slice(0, cut)),
  fc.string({ unit: "binary" }),
  fc.constantFrom("[".repeat(20_000), '{"a":'.repeat(5_000), "", "nul", `<html>${CANARY}</html>`),
);

/** Takes a well-formed value apart: some part of it becomes any JSON. */
export function mutated(value: unknown): fc.Arbitrary<unknown> {
  const paths: (string | number)[][] = [];
  const walk = (at: unknown, path: (string | number)[]) => {
    paths.push(path);
    if (typeof at !== "object" || at === null) return;
    for (const key of Object.keys(at)) walk((at as Record<string, unknown>)[key], [...path, key]);
  };
  walk(value, []);
  return fc.tuple(fc.constantFrom(...paths), fc.option(anyJson, { nil: undefined })).map(([path, part]) => {
    if (path.length === 0) return part;
    const copy = structuredClone(value) as Record<string, unknown>;
    let at = copy;
    for (const key of path.slice(0, -1)) at = at[key] as Record<string, unknown>;
    const last = path.at(-1)!;
    if (part === undefined) delete at[last];
    else {Object.defineProperty(at, last, {
        value: part,
        enumerable: true,
        configurable: true,
        writable: true,
      });}
    return copy;
  });
}
