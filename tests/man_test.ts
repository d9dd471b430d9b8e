import assert from "node:assert/strict";
import { buildProgram } from "../lib/cli.ts";
import { COMMANDS } from "../lib/commands/all.ts";
import { EXIT_MEANINGS, ExitCode } from "../lib/exit_codes.ts";
import { SETTINGS } from "../lib/config/settings.ts";
import { manualPage } from "../lib/man.ts";

const PROGRAM = buildProgram(() => Promise.resolve(), COMMANDS);
const PAGE = manualPage(PROGRAM, "1.2.3", "2026-01-31");

function installed(program: string): boolean {
  return (Deno.env.get("PATH") ?? "").split(":").some((folder) => {
    try {
      return Deno.statSync(`${folder}/${program}`).isFile;
    } catch {
      return false;
    }
  });
}

async function mandoc(...args: string[]): Promise<string> {
  const child = new Deno.Command("mandoc", { args, stdin: "piped", stdout: "piped", stderr: "piped" })
    .spawn();
  const writer = child.stdin.getWriter();
  await writer.write(new TextEncoder().encode(PAGE));
  await writer.close();
  const { stdout, stderr } = await child.output();
  return new TextDecoder().decode(stdout) + new TextDecoder().decode(stderr);
}

Deno.test("the manual page names every command, option, setting and exit code of the program", () => {
  const plain = PAGE.replaceAll("\\-", "-");
  for (const command of PROGRAM.commands) assert.ok(plain.includes(`\n.B ${command.name()}`), command.name());
  for (const { long } of PROGRAM.options) assert.ok(plain.includes(long!), long!);
  for (const { env } of SETTINGS) assert.ok(plain.includes(env), env);
  for (const code of Object.values(ExitCode)) assert.ok(plain.includes(`\n.B ${code}\n`), String(code));
});

Deno.test("the manual page says of an exit code what the source does", () => {
  const source = Deno.readTextFileSync(new URL("../lib/exit_codes.ts", import.meta.url));
  for (const [name, meaning] of Object.entries(EXIT_MEANINGS)) {
    assert.equal(new RegExp(`/\\*\\* (.+?) \\*/\\s+${name}:`).exec(source)?.[1], meaning);
  }
});

Deno.test("the manual page has no line that roff would take for its own", () => {
  for (const line of PAGE.split("\n")) assert.match(line, /^(\.(TH|SH|TP|B|I|RS|RE|PP)\b|[^.']|\\&|$)/);
});

Deno.test(
  "mandoc finds no fault with the manual page, and renders it",
  { ignore: !installed("mandoc") },
  async () => {
    assert.equal(await mandoc("-T", "lint", "-W", "style"), "");
    const page = (await mandoc("-T", "ascii")).replaceAll(/.[\b]/g, "");
    assert.match(page, /^NAME\n {7}lifelog-agent - delivers what ActivityWatch records/m);
    assert.match(page, /--log-level <value>/);
  },
);
