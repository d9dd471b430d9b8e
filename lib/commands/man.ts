import metadata from "../../deno.json" with { type: "json" };
import { ExitCode } from "../exit_codes.ts";
import { manualPage } from "../man.ts";
import type { CommandSpec } from "./command.ts";

/** The manual page, made from the command line's declaration. */
export const man: CommandSpec = {
  name: "man",
  description: "Print the manual page, such as: lifelog-agent man | man -l -.",
  run({ program, print }) {
    print(manualPage(program, metadata.version, new Date().toISOString().slice(0, 10)).trimEnd());
    return ExitCode.Ok;
  },
};
