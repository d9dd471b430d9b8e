import type { Command } from "commander";
import type { LoadedSettings } from "../config/load.ts";
import type { Settings } from "../config/settings.ts";
import type { Filter, Policy, RelatedSource, Sink, Source } from "../event.ts";
import type { ExitCode } from "../exit_codes.ts";
import type { Env } from "../paths.ts";

/** Where events come from, what they pass through and where they go: named by `main.ts`. */
export interface Parts {
  readonly source: (settings: Settings, onSkipped?: (bucketId: string) => void) => Source & RelatedSource;
  readonly filters: (settings: Settings) => Filter[];
  /** What the user lets leave; `hashKey` reads the device's secret, where a rule needs it. */
  readonly policy: (settings: Settings, hashKey: () => Uint8Array) => Policy;
  /** Returns `undefined` when no endpoint is set. */
  readonly sink: (settings: Settings, deviceId: string) => Sink | undefined;
}

/** What a command gets. */
export interface CommandContext extends Parts {
  /** The command's arguments, in their order; those of a `...` argument one after another at the end. */
  readonly args: readonly string[];
  /** The command's own options, by their long name in camel case. */
  readonly options: Readonly<Record<string, string | boolean | undefined>>;
  /**
   * Reads the settings: options over environment over file over defaults.
   * @throws {SettingError} when any value cannot be used
   */
  readonly loadSettings: () => Promise<LoadedSettings>;
  readonly env: Env;
  /** The settings file that was named, by `--config` or in the environment. */
  readonly configPath?: string | undefined;
  /** Writes a line to the standard output. */
  readonly print: (line: string) => void;
  /** Whether what is printed may have colours: it goes to a terminal, and nobody set NO_COLOR. */
  readonly colors: boolean;
  /** Ends the process at once. */
  readonly terminate: (code: number) => void;
  /** The whole command line as it is declared, for what is made from it. */
  readonly program: Command;
}

/** An option of a command, as commander writes them: `--json`, `--hours <count>`. */
export interface CommandOption {
  readonly flags: string;
  readonly description: string;
  /** What its value may be; anything where there is none. */
  readonly choices?: readonly string[];
}

/** An argument of a command, as commander writes them: `<id>`, `[shell]`, `<ids...>`. */
export interface CommandArgument {
  readonly name: string;
  readonly description: string;
  /** What it may be; anything where there is none. */
  readonly choices?: readonly string[];
}

/** A command: the single source of what it is called, of its help and of what it does. */
export interface CommandSpec {
  readonly name: string;
  readonly description: string;
  readonly arguments?: readonly CommandArgument[];
  readonly options?: readonly CommandOption[];
  /** Commands of its own, such as `list` of `dead-letters`. */
  readonly commands?: readonly CommandSpec[];
  /**
   * Does the work and tells the exit code. Left out where only its own commands do something.
   * @throws {UserError} for what the person can mend; it is printed with its hint
   */
  readonly run?: (context: CommandContext) => ExitCode | Promise<ExitCode>;
}
