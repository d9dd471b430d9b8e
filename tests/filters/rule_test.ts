import assert from "node:assert/strict";
import fc from "fast-check";
import { loadSettings, readSettings } from "../../lib/config/load.ts";
import { SettingError } from "../../lib/errors.ts";
import { loadExpressions } from "../../lib/filters/pattern.ts";
import { readRules as read } from "../../lib/filters/rule.ts";

const expressions = await loadExpressions();
const readRules = (value: unknown, from: string) => read(value, from, expressions);

/** The error of rules that cannot be read. */
function problemOf(...rules: unknown[]): string {
  try {
    readRules(rules, "config.toml");
  } catch (error) {
    assert.ok(error instanceof SettingError);
    assert.match(error.hint ?? "", /Mend or remove the rule/);
    return error.message;
  }
  assert.fail("It was read");
}

Deno.test("a rule that cannot be read is refused with its number or name, the value and what it must be", () => {
  const cases: [unknown, RegExp][] = [
    [{ app: "x" }, /privacy rule 1 in "config.toml": "action" is missing/],
    [{ action: "hide", name: "n" }, /privacy rule 1 \(n\) in .*"action" must be one of drop, .*: got "hide"/],
    [{ domian: "a.b", action: "drop" }, /"domian" is nothing that a rule can say \(it can say .*domain/],
    [{ app: "", action: "drop" }, /"app" must be text, or a list of texts: got ""/],
    [{ app: [], action: "drop" }, /"app" must be text, or a list of texts: got \[\]/],
    [{ app: [1], action: "drop" }, /"app" must be text, or a list of texts: got \[1\]/],
    [{ title: "/(/", action: "drop" }, /"title" cannot be used as .*missing closing.*: got "\/\(\/"/],
    [{ domain: "https://a.b/", action: "drop" }, /"domain" cannot be used as it is no domain/],
    [{ time: "8-9", action: "drop" }, /"time" cannot be used as it is no time of day.*: got "8-9"/],
    [{ days: ["monday"], action: "drop" }, /"days" must be of sun, mon.*: got "monday"/],
    [{ afk: "yes", action: "drop" }, /"afk" must be true or false: got "yes"/],
    [{ action: "replace" }, /"replacement" is missing/],
    [{ action: "drop", replacement: "x" }, /"replacement" belongs to action = "replace"/],
    [{ action: "drop", keep_url: "path" }, /"keep_url" belongs to/],
    [{ action: "redact", keep_url: "all" }, /"keep_url" must be origin or path/],
    ["drop", /must stand under \[\[privacy.rules\]\]/],
    [null, /must stand under/],
  ];
  for (const [rule, expected] of cases) assert.match(problemOf(rule), expected);
});

Deno.test("readRules() names every rule that is wrong, and reads none of them", () => {
  const problem = problemOf({ app: "a", action: "drop" }, { action: "no" }, { app: "/[/", action: "drop" });
  assert.match(problem, /rule 2 .*\n.*rule 3 /);
  assert.throws(() => readRules({ app: "a" }, "config.toml"), /each must stand under \[\[privacy.rules\]\]/);
});

/** The settings from files by their path, and an environment. */
function settingsOf(files: Record<string, string>, env: Record<string, string> = {}) {
  return readSettings({
    env: (name) => ({ HOME: "/home/ann", LIFELOG_CONFIG: Object.keys(files)[0]!, ...env })[name],
    os: "linux",
    readTextFile: (path) => {
      const text = files[path];
      if (text === undefined) throw new Deno.errors.NotFound("no such file");
      return text;
    },
  }).settings.privacy;
}

const RULE = '[[privacy.rules]]\napp = "x"\naction = "drop"\n';

Deno.test("rules are read from the settings file, and from a file of their own before it", () => {
  const own = RULE.replace('"x"', '"y"');
  assert.deepEqual(settingsOf({ "/c.toml": "" }), { preset: "standard", own: { texts: [], rules: [] } });
  const { preset, own: rules } = settingsOf({
    "/c.toml": `privacy_preset = "work"\nprivacy_rules_file = "/r.toml"\n${RULE}`,
    "/r.toml": own,
  });
  assert.equal(preset, "work");
  assert.deepEqual(rules.texts.map(({ app }) => app), ["y", "x"]);
  const env = settingsOf({
    "/c.env": "PRIVACY_PRESET=Minimal\nPRIVACY_RULES_FILE=/r.toml\n",
    "/r.toml": own,
  });
  assert.deepEqual([env.preset, env.own.rules.length], ["minimal", 1]);
});

Deno.test("settings are read with the engine of expressions where a rule has one", async () => {
  const load = (rule: string) =>
    loadSettings({
      env: (name) => name === "HOME" ? "/home/ann" : undefined,
      os: "linux",
      config: "/c.toml",
      readTextFile: () => rule,
    });
  const { settings } = await load(RULE.replace('"x"', "'/^a+$/'"));
  assert.equal(settings.privacy.own.rules[0]!.app!("AAA"), true);
  await assert.rejects(load(RULE.replace('"x"', "'/(/'")), /rule 1 in "\/c.toml".*missing closing/);
  await assert.rejects(load(RULE.replace("drop", "hide")), SettingError);
});

Deno.test("whatever looks like a privacy setting and is none stops the agent", () => {
  const cases: [Record<string, string>, RegExp][] = [
    [{ "/c.toml": 'privacy = "work"' }, /"privacy" in "\/c.toml" as there is none/],
    [{ "/c.toml": '[privacy]\npreset = "work"' }, /"privacy.preset"/],
    [{ "/c.toml": "[[privacy.rule]]\n" }, /"privacy.rule"/],
    [{ "/c.toml": '[[rules]]\naction = "drop"' }, /"rules"/],
    [{ "/c.env": "PRIVACY_RULE_FILE=/r.toml" }, /"PRIVACY_RULE_FILE"/],
    [{ "/c.env": "PRIVACY_PRESET=strict" }, /PRIVACY_PRESET.*full, standard, work, minimal: got "strict"/],
    [
      { "/c.env": "PRIVACY_RULES_FILE=/none" },
      /PRIVACY_RULES_FILE.*a file that can be read \(no such file\)/,
    ],
    [
      { "/c.env": "PRIVACY_RULES_FILE=/r", "/r": "[[privacy" },
      /PRIVACY_RULES_FILE.*valid TOML \(see line 1\)/,
    ],
    [{ "/c.env": "PRIVACY_RULES_FILE=/r", "/r": '[[rules]]\naction = "drop"' }, /"rules" in "\/r"/],
    [{ "/c.toml": RULE.replace("drop", "hide") }, /rule 1 in "\/c.toml".*got "hide"/],
  ];
  for (const [files, expected] of cases) {
    assert.throws(
      () => settingsOf(files),
      (error) => error instanceof SettingError && expected.test(error.message),
    );
  }
});

Deno.test("readRules() reads anything as rules or refuses it with words, and what it reads can be applied", () => {
  const key = fc.constantFrom(
    ..."name app title url domain bucket time days afk incognito action replacement keep_url other __proto__"
      .split(" "),
  );
  const word = fc.constantFrom(
    "drop",
    "keep",
    "hash",
    "path",
    "*x*",
    "/x+/",
    "08:00-09:00",
    "sun",
    "a.example",
    "",
  );
  const given = fc.oneof(word, fc.array(word, { maxLength: 3 }), fc.jsonValue() as fc.Arbitrary<unknown>);
  const rule = fc.oneof({ weight: 9, arbitrary: fc.dictionary(key, given, { maxKeys: 4 }) }, {
    weight: 1,
    arbitrary: fc.jsonValue() as fc.Arbitrary<unknown>,
  });
  // Most of what is made up cannot be read; this can.
  const sound = fc.record({
    action: fc.constantFrom("drop", "hash"),
    app: word.filter((text) => text !== ""),
  });
  let read = 0;
  fc.assert(
    fc.property(fc.oneof(fc.array(fc.oneof(rule, sound), { maxLength: 3 }), given), (rules) => {
      try {
        for (const { app, title } of readRules(rules, "f").rules) {
          read++;
          assert.equal(typeof (app ?? title)?.("x") !== "string", true);
        }
      } catch (error) {
        assert.ok(error instanceof SettingError, String(error));
        assert.match(error.message, /^Cannot read (the privacy rules|privacy rule \d+)/);
      }
    }),
    { numRuns: 1500 },
  );
  assert.ok(read > 100, `Only ${read} rules were read`);
});
