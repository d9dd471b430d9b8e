/**
 * A real systemd with a real manager of an ordinary user, in namespaces of their own: this machine's is not touched.
 * Needs root, `unshare`, `nsenter` and systemd.
 */

/** The ordinary user; any that every system has. */
const USER = "games";

/** Tells why no systemd can be booted here; `undefined` where one can. */
export function whyNoSystemd(): string | undefined {
  if (Deno.build.os !== "linux") return "not Linux";
  if (Deno.uid() !== 0) return "not root";
  for (
    const program of ["/usr/bin/unshare", "/usr/bin/nsenter", "/usr/bin/setpriv", "/lib/systemd/systemd"]
  ) {
    try {
      Deno.statSync(program);
    } catch {
      return `no ${program}`;
    }
  }
  const { success } = new Deno.Command("unshare", {
    args: ["--pid", "--mount", "--fork", "--mount-proc", "--ipc", "--uts", "--cgroup", "true"],
    stdin: "null",
    stderr: "null",
  }).outputSync();
  return success ? undefined : "no namespaces";
}

/** A booted systemd. */
export interface BootedSystemd extends AsyncDisposable {
  readonly home: string;
  /** Runs a command as the ordinary user, in its session. */
  readonly asUser: (args: readonly string[]) => Promise<{ code: number; output: string }>;
}

/** Boots one, and waits until its user's manager is up. */
export async function bootSystemd(): Promise<BootedSystemd> {
  // Not below /tmp, which the services have to themselves.
  const home = await Deno.makeTempDir({ dir: "/home", prefix: "lifelog-systemd-" });
  const id = async (flag: string) => (await outputOf("id", [flag, USER])).trim();
  const [uid, gid] = [await id("-u"), await id("-g")];
  await Deno.chmod(home, 0o700);
  await Deno.chown(home, Number(uid), Number(gid));
  const runtime = `/run/user/${uid}`;
  // Nothing of this machine's is started, and its /tmp is out of reach.
  const script = `set -e
mount --make-rprivate /
for folder in /run /tmp /var/tmp; do mount -t tmpfs -o mode=1777 tmpfs $folder; done
chmod 755 /run
mkdir -p /run/systemd/system /run/systemd/unit-root ${runtime}
chown ${uid}:${gid} ${runtime}
chmod 700 ${runtime}
cat >/run/systemd/system/alone.target <<X
[Unit]
DefaultDependencies=no
Wants=manager.service
X
cat >/run/systemd/system/manager.service <<X
[Unit]
DefaultDependencies=no
[Service]
Type=notify
User=${uid}
Group=${gid}
Environment=XDG_RUNTIME_DIR=${runtime} HOME=${home}
ExecStart=/lib/systemd/systemd --user
Delegate=yes
KillMode=mixed
X
exec env -i container=lxc PATH=/usr/bin:/bin:/usr/sbin:/sbin /lib/systemd/systemd --system --unit=alone.target`;
  const process = new Deno.Command("unshare", {
    args: [
      ..."--pid --mount --fork --mount-proc --ipc --uts --cgroup --kill-child".split(" "),
      "sh",
      "-c",
      script,
    ],
    stdin: "null",
    stdout: "null",
    stderr: "null",
  }).spawn();
  const inside = async (args: readonly string[]) => {
    const children = `/proc/${process.pid}/task/${process.pid}/children`;
    const init = (await Deno.readTextFile(children).catch(() => "")).trim();
    const { code, stdout, stderr } = await new Deno.Command("nsenter", {
      args: ["-t", init || "0", "-p", "-m", "-i", "-u", "-C", ...args],
      stdin: "null",
    }).output();
    const decoder = new TextDecoder();
    return { code, output: decoder.decode(stdout) + decoder.decode(stderr) };
  };
  const env = [`HOME=${home}`, `XDG_RUNTIME_DIR=${runtime}`, "PATH=/usr/bin:/bin:/usr/sbin:/sbin"];
  const asUser = (args: readonly string[]) =>
    inside(["setpriv", `--reuid=${uid}`, `--regid=${gid}`, "--clear-groups", "env", "-i", ...env, ...args]);
  const close = async () => {
    process.kill("SIGKILL");
    await process.status;
    await Deno.remove(home, { recursive: true });
  };
  for (
    let tries = 0;
    (await asUser(["systemctl", "--user", "is-system-running"])).output.trim() !== "running";
    tries++
  ) {
    if (tries === 100) {
      await close();
      throw new Error("Cannot boot systemd: its user's manager does not come up");
    }
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
  return { home, asUser, [Symbol.asyncDispose]: close };
}

async function outputOf(command: string, args: string[]): Promise<string> {
  const { stdout } = await new Deno.Command(command, { args, stdin: "null" }).output();
  return new TextDecoder().decode(stdout);
}
