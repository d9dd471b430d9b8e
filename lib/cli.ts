import { Argument, Command, CommanderError, Help, Option } from "commander";
import metadata from "../deno.json" with { type: "json" };
import type { CommandContext, CommandSpec, Parts } from "./commands/command.ts";
import { start } from "./commands/start.ts";
import { namedFile } from "./config/file.ts";
import { loadSettings } from "./config/load.ts";
import { SETTINGS } from "./config/settings.ts";
import { crashText } from "./crash.ts";
import { AlreadyRunningError, KeyError, SettingError, StoreError, UserError } from "./errors.ts";
import { ExitCode } from "./exit_codes.ts";
import type { Env } from "./paths.ts";
import { sqliteVersion } from "./store/database.ts";

/** What the program gets from outside and what it is made of. */
export interface ProgramOptions extends Parts {
  readonly args: readonly string[];
  readonly env: Env;
  /** Ends the process at once. */
  readonly terminate: (code: number) => void;
  /** Writes a line to the standard output. Default: the standard output itself, which may have been closed. */
  readonly print?: (line: string) => void;
}

/**
 * Runs the program from its arguments to its exit code. Prints what a person has to know to the standard error.
 * @returns the exit code, see {@link ExitCode}
 */
export async function runProgram(options: ProgramOptions): Promise<number> {
  try {
    let code: ExitCode = ExitCode.Ok;
    const program = buildProgram(async (spec, args, given, program) => {
      code = await spec.run!(contextOf(options, args, given, program));
    }, await commandsFor(options.args));
    await program.parseAsync(options.args, { from: "user" });
    return code;
  } catch (error) {
    if (error instanceof CommanderError) return error.exitCode === 0 ? ExitCode.Ok : ExitCode.Usage;
    if (!(error instanceof UserError)) {
      console.error(crashText(error));
      return ExitCode.Crash;
    }
    console.error(`lifelog-agent: ${error.message}${error.hint === undefined ? "" : `\n${error.hint}`}`);
    return exitCodeOf(error);
  }
}

function exitCodeOf(error: UserError): ExitCode {
  if (error instanceof SettingError) return ExitCode.Usage;
  if (error instanceof StoreError) return ExitCode.Store;
  if (error instanceof AlreadyRunningError) return ExitCode.AlreadyRunning;
  if (error instanceof KeyError) return ExitCode.Key;
  return ExitCode.Failed;
}

/** The help with the commands before the many options. */
function commandsFirst(command: Command, help: Help): string {
  const [head, ...parts] = Help.prototype.formatHelp.call(help, command, help)
    .split(/\n(?=(?:Options|Settings|Commands):\n)/);
  const isCommands = (part: string) => part.startsWith("Commands:");
  const ordered = [...parts.filter(isCommands), ...parts.filter((part) => !isCommands(part))];
  return [head!, ...ordered].map((part) => part.trimEnd()).join("\n\n") + "\n";
}

/** A reader that has seen enough, such as `head`, is no fault. */
function writeToStdout(text: string): void {
  const bytes = new TextEncoder().encode(text);
  try {
    for (let at = 0; at < bytes.length;) at += Deno.stdout.writeSync(bytes.subarray(at));
  } catch (error) {
    if (!(error instanceof Deno.errors.BrokenPipe)) throw error;
  }
}

const HELP_FLAGS = new Set(["-h", "--help"]);

/** The commands, where arguments may name one or ask for help: to load them takes time at each start. */
async function commandsFor(args: readonly string[]): Promise<readonly CommandSpec[]> {
  if (args.every((arg) => arg.startsWith("-") && !HELP_FLAGS.has(arg))) return [];
  return (await import("./commands/all.ts")).COMMANDS;
}

type Action = (
  spec: CommandSpec,
  args: readonly string[],
  options: Readonly<Record<string, string | boolean | undefined>>,
  program: Command,
) => Promise<void>;

/** Declares the whole command line: the agent, these commands, their options, and the settings as options of all of them. */
export function buildProgram(action: Action, commands: readonly CommandSpec[]): Command {
  const program = new Command(start.name)
    .option("--version", "print the versions of the agent, Deno and SQLite")
    .on("option:version", () => {
      writeToStdout(`${versions()}\n`);
      throw new CommanderError(ExitCode.Ok, "commander.version", "");
    })
    .helpOption("-h, --help", "print this help")
    .helpCommand("help [command]", "print the help of a command")
    .showHelpAfterError("Run lifelog-agent --help for the options")
    .configureHelp({ formatHelp: commandsFirst })
    .configureOutput({ writeOut: writeToStdout })
    .addHelpText(
      "after",
      `\nEach option of a setting is also read from the environment and the settings file, by the name in brackets.`,
    )
    .exitOverride();
  declare(program, start, action, program);
  program.option("--config <file>", "read the settings from this file");
  for (const { env, flag, secret, description } of SETTINGS) {
    // A secret in the arguments is in everybody's list of processes.
    if (!secret) {
      program.addOption(new Option(`--${flag} <value>`, `${description} [${env}]`).helpGroup("Settings:"));
    }
  }
  for (const spec of commands) declare(program.command(spec.name), spec, action, program);
  return program;
}

function declare(command: Command, spec: CommandSpec, action: Action, program: Command): void {
  command.description(spec.description).copyInheritedSettings(program).allowExcessArguments(false);
  for (const { name, description, choices } of spec.arguments ?? []) {
    const argument = new Argument(name, description);
    command.addArgument(choices === undefined ? argument : argument.choices([...choices]));
  }
  for (const { flags, description, choices } of spec.options ?? []) {
    const option = new Option(flags, description);
    command.addOption(choices === undefined ? option : option.choices([...choices]));
  }
  for (const inner of spec.commands ?? []) declare(command.command(inner.name), inner, action, program);
  if (spec.run !== undefined) {
    command.action(() => action(spec, command.args, command.opts(), program));
    if (command === program) command.allowExcessArguments().hook("preAction", refuseUnknown);
  }
}

/** Without this, commander would take a mistyped command for an argument too many. */
function refuseUnknown(program: Command, command: Command): void {
  if (command === program && program.args.length > 0) {
    throw new SettingError(`Cannot run the command "${program.args[0]}" as there is none of that name`, {
      hint: "Run lifelog-agent --help for what there is",
    });
  }
}

function contextOf(
  options: ProgramOptions,
  args: readonly string[],
  given: Readonly<Record<string, string | boolean | undefined>>,
  program: Command,
): CommandContext {
  const { env, terminate, source, filters, policy, sink, print = (line) => writeToStdout(`${line}\n`) } =
    options;
  const all = program.opts<Record<string, string | boolean | undefined>>();
  const flags: Record<string, string> = {};
  for (const { env, flag } of SETTINGS) {
    const value = all[camelCase(flag)];
    if (typeof value === "string") flags[env] = value;
  }
  const config = typeof all.config === "string" ? { config: all.config } : {};
  return {
    args,
    options: given,
    loadSettings: () => loadSettings({ ...config, flags, env }),
    env,
    configPath: namedFile({ ...config, env }),
    print,
    colors: (env("NO_COLOR") ?? "") === "" && Deno.stdout.isTerminal(),
    terminate,
    program,
    source,
    filters,
    policy,
    sink,
  };
}

function versions(): string {
  return `lifelog-agent ${metadata.version}\ndeno ${Deno.version.deno}\nsqlite ${sqliteVersion()}`;
}

function camelCase(flag: string): string {
  return flag.replace(/-(.)/g, (_, letter: string) => letter.toUpperCase());
}
