import { basename, dirname, join, resolve } from "node:path";
import { SettingError, StoreError } from "../errors.ts";
import { ExitCode } from "../exit_codes.ts";
import { isLocked } from "../lock.ts";
import { makePrivateFolder, serviceFile } from "../paths.ts";
import { launchdPlist, SERVICE_NAME, systemdUnit, windowsTask } from "../service/definitions.ts";
import type { CommandContext, CommandSpec } from "./command.ts";

/**
 * The agent as a service of its user. The program may run no other program, so it writes and removes the service's
 * definition and says what to run; the installer runs that.
 */
export const service: CommandSpec = {
  name: "service",
  description: "Start the agent at login: by systemd, launchd or the Windows task scheduler.",
  commands: [
    {
      name: "install",
      description: "Write the service's definition and say how to start it.",
      options: [
        { flags: "--program <file>", description: "the program to start (default: this one)" },
        { flags: "--no-sandbox", description: "for a system that gives its users no namespaces: close less" },
        { flags: "--print", description: "print the definition and write nothing" },
      ],
      run: install,
    },
    {
      name: "uninstall",
      description: "Remove the service's definition and say how to stop it.",
      run: uninstall,
    },
    {
      name: "status",
      description: "Tell whether the service is defined and an agent is running.",
      run: status,
    },
  ],
};

interface Manager {
  readonly start: (file: string) => string;
  readonly stop: (file: string) => string;
}

/** What a person has to run, by system. */
const MANAGERS: Partial<Record<typeof Deno.build.os, Manager>> = {
  linux: {
    start: () => `systemctl --user daemon-reload && systemctl --user enable --now ${SERVICE_NAME}`,
    stop: () => `systemctl --user disable --now ${SERVICE_NAME}`,
  },
  darwin: {
    start: (file) => `launchctl bootstrap gui/$(id -u) "${file}"`,
    stop: (file) => `launchctl bootout gui/$(id -u) "${file}"`,
  },
  windows: {
    start: (file) =>
      `powershell -Command "Register-ScheduledTask -Force -TaskName ${SERVICE_NAME} -Xml (Get-Content -Raw '${file}'); ` +
      `Start-ScheduledTask ${SERVICE_NAME}"`,
    stop: () => `powershell -Command "Unregister-ScheduledTask -Confirm:\\$false -TaskName ${SERVICE_NAME}"`,
  },
};

function managerOf(os: typeof Deno.build.os): Manager {
  const manager = MANAGERS[os];
  if (manager !== undefined) return manager;
  throw new SettingError(`Cannot define a service on ${os} as the agent knows none there`);
}

async function install(context: CommandContext): Promise<ExitCode> {
  const { env, options, print } = context;
  const { os } = Deno.build;
  const manager = managerOf(os);
  const { settings, file: settingsFile } = await context.loadSettings();
  // Found at the usual places, it is found there by the service too.
  const named = context.program.opts().config !== undefined || Boolean(env("LIFELOG_CONFIG"));
  const program = programOf(options.program);
  const logFolder = settings.logFile === undefined ? [] : [dirname(settings.logFile)];
  const writable = [...new Set([dirname(settings.cachePath), ...logFolder])];
  const common = {
    program,
    config: named && settingsFile !== undefined ? resolve(settingsFile) : undefined,
    writable,
    sandbox: options.sandbox !== false,
  };
  const file = serviceFile({ env });
  const definition = os === "linux"
    ? systemdUnit(common)
    : os === "darwin"
    ? launchdPlist({ ...common, logFile: join(dirname(settings.cachePath), "service.log") })
    : windowsTask(common);
  if (options.print === true) {
    print(definition.trimEnd());
    return ExitCode.Ok;
  }
  // Closed to the service unless they are there when it starts.
  for (const folder of writable) makePrivateFolder(folder);
  try {
    Deno.mkdirSync(dirname(file), { recursive: true });
    const draft = `${file}.${Deno.pid}.new`;
    Deno.writeTextFileSync(draft, definition);
    Deno.renameSync(draft, file);
  } catch (error) {
    throw new StoreError(`Cannot write "${file}": ${error instanceof Error ? error.message : error}`, {
      cause: error,
    });
  }
  print(`Wrote ${file}\nStart it now and at every login by:\n  ${manager.start(file)}`);
  return ExitCode.Ok;
}

function programOf(named: string | boolean | undefined): string {
  const program = typeof named === "string" ? resolve(named) : Deno.execPath();
  if (/^deno(\.exe)?$/.test(basename(program))) {
    throw new SettingError(`Cannot define a service as this agent runs from its source, by "${program}"`, {
      hint: "Use the compiled program, or name it by --program",
    });
  }
  return program;
}

function uninstall({ env, print }: CommandContext): ExitCode {
  const file = serviceFile({ env });
  const manager = managerOf(Deno.build.os);
  try {
    Deno.removeSync(file);
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) {
      print(`There is no ${file}`);
      return ExitCode.Ok;
    }
    throw new StoreError(`Cannot remove "${file}": ${error instanceof Error ? error.message : error}`, {
      cause: error,
    });
  }
  print(`Removed ${file}\nStop what still runs by:\n  ${manager.stop(file)}`);
  return ExitCode.Ok;
}

async function status(context: CommandContext): Promise<ExitCode> {
  const { env, print } = context;
  const file = serviceFile({ env });
  const defined = exists(file);
  const { cachePath } = (await context.loadSettings()).settings;
  const running = isLocked(`${cachePath}.lock`);
  print(`Service: ${defined ? `defined in ${file}` : "not defined"}`);
  print(`Agent: ${running ? "running" : "not running"} on ${cachePath}`);
  return running ? ExitCode.Ok : ExitCode.Failed;
}

function exists(path: string): boolean {
  try {
    Deno.statSync(path);
    return true;
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return false;
    throw error;
  }
}
