import assert from "node:assert/strict";
import { join } from "node:path";
import { buildProgram } from "../../lib/cli.ts";
import { COMMANDS } from "../../lib/commands/all.ts";
import { bashCompletion } from "../../lib/completion/bash.ts";
import { fishCompletion } from "../../lib/completion/fish.ts";
import { powershellCompletion } from "../../lib/completion/powershell.ts";
import { allNodes, completionTree } from "../../lib/completion/tree.ts";
import { zshCompletion } from "../../lib/completion/zsh.ts";
import { SETTINGS } from "../../lib/config/settings.ts";

const TREE = completionTree(buildProgram(() => Promise.resolve(), COMMANDS));
const NAMES = COMMANDS.map(({ name }) => name);

/** Whether a shell is installed; its test is left out where it is not. */
function has(shell: string): boolean {
  return (Deno.env.get("PATH") ?? "").split(":").some((folder) => {
    try {
      return Deno.statSync(join(folder, shell)).isFile;
    } catch {
      return false;
    }
  });
}

/** Runs a shell in a folder with one file, with the completion in a file beside it, and gives what it printed. */
async function run(shell: string, args: string[], script: string, completion: string): Promise<string> {
  const folder = await Deno.makeTempDir({ prefix: "lifelog-completion-" });
  try {
    Deno.writeTextFileSync(join(folder, "completion"), completion);
    Deno.mkdirSync(join(folder, "work"));
    Deno.mkdirSync(join(folder, "functions"));
    Deno.writeTextFileSync(join(folder, "functions", "_lifelog-agent"), completion);
    Deno.writeTextFileSync(join(folder, "work", "a file.toml"), "");
    const { stdout, stderr } = await new Deno.Command(shell, {
      args: [...args, script],
      cwd: join(folder, "work"),
      env: { HOME: folder, XDG_CONFIG_HOME: folder, XDG_DATA_HOME: folder, TERM: "dumb" },
      stdin: "null",
    }).output();
    assert.equal(new TextDecoder().decode(stderr), "");
    return new TextDecoder().decode(stdout);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

Deno.test("the tree holds every command and every setting that is no secret", () => {
  assert.deepEqual(TREE.root.commands.map(({ name }) => name).toSorted(), [...NAMES, "help"].toSorted());
  const globals = TREE.globals.map(({ long }) => long);
  for (const { flag, secret } of SETTINGS) assert.equal(globals.includes(`--${flag}`), !secret, flag);
  assert.ok(TREE.root.options.some(({ long }) => long === "--once"));
  for (const { description, path } of allNodes(TREE.root)) assert.notEqual(description, "", path);
});

/** Command lines to complete, and what must and must not be offered. */
const CASES: readonly [line: string, offered: readonly string[], not: readonly string[]][] = [
  ["lifelog-agent ", NAMES, ["init", "bash"]],
  ["lifelog-agent sta", ["status"], ["config"]],
  ["lifelog-agent --on", ["--once"], ["--since"]],
  ["lifelog-agent status --j", ["--json"], ["--once"]],
  ["lifelog-agent status --ca", ["--cache"], []],
  ["lifelog-agent config ", ["init", "check"], ["status"]],
  ["lifelog-agent --log-level DEBUG config i", ["init"], ["status"]],
  ["lifelog-agent --log-level ", ["DEBUG", "ERROR"], ["status"]],
  ["lifelog-agent completion ", ["bash", "zsh", "fish", "powershell"], ["status"]],
  ["lifelog-agent help ", ["status", "config"], ["help", "init"]],
  ["lifelog-agent --config a", ["a file.toml"], ["status"]],
  ["lifelog-agent --endpoint ", [], ["status", "a file.toml"]],
];

function check(line: string, replies: string[], offered: readonly string[], not: readonly string[]): void {
  for (const word of offered) {
    assert.ok(replies.includes(word), `${line}: no ${word} in ${replies.join(", ")}`);
  }
  for (const word of not) assert.ok(!replies.includes(word), `${line}: ${word}`);
}

Deno.test("bash completes commands, options and their values", { ignore: !has("bash") }, async () => {
  for (const [line, offered, not] of CASES) {
    const words = line.split(" ");
    const script = `source ../completion
      COMP_WORDS=(${words.map((word) => `'${word}'`).join(" ")}) COMP_CWORD=${words.length - 1}
      _lifelog_agent; printf '%s\\n' "\${COMPREPLY[@]}"`;
    const replies = (await run("bash", ["--norc", "-c"], script, bashCompletion(TREE))).split("\n");
    check(line, replies, offered, not);
  }
});

Deno.test(
  "bash completes what follows an equals sign, which it takes for a word",
  { ignore: !has("bash") },
  async () => {
    for (const [words, offered] of [["--log-level = D", "DEBUG"], ["--log-level =", "INFO"]] as const) {
      const script = `source ../completion
      COMP_WORDS=(lifelog-agent ${words}) COMP_CWORD=${words.split(" ").length}
      _lifelog_agent; printf '%s\\n' "\${COMPREPLY[@]}"`;
      const replies = (await run("bash", ["--norc", "-c"], script, bashCompletion(TREE))).split("\n");
      check(words, replies, [offered], ["status"]);
    }
  },
);

Deno.test("fish completes commands, options and their values", { ignore: !has("fish") }, async () => {
  for (const [line, offered, not] of CASES) {
    const script = `source ../completion; complete -C '${line}'`;
    const text = await run("fish", ["--no-config", "-c"], script, fishCompletion(TREE));
    const replies = text.split("\n").map((row) => row.split("\t")[0]!.replaceAll("\\ ", " "));
    check(line, replies, offered, not);
  }
});

for (
  const [way, load] of [
    ["sourced", "autoload -U compinit; compinit -u -d ../dump; source ../completion"],
    ["found in $fpath", "fpath=(../functions $fpath); autoload -U compinit; compinit -u -d ../dump"],
  ] as const
) {
  Deno.test(
    `zsh completes commands, options and their values, ${way}`,
    { ignore: !has("zsh") },
    () => zshTest(load),
  );
}

async function zshTest(load: string): Promise<void> {
  // Completion works in a terminal only: another zsh has one, and tells what it would offer.
  const setup = [
    `PS1= PS2= RPS1=; unset zle_bracketed_paste; ${load}`,
    `compadd() { if [[ \${@[1,(i)(-|--)]} == *-(O|A|D)\\ * ]] { builtin compadd "$@"; return $? }
       local -a hits; builtin compadd -A hits "$@"; print -rl -- "<hit>"$^hits; builtin compadd "$@" }`,
    'probe() { _main_complete; print -r -- "<end>" }; zle -C probe list-choices probe; bindkey "^G" probe',
    'print -r -- "<""ready>"',
  ];
  const script = `zmodload zsh/zpty; zpty -b z zsh -f -i
    ${setup.map((line) => `zpty -w z ${quote(line)}`).join("\n")}
    zpty -r -m z seen '*<ready>*'
    for line in ${CASES.map(([line]) => quote(line)).join(" ")}; do
      zpty -w -n z $'\\x15'$line$'\\x07'
      zpty -r -m z seen '*<end>*'; print -r -- $seen
    done
    zpty -d z`;
  const answers = (await run("zsh", ["-f", "-c"], script, zshCompletion(TREE))).split("<end>");
  CASES.forEach(([line, offered, not], i) => {
    const replies = answers[i]!.split(/\r?\n/).flatMap((row) => /<hit>(.*)$/.exec(row)?.[1] ?? []);
    check(line, replies.map((word) => word.replace(/=$/, "").replaceAll("\\ ", " ")), offered, not);
  });
}

function quote(text: string): string {
  return `'${text.replaceAll("'", "'\\''")}'`;
}

Deno.test("the completion for PowerShell names every command and option, and closes what it opens", () => {
  const text = powershellCompletion(TREE);
  for (const { path, options, words } of allNodes(TREE.root)) {
    assert.ok(text.includes(`'${path}' = @(`), path);
    for (const { long } of options) assert.ok(text.includes(`@('${long}', `), long);
    for (const word of words) assert.ok(text.includes(`@('${word}', `), word);
  }
  const bare = text.replaceAll(/'(?:[^']|'')*'/g, "").replaceAll(/#.*$/gm, "");
  for (const [open, close] of ["()", "{}", "[]"]) {
    assert.equal(bare.split(open!).length, bare.split(close!).length, open);
  }
});
