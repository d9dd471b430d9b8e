import assert from "node:assert/strict";
import { eventHoursAgo, Program } from "./program.ts";

Deno.test("preview shows before and after and the rule that acted, and writes nothing", async () => {
  await using program = new Program();
  const at = (hours: number, data: unknown) => ({ ...eventHoursAgo(hours), data });
  program.buckets = [{ id: "aw-watcher-web-firefox_h", type: "web.tab.current", hostname: "h", created: "" }];
  program.events = [
    at(5, { title: "too old", url: "https://a.example/" }),
    at(2, { title: "plain", url: "https://a.example/" }),
    at(1.5, { title: "asked", url: "https://a.example/?q=1" }),
    at(1, { title: "hidden", url: "https://a.example/", incognito: true }),
    at(0.5, { title: "evil\u001b[2J\u202e\u009b", url: "about:blank" }),
  ];
  const before = [...Deno.readDirSync(program.folder)].map(({ name }) => name);
  const { code, text } = await program.run("preview");
  assert.equal(code, 0);
  assert.match(text, /60 s {2}= {2}plain \| https:\/\/a.example\/$/m);
  assert.match(
    text,
    /- {2}asked \| https:\/\/a.example\/\?q=1\n +\+ {2}asked \| https:\/\/a.example\/ {3}\[standard: query/,
  );
  assert.match(text, /x {2}hidden \| https:\/\/a.example\/ {3}\[standard: private windows\]/);
  assert.match(text, /evil\\u001b\[2J\\u202e\\u009b/);
  assert.ok(!/\p{Cc}|\u202e/u.test(text.replaceAll("\n", "")));
  assert.ok(!text.includes("too old"));
  assert.match(
    text,
    /4 events of the last 3 h .* standard: 2 as they are \(=\), 1 changed \(- \+\), 1 dropped/,
  );
  assert.deepEqual([...Deno.readDirSync(program.folder)].map(({ name }) => name), before);

  const changed = await program.run("preview", "--changed", "--hours", "1.7");
  assert.ok(changed.text.includes("asked") && !changed.text.includes("plain"));
  assert.match((await program.run("preview", "--hours", "6")).text, /too old/);
});

Deno.test("preview --json gives programs the same", async () => {
  await using program = new Program();
  program.env.PRIVACY_PRESET = "minimal";
  program.events = [{ ...eventHoursAgo(1), data: { app: "App", title: "t\u0085" } }];
  const { text } = await program.run("preview", "--json");
  const { preset, events } = JSON.parse(text);
  assert.equal(preset, "minimal");
  assert.deepEqual(
    events.map(({ before, after, rules }: Record<string, unknown>) => ({ before, after, rules })),
    [{
      before: { app: "App", title: "t\u0085", url: null },
      after: { app: "App", title: "[redacted]", url: null },
      rules: ["minimal: titles"],
    }],
  );
  assert.ok(!text.includes("\u0085"));
});

Deno.test("preview says when it cannot read ActivityWatch, or its option", async () => {
  await using program = new Program();
  program.down = true;
  assert.equal((await program.run("preview")).code, 1);
  assert.equal((await program.run("preview", "--hours", "soon")).code, 2);
  program.env.PRIVACY_PRESET = "none";
  assert.equal((await program.run("preview")).code, 2);
});

Deno.test("a rule that cannot be read stops the agent before anything is collected or sent", async () => {
  await using program = new Program();
  program.events = [eventHoursAgo(1)];
  const rules = `${program.folder}/rules.toml`;
  Deno.writeTextFileSync(rules, '[[privacy.rules]]\ntitle = "/(/"\naction = "drop"\n');
  program.env.PRIVACY_RULES_FILE = rules;
  const { code } = await program.run("--once");
  assert.equal(code, 2);
  assert.throws(() => Deno.statSync(program.cachePath), Deno.errors.NotFound);
});
