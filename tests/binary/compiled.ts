/** The compiled program in dist/, as its tests run it. */

import { fileURLToPath } from "node:url";

const NAME = Deno.build.os === "windows" ? "lifelog-agent.exe" : "lifelog-agent";

export const BINARY = fileURLToPath(new URL(`../../dist/${NAME}`, import.meta.url));

/** Runs the program in a home of its own, with nothing in its environment but what is given. */
export async function run(
  home: string,
  args: readonly string[],
  env: Record<string, string> = {},
  command = BINARY,
): Promise<{ code: number; stdout: string; stderr: string }> {
  const { code, stdout, stderr } = await new Deno.Command(command, {
    args: [...args],
    cwd: home,
    clearEnv: true,
    env: { HOME: home, AW_SETTLE_SECONDS: "0", ...env },
    stdin: "null",
  }).output();
  const decoder = new TextDecoder();
  return { code, stdout: decoder.decode(stdout), stderr: decoder.decode(stderr) };
}

/** Makes a home, and takes it away after `act`. */
export async function inHome(act: (home: string) => Promise<void>): Promise<void> {
  const home = await Deno.makeTempDir({ prefix: "lifelog-binary-" });
  try {
    await act(home);
  } finally {
    await Deno.remove(home, { recursive: true });
  }
}
