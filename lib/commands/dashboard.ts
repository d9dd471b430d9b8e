import { dirname } from "node:path";
import { SettingError } from "../errors.ts";
import { ExitCode } from "../exit_codes.ts";
import { makePrivateFolder } from "../paths.ts";
import { readOrCreateWebToken, webTokenFile } from "../web/token.ts";
import type { CommandSpec } from "./command.ts";

/** Tells how to get into the dashboard. */
export const dashboard: CommandSpec = {
  name: "dashboard",
  description: "Print the address of the dashboard, with the token that opens it.",
  async run({ loadSettings, print }) {
    const { settings: { healthPort, cachePath } } = await loadSettings();
    if (healthPort === undefined) {
      throw new SettingError("Cannot open the dashboard as HEALTH_PORT is not set", {
        hint: "Set it in the settings file, for example HEALTH_PORT=5610, and restart the agent",
      });
    }
    makePrivateFolder(dirname(cachePath));
    // Behind the #, where no browser sends it and no log has it.
    print(`http://127.0.0.1:${healthPort}/#token=${readOrCreateWebToken(webTokenFile(cachePath))}`);
    return ExitCode.Ok;
  },
};
