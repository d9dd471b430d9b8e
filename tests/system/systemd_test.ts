import assert from "node:assert/strict";
import { join } from "node:path";
import { systemdUnit } from "../../lib/service/definitions.ts";
import { currentRelease, nextRelease } from "./release.ts";
import { standIns } from "./stand_ins.ts";
import { bootSystemd, whyNoSystemd } from "./systemd.ts";

const SCRIPT = new URL("../../install/install.sh", import.meta.url);
const why = whyNoSystemd();
/** How open a service may be by the judgement of `systemd-analyze`, from 0 (closed) to 10. */
const MAX_EXPOSURE = 2.2;

Deno.test({
  name: "under a real systemd: installed, up, closed, upgraded, taken over, removed without a trace" +
    (why === undefined ? "" : ` (none can be booted here: ${why})`),
  ignore: why !== undefined,
  fn: async () => {
    await using world = standIns();
    await using systemd = await bootSystemd();
    const { home, asUser } = systemd;
    const scratch = await Deno.makeTempDir({ dir: "/home", prefix: "lifelog-release-" });
    try {
      const script = join(scratch, "install.sh");
      await Deno.copyFile(SCRIPT, script);
      const current = currentRelease(join(scratch, "current"));
      const next = await nextRelease(join(scratch, "next"));
      await new Deno.Command("chmod", { args: ["-R", "a+rX", scratch] }).output();
      const install = async (...args: string[]) => {
        const { code, output } = await asUser(["sh", script, ...args]);
        assert.equal(code, 0, output);
        return output;
      };
      const show = async (property: string) =>
        (await asUser(["systemctl", "--user", "show", "lifelog-agent", "-p", property, "--value"])).output
          .trim();
      const before = filesBelow(home);

      // The Python daemon's service is there and runs.
      const units = join(home, ".config", "systemd", "user");
      await asUser(["mkdir", "-p", units]);
      const unit =
        "[Service]\nExecStart=/bin/sh -c 'sleep 1000; : local_daemon.daemon'\n[Install]\nWantedBy=default.target\n";
      await asUser(["sh", "-c", `printf %s "$0" >${join(units, "lifelog-daemon.service")}`, unit]);
      await asUser(["systemctl", "--user", "enable", "--now", "lifelog-daemon"]);
      await asUser(["mkdir", "-p", join(home, ".config", "lifelog-agent")]);
      const settings = `AW_URL=${world.origin}\nCENTRAL_SERVER_ENDPOINT=${world.origin}/ingest\n` +
        "AW_SETTLE_SECONDS=1\nCOLLECTION_INTERVAL_SECONDS=1\nBATCH_SEND_INTERVAL_SECONDS=1\n";
      await asUser([
        "sh",
        "-c",
        `umask 077; printf %s "$0" >${join(home, ".config/lifelog-agent/config.env")}`,
        settings,
      ]);

      assert.match(await install("--from", current.folder), /The agent is not started|Left as it is/);
      assert.equal(
        (await asUser(["systemctl", "--user", "is-active", "lifelog-daemon"])).output.trim(),
        "active",
      );
      world.record(Date.now() - 7_200_000, "first");
      assert.match(
        await install("--from", current.folder, "--yes"),
        /The agent is running, and starts at every login/,
      );
      assert.equal(
        (await asUser(["systemctl", "--user", "is-active", "lifelog-daemon"])).output.trim(),
        "inactive",
      );
      assert.equal(
        (await asUser(["systemctl", "--user", "is-enabled", "lifelog-daemon"])).output.trim(),
        "disabled",
      );
      assert.equal(await show("ActiveState"), "active");
      assert.equal(await show("NotifyAccess"), "main");
      assert.equal(
        (await asUser(["systemctl", "--user", "is-enabled", "lifelog-agent"])).output.trim(),
        "enabled",
      );
      await world.until(1);

      // It is as closed as the unit reads: a user's manager leaves out what it cannot do, and says nothing.
      const pid = await show("MainPID");
      const mounts = (await asUser(["cat", `/proc/${pid}/mountinfo`])).output;
      assert.match(mounts, / \/ ro,/);
      const status = (await asUser(["cat", `/proc/${pid}/status`])).output;
      assert.match(status, /^CapBnd:\t0000000000000000$/m);
      assert.match(status, /^NoNewPrivs:\t1$/m);
      assert.match(status, /^Seccomp:\t2$/m);
      const analysis =
        (await asUser(["systemd-analyze", "--user", "security", "lifelog-agent", "--no-pager"])).output;
      const exposure = Number(/exposure level for .*: ([\d.]+)/.exec(analysis)?.[1]);
      console.log(`systemd-analyze security: ${exposure}`);
      assert.ok(exposure <= MAX_EXPOSURE, analysis);

      assert.match(await install("--from", next.folder), /lifelog-agent 99\.0\.0/);
      assert.equal(await show("ActiveState"), "active");
      assert.notEqual(await show("MainPID"), pid);
      world.record(Date.now() - 3_600_000, "second");
      await world.until(2);
      assert.equal(world.sent(), 2);

      // It says often enough that it lives, and one that hangs is found.
      const dropIn = join(home, ".config/systemd/user/lifelog-agent.service.d");
      await asUser(["mkdir", dropIn]);
      await asUser([
        "sh",
        "-c",
        `printf '[Service]\\nWatchdogSec=2s\\nTimeoutAbortSec=1s\\n' >${dropIn}/short.conf`,
      ]);
      await asUser(["systemctl", "--user", "daemon-reload"]);
      await asUser(["systemctl", "--user", "restart", "lifelog-agent"]);
      const started = await show("WatchdogTimestampMonotonic");
      await until(async () => Number(await show("WatchdogTimestampMonotonic")) > Number(started) + 3_000_000);
      assert.equal(await show("NRestarts"), "0");
      await asUser(["kill", "-STOP", await show("MainPID")]);
      await until(async () => (await show("Result")) === "watchdog");
      await asUser(["rm", "-r", dropIn]);

      await install("--uninstall", "--purge", "--yes");
      assert.equal(await show("LoadState"), "not-found");
      await asUser(["rm", "-r", join(home, ".config")]);
      assert.deepEqual(filesBelow(home), before);
    } finally {
      await Deno.remove(scratch, { recursive: true });
    }
  },
});

