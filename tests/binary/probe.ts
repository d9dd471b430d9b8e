/**
 * A program that tries what the agent must not be able to do, for tests: compiled with the agent's permissions. Prints
 * the name of what worked and of what was refused, each on a line.
 */

const [host, file] = Deno.args as [string, string];
const remote = `http://${host}/module.js`;

const ATTEMPTS: Record<string, () => unknown> = {
  run: () => new Deno.Command("/bin/true").outputSync(),
  child_process: async () => (await import("node:child_process")).execSync("true"),
  ffi: () => Deno.dlopen("libc.so.6", {}),
  napi: async () => (await import("node:process")).default.dlopen({ exports: {} } as never, "/tmp/none.node"),
  sys: () => Deno.hostname(),
  env: () => Deno.env.get("PATH"),
  env_all: () => Deno.env.toObject(),
  import: () => import(remote),
  memory: () => Deno.openSync("/proc/self/mem", { write: true }),
  environ: () => Deno.readTextFileSync("/proc/self/environ"),
  net: () => fetch(`http://${host}/`).then((response) => response.text()),
  read: () => Deno.readTextFileSync(file),
  write: () => Deno.writeTextFileSync(file, "written"),
};

for (const [name, attempt] of Object.entries(ATTEMPTS)) {
  try {
    await attempt();
    console.log(`${name} worked`);
  } catch (error) {
    console.log(`${name} ${(error as Error).name}`);
  }
}
