import type { Command, Option } from "commander";
import { SETTINGS } from "../config/settings.ts";

/** What may follow an option or a command: a file, one of some words, or what only the person knows. */
export type Value = { readonly kind: "file" | "free" } | {
  readonly kind: "words";
  readonly words: readonly string[];
};

/** An option, as it is completed. */
export interface OptionNode {
  readonly long: string;
  readonly short?: string | undefined;
  readonly description: string;
  /** Absent for a switch. */
  readonly value?: Value;
}

/** A command, as it is completed. */
export interface CommandNode {
  /** The names from below the program's own, joined by `/`; empty for the program itself. */
  readonly path: string;
  readonly name: string;
  readonly description: string;
  readonly commands: readonly CommandNode[];
  /** Those that are its own. */
  readonly options: readonly OptionNode[];
  /** What its arguments may be, where that is known. */
  readonly words: readonly string[];
}

/** The whole command line, as it is completed. */
export interface CompletionTree {
  readonly root: CommandNode;
  /** The options that every command takes. */
  readonly globals: readonly OptionNode[];
}

/** Reads the declared command line into what a shell is told of it: the source of the help is that of completion. */
export function completionTree(program: Command): CompletionTree {
  const help = program.createHelp();
  const isGlobal = ({ long, helpGroupHeading }: Option) =>
    long === "--config" || helpGroupHeading !== undefined;

  function nodeOf(command: Command, path: string, siblings: readonly string[]): CommandNode {
    const inner = help.visibleCommands(command);
    const names = inner.map((c) => c.name());
    const name = command.name();
    return {
      path,
      name,
      description: command.description(),
      commands: inner.map((c) => nodeOf(c, path === "" ? c.name() : `${path}/${c.name()}`, names)),
      options: help.visibleOptions(command).filter((option) => !isGlobal(option)).map(optionOf),
      words: name === "help"
        ? siblings.filter((sibling) => sibling !== "help")
        : command.registeredArguments.flatMap((argument) => argument.argChoices ?? []),
    };
  }
  return {
    root: nodeOf(program, "", []),
    globals: help.visibleOptions(program).filter(isGlobal).map(optionOf),
  };
}

function optionOf({ long, short, flags, description, argChoices }: Option): OptionNode {
  const words = argChoices ?? SETTINGS.find(({ flag }) => `--${flag}` === long)?.choices;
  const value: Value | undefined = !/[<[]/.test(flags)
    ? undefined
    : words !== undefined
    ? { kind: "words", words }
    : /^--(config|cache|.*-file)$/.test(long ?? "") || /<file>/.test(flags)
    ? { kind: "file" }
    : { kind: "free" };
  return { long: long ?? flags, short: short ?? undefined, description, ...(value ? { value } : {}) };
}

/** The program and all commands below it. */
export function allNodes(node: CommandNode): CommandNode[] {
  return [node, ...node.commands.flatMap(allNodes)];
}

/** All options with a value, by name: what follows one of them is no command. */
export function valueOptions({ root, globals }: CompletionTree): Map<string, Value> {
  const options = [...globals, ...allNodes(root).flatMap(({ options }) => options)];
  return new Map(options.flatMap(({ long, value }) => value === undefined ? [] : [[long, value]]));
}
