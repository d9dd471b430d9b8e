import { checkActivityWatch } from "../doctor/activitywatch.ts";
import { type Check, fail, renderCheck, warn } from "../doctor/check.ts";
import { checkDevice } from "../doctor/device.ts";
import { checkServer } from "../doctor/server.ts";
import { UserError } from "../errors.ts";
import { ExitCode } from "../exit_codes.ts";
import { listenForStop } from "../signals.ts";
import { makeReport } from "../status/report.ts";
import { formatCount } from "../status/words.ts";
import type { CommandContext, CommandSpec } from "./command.ts";

/** Looks at everything that the agent needs, and says how to mend what is wrong. */
export const doctor: CommandSpec = {
  name: "doctor",
  description:
    "Look at all that the agent needs and tell how to mend it: exit code 0 ok, 1 warnings, 2 failures.",
  options: [{ flags: "--json", description: "print it for programs" }],
  run: examine,
};

async function examine(context: CommandContext): Promise<ExitCode> {
  const { print, options, colors } = context;
  using stop = listenForStop({ terminate: context.terminate });
  const checks: Check[] = [];
  try {
    for await (const check of looks(context, stop.signal)) {
      checks.push(check);
      if (options.json !== true) print(renderCheck(check, colors));
    }
  } catch (error) {
    if (!stop.signal.aborted) throw error;
  }
  const count = (level: Check["level"]) => checks.filter((check) => check.level === level).length;
  const [fails, warns] = [count("fail"), count("warn")];
  if (options.json === true) {
    const rows = checks.map(({ mend = null, ...check }) => ({ ...check, mend }));
    print(JSON.stringify({ schema_version: 1, ok: fails + warns === 0, checks: rows }, null, 2));
  } else {
    print(
      fails + warns === 0
        ? "\nAll well"
        : `\n${formatCount(fails, "failure")}, ${formatCount(warns, "warning")}, ${checks.length} checks`,
    );
  }
  return fails > 0 ? ExitCode.Usage : warns > 0 || stop.signal.aborted ? ExitCode.Failed : ExitCode.Ok;
}

/** Every look, from this device outwards. */
async function* looks(context: CommandContext, signal: AbortSignal): AsyncIterable<Check> {
  let loaded;
  try {
    loaded = await context.loadSettings();
  } catch (error) {
    if (!(error instanceof UserError)) throw error;
    for (const line of error.message.split("\n")) {
      yield fail("settings", line, error.hint ?? "Mend it where it is set");
    }
    return;
  }
  const { settings } = loaded;
  const report = makeReport({ cachePath: settings.cachePath });
  yield* checkDevice({ loaded, report, env: context.env });
  const { collectionIntervalSeconds, settleSeconds, endpoint } = settings;
  yield* checkActivityWatch({
    source: context.source(settings),
    url: settings.awUrl,
    collected: report.buckets,
    collecting: report.running && report.collecting.okAtMs !== undefined,
    graceMs: (settleSeconds + 3 * collectionIntervalSeconds + 60) * 1000,
    nowMs: report.atMs,
    signal,
  });
  // What is asked of the server holds no device id: none has to be made for it.
  const sink = context.sink(settings, settings.deviceId ?? "doctor");
  if (endpoint === undefined || sink === undefined) {
    yield warn(
      "server",
      "No endpoint is set: nothing is delivered",
      "Set CENTRAL_SERVER_ENDPOINT and SERVER_AUTH_TOKEN",
    );
    return;
  }
  yield* checkServer({ endpoint, hasToken: settings.token !== undefined, sink, signal });
}
