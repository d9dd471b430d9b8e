import assert from "node:assert/strict";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { describeCrash, guardCrashes } from "../lib/crash.ts";
import { ExitCode } from "../lib/exit_codes.ts";
import { Program } from "./commands/program.ts";

const CANARY = "canary-title";

/** Runs a program under the guard, as main.ts does. */
async function runGuarded(body: string): Promise<{ code: number; text: string }> {
  const script = `import { guardCrashes } from ${
    JSON.stringify(new URL("../lib/crash.ts", import.meta.url).href)
  };
    guardCrashes({ terminate: () => Deno.exit(${ExitCode.Crash}) });
    ${body}`;
  const file = await Deno.makeTempFile({ suffix: ".ts" });
  try {
    await Deno.writeTextFile(file, script);
    const { code, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
      args: ["run", "--no-prompt", "--no-check", file],
      cwd: fileURLToPath(new URL("..", import.meta.url)),
      env: { NO_COLOR: "1" },
    }).output();
    return { code, text: new TextDecoder().decode(stdout) + new TextDecoder().decode(stderr) };
  } finally {
    await Deno.remove(file);
  }
}

Deno.test("an error that is caught nowhere ends the program without what it quotes", async () => {
  for (
    const body of [
      `setTimeout(() => { throw new Error("${CANARY}"); }, 1);`,
      `Promise.reject(new TypeError("${CANARY}"));  await new Promise((r) => setTimeout(r, 5000));`,
      `Promise.reject("${CANARY}"); await new Promise((r) => setTimeout(r, 5000));`,
      `const e = new Error("${CANARY}", { cause: new Error("${CANARY}") }); e.name = "${CANARY} x"; setTimeout(() => { throw e; });`,
      `setTimeout(() => JSON.parse("${CANARY}"), 1);`,
    ]
  ) {
    const { code, text } = await runGuarded(body);
    assert.equal(code, ExitCode.Crash, body);
    assert.match(text, /by a fault of its own/);
    assert.ok(!text.includes(CANARY), text);
  }
});

Deno.test("describeCrash() takes no place in the code from a message that looks like one", () => {
  const error = new Error(`a\n    at ${CANARY} (file:///${CANARY}.ts:1:2)\n    at file:///x/${CANARY}:3:4`);
  const text = describeCrash(error);
  assert.match(text, /^Error\n {2}at .*crash_test\.ts:\d+:\d+/);
  assert.ok(!text.includes(CANARY), text);
});

Deno.test("describeCrash() says what was thrown that is no error", () => {
  assert.equal(describeCrash(CANARY), "a thrown string");
  assert.equal(describeCrash(null), "a thrown null");
});

Deno.test("guardCrashes() keeps the runtime from printing the error", () => {
  const target = new EventTarget();
  const told: unknown[] = [];
  guardCrashes({ target, print: (text) => told.push(text), terminate: () => told.push("ended") });
  const event = new ErrorEvent("error", { error: new Error(CANARY), cancelable: true });
  target.dispatchEvent(event);
  assert.ok(event.defaultPrevented);
  assert.equal(told[1], "ended");
  assert.ok(!String(told[0]).includes(CANARY));
});

Deno.test("a fault inside a command is printed without what it quotes, and so is one inside a loop", async () => {
  await using program = new Program();
  program.env.LOG_LEVEL = "CRITICAL";
  program.env.LOG_FILE = join(program.folder, "log");
  const printed: string[] = [];
  const consoleError = console.error;
  console.error = (...words: unknown[]) => void printed.push(words.join(" "));
  const fault = (): never => {
    throw new TypeError(`Cannot read ${CANARY}`);
  };
  try {
    Object.defineProperty(program, "events", { get: fault });
    program.env.LOG_LEVEL = "ERROR";
    assert.equal((await program.run("--once")).code, ExitCode.Failed);
    const log = Deno.readTextFileSync(program.env.LOG_FILE);
    assert.match(log, /TypeError at /);
    assert.ok(!log.includes(CANARY), log);
    Object.defineProperty(program.env, "LOCAL_CACHE_DB_PATH", { get: fault });
    assert.equal((await program.run("encryption", "status")).code, ExitCode.Crash);
    assert.match(printed.join("\n"), /TypeError\n {2}at /);
    assert.ok(!printed.join("\n").includes(CANARY));
  } finally {
    console.error = consoleError;
  }
});
