import { bashCompletion } from "../completion/bash.ts";
import { fishCompletion } from "../completion/fish.ts";
import { powershellCompletion } from "../completion/powershell.ts";
import { type CompletionTree, completionTree } from "../completion/tree.ts";
import { zshCompletion } from "../completion/zsh.ts";
import { ExitCode } from "../exit_codes.ts";
import type { CommandSpec } from "./command.ts";

/** What prints it for a shell. */
const SHELLS: Readonly<Record<string, (tree: CompletionTree) => string>> = {
  bash: bashCompletion,
  zsh: zshCompletion,
  fish: fishCompletion,
  powershell: powershellCompletion,
};

/** What a shell needs to complete the command line, made from its declaration. */
export const completion: CommandSpec = {
  name: "completion",
  description:
    "Print what a shell needs to complete commands and options, such as: source <(lifelog-agent completion bash).",
  arguments: [{ name: "<shell>", description: "the shell to print it for", choices: Object.keys(SHELLS) }],
  run({ args, program, print }) {
    print(SHELLS[args[0]!]!(completionTree(program)).trimEnd());
    return ExitCode.Ok;
  },
};
