import type { CompletionTree } from "../completion/tree.ts";
import { ExitCode } from "../exit_codes.ts";
import type { CommandSpec } from "./command.ts";

/** Loads what prints it for a shell. */
const SHELLS: Readonly<Record<string, () => Promise<(tree: CompletionTree) => string>>> = {
  bash: async () => (await import("../completion/bash.ts")).bashCompletion,
  zsh: async () => (await import("../completion/zsh.ts")).zshCompletion,
  fish: async () => (await import("../completion/fish.ts")).fishCompletion,
  powershell: async () => (await import("../completion/powershell.ts")).powershellCompletion,
};

/** What a shell needs to complete the command line, made from its declaration. */
export const completion: CommandSpec = {
  name: "completion",
  description:
    "Print what a shell needs to complete commands and options, such as: source <(lifelog-agent completion bash).",
  arguments: [{ name: "<shell>", description: "the shell to print it for", choices: Object.keys(SHELLS) }],
  async run({ args, program, print }) {
    const { completionTree } = await import("../completion/tree.ts");
    const complete = await SHELLS[args[0]!]!();
    print(complete(completionTree(program)).trimEnd());
    return ExitCode.Ok;
  },
};
