import { ExitCode } from "../exit_codes.ts";
import { renderStatus, statusJson } from "../status/render.ts";
import { makeReport } from "../status/report.ts";
import { judge, type Level } from "../status/verdict.ts";
import type { CommandContext, CommandSpec } from "./command.ts";

/** How the agent is: running or not, what it read and delivered last, what waits, and what is wrong. */
export const status: CommandSpec = {
  name: "status",
  description:
    "Tell in one look whether the agent works, and why not: exit code 0 well, 1 degraded, 2 failing.",
  options: [{ flags: "--json", description: "print it for programs" }],
  run: show,
};

const CODES: Record<Level, ExitCode> = {
  well: ExitCode.Ok,
  degraded: ExitCode.Failed,
  failing: ExitCode.Usage,
};

async function show(context: CommandContext): Promise<ExitCode> {
  const { settings } = await context.loadSettings();
  const delivers = settings.endpoint !== undefined;
  const report = makeReport({ cachePath: settings.cachePath });
  const verdict = judge(report, { ...settings, delivers });
  context.print(
    context.options.json === true
      ? JSON.stringify(statusJson(report, verdict, { delivers }), null, 2)
      : renderStatus(report, verdict, {
        activityWatch: settings.awUrl.origin,
        endpoint: settings.endpoint?.origin,
        colors: context.colors,
      }),
  );
  return CODES[verdict.level];
}
