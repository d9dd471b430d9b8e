import assert from "node:assert/strict";
import { basename, join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import metadata from "../../deno.json" with { type: "json" };
import { currentRelease, nextRelease, type TestRelease } from "./release.ts";
import { standIns } from "./stand_ins.ts";

const SCRIPT = new URL("../../install/install.sh", import.meta.url).pathname;
const unix = { ignore: Deno.build.os === "windows" };
const base = await Deno.makeTempDir({ prefix: "lifelog-install-" });
const current: TestRelease | undefined = unix.ignore ? undefined : currentRelease(join(base, "current"));

/** A home folder with nothing of ours in it, and what is done there. */
interface Home {
  readonly path: string;
  readonly bin: string;
  /** Every file and folder below it. */
  readonly listing: () => string[];
  readonly install: (args: readonly string[], env?: Record<string, string>) => Promise<Result>;
  readonly agent: (args: readonly string[]) => Promise<Result>;
}

interface Result {
  readonly code: number;
  readonly output: string;
}

async function run(command: string, args: readonly string[], env: Record<string, string>): Promise<Result> {
  const { code, stdout, stderr } = await new Deno.Command(command, {
    args: [...args],
    clearEnv: true,
    env,
    stdin: "null",
  })
    .output();
  const decoder = new TextDecoder();
  return { code, output: decoder.decode(stdout) + decoder.decode(stderr) };
}

async function inHome(act: (home: Home) => Promise<void>): Promise<void> {
  const path = await Deno.makeTempDir({ prefix: "lifelog-home-" });
  // No session's systemd: it would be this machine's.
  const env = { HOME: path, PATH: "/usr/bin:/bin:/usr/sbin:/sbin" };
  const bin = join(path, ".local", "bin", "lifelog-agent");
  try {
    await act({
      path,
      bin,
      listing: () => filesBelow(path).toSorted(),
      install: (args, more = {}) => run("sh", [SCRIPT, "--no-service", ...args], { ...env, ...more }),
      agent: (args) => run(bin, args, env),
    });
  } finally {
    await Deno.remove(path, { recursive: true });
  }
}

function filesBelow(folder: string): string[] {
  return [...Deno.readDirSync(folder)].flatMap(({ name, isDirectory }) => {
    const path = join(folder, name);
    return isDirectory ? [path, ...filesBelow(path)] : [path];
  });
}

const from = ["--from", current?.folder ?? ""];

Deno.test({
  name:
    "install.sh installs, upgrades while the agent runs, and removes without a trace; every event arrives once",
  ...unix,
  fn: () =>
    inHome(async ({ path, bin, listing, install, agent }) => {
      await using world = standIns();
      world.record(Date.now() - 7_200_000, "before");
      // What a user has of their own is left alone.
      await Deno.mkdir(join(path, ".config", "other"), { recursive: true });
      await Deno.writeTextFile(join(path, ".config", "other", "file"), "mine");
      const before = listing();

      const first = await install(from, {
        CENTRAL_SERVER_ENDPOINT: `${world.origin}/ingest`,
        SERVER_AUTH_TOKEN: "to$ken with 'no' quotes".replaceAll("'", ""),
      });
      assert.equal(first.code, 0, first.output);
      assert.ok(!first.output.includes("to$ken"), "the token was printed");
      const settings = join(path, ".config", "lifelog-agent", "config.env");
      assert.equal(Deno.statSync(settings).mode! & 0o777, 0o600);
      assert.match(await Deno.readTextFile(settings), /^SERVER_AUTH_TOKEN='to\$ken with no quotes'$/m);
      await Deno.writeTextFile(
        settings,
        `CENTRAL_SERVER_ENDPOINT=${world.origin}/ingest\nSERVER_AUTH_TOKEN=t\nAW_URL=${world.origin}\n` +
          "AW_SETTLE_SECONDS=1\nCOLLECTION_INTERVAL_SECONDS=1\nBATCH_SEND_INTERVAL_SECONDS=1\n",
      );
      assert.match((await agent(["--version"])).output, new RegExp(`^lifelog-agent ${metadata.version}\n`));

      // The agent runs, and is replaced meanwhile.
      const daemon = new Deno.Command(bin, {
        clearEnv: true,
        env: { HOME: path },
        stdin: "null",
        stderr: "null",
      }).spawn();
      await world.until(1);
      const next = await nextRelease(join(base, "next"));
      const upgrade = await install(["--from", next.folder]);
      assert.equal(upgrade.code, 0, upgrade.output);
      assert.match((await agent(["--version"])).output, /^lifelog-agent 99\.0\.0\n/);
      daemon.kill("SIGTERM");
      assert.equal((await daemon.status).code, 0);
      assert.match(await Deno.readTextFile(settings), /AW_URL=/);

      world.record(Date.now() - 3_600_000, "after");
      const once = await agent(["--once"]);
      assert.equal(once.code, 0, once.output);
      assert.deepEqual([...world.stored].map((text) => JSON.parse(text).data.title), ["before", "after"]);
      assert.equal(world.sent(), 2);

      const again = await install(["--from", next.folder]);
      assert.match(again.output, /lifelog-agent is as it should be/);
      const back = await install(from);
      assert.equal(back.code, 0, back.output);
      assert.equal((await agent(["--once"])).code, 0);
      assert.equal(world.sent(), 2);

      const kept = await install(["--uninstall"]);
      assert.equal(kept.code, 0, kept.output);
      assert.ok(!listing().some((file) => basename(file) === "lifelog-agent" && Deno.statSync(file).isFile));
      assert.ok(listing().some((file) => file.endsWith("cache.sqlite")));
      const unasked = await install(["--uninstall", "--purge"]);
      assert.equal(unasked.code, 1);
      assert.match(unasked.output, /agree by --yes/);
      const purged = await install(["--uninstall", "--purge", "--yes"]);
      assert.equal(purged.code, 0, purged.output);
      assert.deepEqual(listing(), before);
    }),
});

Deno.test({
  name: "install.sh takes over from the Python daemon with consent: its unsent events go out, none twice",
  ...unix,
  fn: () =>
    inHome(async ({ path, listing, install, agent }) => {
      await using world = standIns();
      const startMs = Date.now() - 7_200_000;
      // By now it is longer than the daemon has it.
      world.record(startMs, "had by the daemon");
      world.record(startMs + 600_000, "since");
      const folder = join(path, ".lifelog");
      await Deno.mkdir(folder);
      await Deno.writeTextFile(
        join(folder, "config.env"),
        `CENTRAL_SERVER_ENDPOINT=${world.origin}/ingest\nSERVER_AUTH_TOKEN=t\nAW_URL=${world.origin}\n` +
          "LOCAL_CACHE_DB_PATH=~/.lifelog/local_daemon_cache.sqlite\n",
      );
      const cache = join(folder, "local_daemon_cache.sqlite");
      const timestamp = new Date(startMs).toISOString().replace("Z", "000+00:00");
      const db = new DatabaseSync(cache);
      db.exec(
        `CREATE TABLE event_cache (id INTEGER PRIMARY KEY AUTOINCREMENT, event_hash TEXT UNIQUE NOT NULL,
        timestamp TEXT NOT NULL, event_type TEXT NOT NULL, source TEXT NOT NULL, device_id TEXT NOT NULL,
        data TEXT NOT NULL, added_at TEXT NOT NULL, send_attempts INTEGER DEFAULT 0, last_send_attempt_at TEXT)`,
      );
      const data = '{"app": "App", "title": "had by the daemon", "url": null, "duration_seconds": 7.0}';
      db.prepare(
        "INSERT INTO event_cache VALUES (1, 'h', ?, 'desktop_activity.window', 'a', 'laptop', ?, ?, 3, NULL)",
      )
        .run(timestamp, data, timestamp);
      db.close();

      const before = listing();
      const unasked = await install(from);
      assert.match(unasked.output, /The Python daemon is installed:\n.*local_daemon_cache\.sqlite/);
      assert.match(unasked.output, /Left as it is/);
      assert.ok(before.every((file) => listing().includes(file)), "something of the daemon's was changed");

      const taken = await install([...from, "--yes"]);
      assert.equal(taken.code, 0, taken.output);
      assert.match(taken.output, /Took over 1 unsent events of the Python daemon/);
      const once = await agent(["--once"]);
      assert.equal(once.code, 0, once.output);
      assert.deepEqual([...world.stored].map((text) => JSON.parse(text).data), [
        { app: "App", title: "had by the daemon", url: null, duration_seconds: 7 },
        { app: "App", title: "since", url: null, duration_seconds: 60 },
      ]);
      assert.equal(JSON.parse([...world.stored][0]!).timestamp, timestamp);
      const again = await install([...from, "--yes"]);
      assert.doesNotMatch(again.output, /Python daemon/);
    }),
});

Deno.test({
  name: "install.sh refuses an archive that hashes to something else, and changes nothing",
  ...unix,
  fn: () =>
    inHome(async ({ path, listing, install }) => {
      const tampered = join(base, "tampered");
      await Deno.mkdir(tampered);
      for (const { name } of Deno.readDirSync(current!.folder)) {
        await Deno.copyFile(join(current!.folder, name), join(tampered, name));
        if (!name.endsWith(".tar.gz")) continue;
        using file = await Deno.open(join(tampered, name), { append: true });
        await file.write(new Uint8Array(1));
      }
      const refused = await install(["--from", tampered]);
      assert.equal(refused.code, 1);
      assert.match(refused.output, /Refused: .* must hash to [0-9a-f]{64} and hashes to [0-9a-f]{64}/);
      const archive = [...Deno.readDirSync(tampered)].find(({ name }) => name.endsWith(".tar.gz"))!.name;
      await Deno.remove(join(tampered, "SHA256SUMS"));
      const unknown = await install(["--from", join(tampered, archive)]);
      assert.equal(unknown.code, 1);
      assert.match(unknown.output, /Cannot verify/);
      const named = await install(["--from", join(tampered, archive), "--sha256", "0".repeat(64)]);
      assert.match(named.output, /must hash to 0{64}/);
      assert.deepEqual(listing(), []);
      assert.ok(path);
    }),
});

Deno.test({
  name: "install.sh --dry-run says what it would do and does nothing",
  ...unix,
  fn: () =>
    inHome(async ({ listing, install }) => {
      const dry = await install([...from, "--dry-run"]);
      assert.equal(dry.code, 0, dry.output);
      assert.match(dry.output, /would install .*\/\.local\/bin\/lifelog-agent/);
      assert.deepEqual(listing(), []);
    }),
});

Deno.test({
  name:
    "install.sh installs below --prefix, from an archive that was unpacked, and writes no settings over others",
  ...unix,
  fn: () =>
    inHome(async ({ path, install }) => {
      const archive = [...Deno.readDirSync(current!.folder)].find(({ name }) =>
        name.endsWith(".tar.gz")
      )!.name;
      const unpacked = join(path, "unpacked");
      await Deno.mkdir(unpacked);
      await run("tar", ["-xzf", join(current!.folder, archive), "-C", unpacked], { PATH: "/usr/bin:/bin" });
      const folder = join(path, ".config", "lifelog-agent");
      await Deno.mkdir(folder, { recursive: true });
      await Deno.writeTextFile(join(folder, "config.toml"), "# mine\n");
      const { code, stderr } = await new Deno.Command("sh", {
        args: [join(unpacked, "install.sh"), "--no-service", `--prefix=${join(path, "my prefix")}`],
        clearEnv: true,
        env: { HOME: path, PATH: "/usr/bin:/bin" },
        stdin: "null",
      }).output();
      assert.equal(code, 0, new TextDecoder().decode(stderr));
      assert.ok(Deno.statSync(join(path, "my prefix", "bin", "lifelog-agent")).isFile);
      assert.deepEqual([...Deno.readDirSync(folder)].map(({ name }) => name), ["config.toml"]);
      assert.equal((await install(["--no-such-option"])).code, 1);
    }),
});

globalThis.addEventListener("unload", () => Deno.removeSync(base, { recursive: true }));
