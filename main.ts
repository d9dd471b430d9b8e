import { runProgram } from "./lib/cli.ts";
import { guardCrashes } from "./lib/crash.ts";
import { ExitCode } from "./lib/exit_codes.ts";
import { minDuration } from "./lib/filters/min_duration.ts";
import { createPolicy } from "./lib/filters/privacy.ts";
import { lifelogSink } from "./lib/sinks/lifelog.ts";
import { activityWatchSource } from "./lib/sources/activitywatch.ts";
import { createTransport } from "./lib/transport.ts";

guardCrashes({ terminate: () => Deno.exit(ExitCode.Crash) });
// Whatever is made from here on, by SQLite and the log too, is for this user alone.
if (Deno.build.os !== "windows") Deno.umask(0o077);

Deno.exit(
  await runProgram({
    args: Deno.args,
    env: (name) => Deno.env.get(name),
    terminate: (code) => Deno.exit(code),
    // Where events come from, what they pass through, and where they go.
    source: (settings, onSkipped) =>
      activityWatchSource({
        url: settings.awUrl,
        apiKey: settings.awApiKey,
        hostname: settings.awHostname,
        bucketIds: settings.bucketIds,
        timeoutMs: settings.requestTimeoutSeconds * 1000,
        onSkipped,
        fetch: createTransport(settings.awUrl),
      }),
    filters: (settings) => [minDuration(settings.minDurationSeconds)],
    policy: (settings, hashKey) => createPolicy({ ...settings.privacy, hashKey }),
    sink: (settings, deviceId) =>
      settings.endpoint && lifelogSink({
        endpoint: settings.endpoint,
        token: settings.token,
        deviceId,
        compress: settings.compressRequests,
        timeoutMs: settings.requestTimeoutSeconds * 1000,
        fetch: createTransport(settings.endpoint, settings.tls),
      }),
  }),
);
