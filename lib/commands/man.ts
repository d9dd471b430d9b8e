import metadata from "../../deno.json" with { type: "json" };
import { ExitCode } from "../exit_codes.ts";
import { manualPage } from "../man.ts";
import type { CommandSpec } from "./command.ts";

/** The manual page, made from the command line's declaration. */
export const man: CommandSpec = {
  name: "man",
  description: "Print the manual page, such as: lifelog-agent man | man -l -.",
  options: [{ flags: "--date <date>", description: "the date to put in it (default: today)" }],
  run({ program, print, options }) {
    const date = typeof options.date === "string" ? options.date : new Date().toISOString().slice(0, 10);
    print(manualPage(program, metadata.version, date).trimEnd());
    return ExitCode.Ok;
  },
};
