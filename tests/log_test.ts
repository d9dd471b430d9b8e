import assert from "node:assert/strict";
import { join } from "node:path";
import { getLogger } from "@logtape/logtape";
import { configureLogging, createRepeatGate, isJournal, type LogOptions } from "../lib/log.ts";

/** Logs a line of each level and gives what the console got. */
async function logged(options: LogOptions): Promise<string[]> {
  const lines: string[] = [];
  await using _logging = await configureLogging({
    level: "debug",
    isTerminal: false,
    write: (text) => void lines.push(text),
    ...options,
  });
  const log = getLogger(["lifelog-agent", "agent"]);
  log.debug("one");
  log.info("{count} events", { count: 2 });
  log.warn("three\nlines");
  log.error("four");
  log.fatal("five");
  return lines;
}

Deno.test("in the journal a line has its level as a number in front, and neither time nor level again", async () => {
  assert.deepEqual(await logged({ journal: true }), [
    "<7>agent: one\n",
    "<6>agent: 2 events\n",
    "<4>agent: three\n  lines\n",
    "<3>agent: four\n",
    "<2>agent: five\n",
  ]);
  const json = await logged({ journal: true, format: "json" });
  assert.match(json[1]!, /^<6>\{.*"message":"2 events".*\}\n$/);
});

Deno.test("elsewhere a line has its time and level, and colours on a terminal alone", async () => {
  const plain = await logged({});
  assert.match(plain[1]!, /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ INFO {4}agent: 2 events\n$/);
  assert.ok(!plain.join("").includes("\x1b"));
  assert.ok((await logged({ isTerminal: true })).join("").includes("\x1b["));
  assert.ok(!(await logged({ isTerminal: true, noColor: true })).join("").includes("\x1b"));
});

Deno.test("a lone event is in the singular, on a terminal too, and its number a number for programs", async () => {
  for (const options of [{}, { isTerminal: true }, { journal: true }, { format: "json" as const }]) {
    const lines: string[] = [];
    {
      await using _logging = await configureLogging({ write: (text) => void lines.push(text), ...options });
      const values = { one: 1, many: 21, requests: 1 };
      getLogger(["lifelog-agent", "agent"]).info(
        "{one} events, {many} events in {requests} requests",
        values,
      );
    }
    // deno-lint-ignore no-control-regex
    const text = lines.join("").replaceAll(/\x1b\[[\d;]*m/g, "");
    if (options.format === "json") assert.match(text, /"one":1/);
    else assert.match(text, /1 event, 21 events in 1 request\n/);
  }
});

Deno.test("isJournal() believes the variable only where the standard error is that stream", () => {
  const stat = () => ({ dev: 9, ino: 1234 }) as Deno.FileInfo;
  const env = (value?: string) => (name: string) => name === "JOURNAL_STREAM" ? value : undefined;
  assert.equal(isJournal(env("9:1234"), stat), true);
  assert.equal(isJournal(env("9:99"), stat), false);
  assert.equal(isJournal(env(), stat), false);
  assert.equal(
    isJournal(env("9:1234"), () => {
      throw new Deno.errors.NotFound();
    }),
    false,
  );
});

Deno.test("the log file is its owner's alone and is rotated, with four before it at most", async () => {
  const folder = await Deno.makeTempDir({ prefix: "lifelog-log-" });
  try {
    const file = join(folder, "deep", "agent.log");
    {
      await using _logging = await configureLogging({ file, write: () => {} });
      const log = getLogger(["lifelog-agent"]);
      // 40 MB in lines of 64 kB: eight files' worth.
      const text = "x".repeat(65_536);
      for (let i = 0; i < 640; i++) log.info("{text}", { text });
    }
    const files = [...Deno.readDirSync(join(folder, "deep"))].map(({ name }) => name).sort();
    assert.deepEqual(files, ["agent.log", ...[1, 2, 3, 4].map((n) => `agent.log.${n}`)]);
    for (const name of files) {
      const { size, mode } = Deno.statSync(join(folder, "deep", name));
      assert.ok(size <= 5.1 * 1024 * 1024, `${name} has ${size} bytes`);
      if (Deno.build.os !== "windows") assert.equal(mode! & 0o777, 0o600, name);
    }
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});

Deno.test("a fault that lasts is said when it begins, changes or an hour has gone, and when it is over", () => {
  let nowMs = Date.UTC(2026, 0, 31, 12);
  const gate = createRepeatGate({ now: () => nowMs });
  assert.equal(gate.recovered("k"), undefined);
  assert.equal(gate.failed("k", "It is down"), "It is down");
  for (let i = 0; i < 35; i++) assert.equal(gate.failed("k", "It is down"), undefined);
  assert.equal(gate.failed("other", "It is down"), "It is down");
  nowMs += 3_600_000;
  assert.equal(
    gate.failed("k", "It is down"),
    "It is down (still failing, 37 times since 2026-01-31T12:00Z)",
  );
  assert.equal(gate.failed("k", "It says no"), "It says no");
  assert.equal(gate.recovered("k"), "Works again after 38 failures since 2026-01-31T12:00Z: It says no");
  assert.equal(gate.failed("k", "It is down"), "It is down");
});
