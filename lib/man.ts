import type { Command, Option } from "commander";
import { SETTINGS } from "./config/settings.ts";
import { EXIT_MEANINGS, ExitCode } from "./exit_codes.ts";
import { configFiles, stateFolder } from "./paths.ts";

/**
 * Writes the manual page from the declared command line, in the form of man(7): the source of the help is that of the
 * manual.
 * @param date when it was written, as `2026-01-31`
 */
export function manualPage(program: Command, version: string, date: string): string {
  const help = program.createHelp();
  const name = program.name();
  const options = help.visibleOptions(program);
  const isSetting = ({ helpGroupHeading }: Option) => helpGroupHeading !== undefined;
  const commands = help.visibleCommands(program).flatMap((command) => [
    command,
    ...help.visibleCommands(command).filter((inner) => inner.name() !== "help"),
  ]);
  const own = (command: Command) => help.visibleOptions(command).filter(({ long }) => long !== "--help");
  // Only the help of this page's own system would say the places right: a page is of Linux.
  const places = { env: (name: string) => name === "HOME" ? "~" : undefined, os: "linux" } as const;

  const lines = [
    `.TH ${name.toUpperCase()} 1 "${date}" "${name} ${version}" "User Commands"`,
    ".SH NAME",
    `${text(name)} \\- ${text(firstSentence(program.description()))}`,
    ".SH SYNOPSIS",
    `.B ${text(name)}`,
    "[\\fIoptions\\fR] [\\fIcommand\\fR]",
    ".SH DESCRIPTION",
    text(program.description()),
    "Without a command it is the agent itself, and runs until it is stopped.",
    ".SH OPTIONS",
    ...options.filter((option) => !isSetting(option)).flatMap(optionLines),
    ".SH COMMANDS",
    ...commands.flatMap((command) => [
      ".TP",
      `.B ${text(usageOf(command, program))}`,
      text(sentence(command.description())),
      ...own(command).flatMap((option) => [".RS", ...optionLines(option), ".RE"]),
    ]),
    ".SH SETTINGS",
    "Each is read from the option, else from the environment, else from the settings file, by the name in brackets.",
    "The secrets among them are no options, as every process can read those.",
    ...options.filter(isSetting).flatMap(optionLines),
    ...SETTINGS.filter(({ secret }) => secret).flatMap(({ env, description }) => [
      ".TP",
      `.B ${text(env)}`,
      text(sentence(description)),
    ]),
    ".SH EXIT STATUS",
    ...Object.entries(EXIT_MEANINGS).flatMap(([key, meaning]) => [
      ".TP",
      `.B ${ExitCode[key as keyof typeof ExitCode]}`,
      text(meaning),
    ]),
    ".PP",
    "The commands",
    ".B status",
    "and",
    ".B doctor",
    "end with 0 where all is well, 1 where something should be looked at, and 2 where something fails.",
    ".SH FILES",
    ...configFiles(places).flatMap((
      path,
    ) => [".TP", `.I ${text(path)}`, "Settings; the first that exists is read."]),
    ".TP",
    `.I ${text(`${stateFolder(places)}/cache.sqlite`)}`,
    "The cache; beside it are its lock and the device's id.",
  ];
  return `${lines.map(fold).join("\n")}\n`;
}

/** Breaks a long line of text between words, never before one that roff would take for a request. */
function fold(line: string): string {
  return line.startsWith(".") ? line : line.replaceAll(/(.{50,75}) (?![.'])/g, "$1\n");
}

function optionLines({ flags, description }: Option): string[] {
  return [".TP", `.B ${text(flags)}`, text(sentence(description))];
}

/** How a command is called, without the options that all of them take. */
function usageOf(command: Command, program: Command): string {
  const names: string[] = [];
  for (let at: Command | null = command; at !== null && at !== program; at = at.parent) {
    names.unshift(at.name());
  }
  return [
    ...names,
    ...command.registeredArguments.map((argument) => {
      const dots = argument.variadic ? "..." : "";
      return argument.required ? `<${argument.name()}${dots}>` : `[${argument.name()}${dots}]`;
    }),
  ].join(" ");
}

function firstSentence(description: string): string {
  const [first = ""] = description.split(/\.(?:\s|$)/);
  return first.charAt(0).toLowerCase() + first.slice(1);
}

function sentence(description: string): string {
  const whole = description.trim();
  return `${whole.charAt(0).toUpperCase()}${whole.slice(1)}${/[.!?]$/.test(whole) ? "" : "."}`;
}

/** A text without meaning to roff: on one line, its hyphens such that what is copied works. */
function text(plain: string): string {
  return plain.replaceAll(/\s+/g, " ").replaceAll("\\", "\\e").replaceAll("-", "\\-").replaceAll("~", "\\(ti")
    .replace(/^(?=[.'])/, "\\&");
}