/** Settles when something has come true, which it must within a minute. */
async function until(isTrue: () => Promise<boolean>): Promise<void> {
  for (let tries = 0; !await isTrue(); tries++) {
    assert.ok(tries < 120, "It did not come true within a minute");
    await new Promise((resolve) => setTimeout(resolve, 500));
  }
}

function filesBelow(folder: string): string[] {
  return [...Deno.readDirSync(folder)].flatMap(({ name, isDirectory }) => {
    const path = join(folder, name);
    return isDirectory ? [path, ...filesBelow(path)] : [path];
  }).toSorted();
}

const analyze = await exists("/usr/bin/systemd-analyze");

Deno.test({
  name: `systemd-analyze verify has nothing to say of the unit${analyze ? "" : " (no systemd-analyze here)"}`,
  ignore: !analyze,
  fn: async () => {
    const folder = await Deno.makeTempDir({ prefix: "lifelog-unit-" });
    try {
      for (const sandbox of [true, false]) {
        const file = join(folder, "lifelog-agent.service");
        // A page of the manual that is not installed is all that it could miss.
        const unit = systemdUnit({
          program: "/bin/true",
          writable: ["%h/.local/state/lifelog-agent"],
          sandbox,
        })
          .replace(/^Documentation=.*\n/m, "");
        await Deno.writeTextFile(file, unit);
        const { code, stdout, stderr } = await new Deno.Command("systemd-analyze", {
          args: ["verify", "--user", file],
          env: { XDG_RUNTIME_DIR: folder, SYSTEMD_LOG_LEVEL: "warning" },
          stdin: "null",
        }).output();
        const said = new TextDecoder().decode(stdout) + new TextDecoder().decode(stderr);
        assert.deepEqual(said.split("\n").filter((line) => line.includes("lifelog-agent")), [], said);
        assert.equal(code, 0, said);
      }
    } finally {
      await Deno.remove(folder, { recursive: true });
    }
  },
});

async function exists(path: string): Promise<boolean> {
  return Deno.build.os === "linux" && await Deno.stat(path).then(() => true, () => false);
}
