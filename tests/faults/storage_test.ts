import assert from "node:assert/strict";
import { DatabaseSync } from "node:sqlite";
import { markFile } from "../../lib/store/mark.ts";
import { MIGRATIONS } from "../../lib/store/migrations.ts";
import { randomOf, type SmallDisk, smallDisk } from "./storage.ts";
import { faultTable } from "./table.ts";
import { complaints, FULL, until, World } from "./world.ts";

const tell = faultTable("The cache's disk and file fail");
const KIB = 1024;
const DAEMON = { COLLECTION_INTERVAL_SECONDS: "1", BATCH_SEND_INTERVAL_SECONDS: "1" };

/** Does `work` with a world whose cache is on a small disk, or says that it was left out. */
async function onSmallDisk(
  bytes: number,
  events: number,
  work: (world: World, disk: SmallDisk) => Promise<void>,
): Promise<void> {
  const disk = await smallDisk(bytes);
  if (disk === undefined) {
    console.log("LEFT OUT: no small disk can be mounted here");
    return;
  }
  await using _disk = disk;
  await using world = new World({ events, folder: disk.folder });
  await work(world, disk);
}

const said = (lines: readonly string[], pattern: RegExp): string => {
  const line = lines.find((line) => pattern.test(line));
  assert.ok(line !== undefined, `${pattern} in\n${lines.join("\n")}`);
  return line;
};

Deno.test("a disk that is full before the first start: the agent says so and leaves with 3", () =>
  onSmallDisk(1024 * KIB, 30, async (world, disk) => {
    disk.fill();
    const run = await world.once();
    assert.equal(run.code, 3, run.stderr);
    const line = said(run.stderr.split("\n"), /full|space/i);
    disk.free();
    assert.equal((await world.once()).code, 0);
    world.assertExact();
    tell("disk full before the first start", { "exit code": 3, afterwards: "exact", "the log says": line });
  }));

Deno.test("a disk that is full when the daemon starts: it waits for room, and goes on by itself", () =>
  onSmallDisk(3000 * KIB, 30, async (world, disk) => {
    assert.equal((await world.once()).code, 0);
    world.record(10);
    disk.fill();
    const daemon = world.agent.daemon(DAEMON);
    await new Promise((resolve) => setTimeout(resolve, 1500));
    disk.free();
    await until(() => world.receiver.events.length > 37, "it goes on", 60_000);
    const run = await daemon.stop();
    assert.equal(run.code, 0, run.stderr);
    const line = said(complaints(run), /full|has free space/);
    assert.equal((await world.once()).code, 0);
    world.assertExact();
    tell("disk full when the daemon starts", {
      "exit code": "waits",
      afterwards: "exact",
      "the log says": line,
    });
  }));

Deno.test("a disk that fills up while events are collected: nothing is lost", () =>
  onSmallDisk(9000 * KIB, 6000, async (world, disk) => {
    await world.receiver.stop();
    disk.fill(700 * KIB);
    const run = await world.once();
    assert.equal(run.code, 1, run.stderr);
    const line = said(complaints(run), /Cannot write the cache .*full.*Free some space/);
    assert.ok(world.waiting() < 6000);
    disk.free();
    world.receiver.start();
    assert.equal((await world.once()).code, 0);
    world.assertExact();
    tell("disk full while collecting", { "exit code": 1, afterwards: "exact", "the log says": line });
  }));

Deno.test("a disk that is full at every stage of a run, from nothing free to enough: nothing is lost", () =>
  onSmallDisk(6000 * KIB, 0, async (world, disk) => {
    const steps = FULL ? 120 : 24;
    const codes = new Map<number, number>();
    for (let step = 0; step < steps; step++) {
      world.record(60);
      // In turn with a server that is there and one that is not, so that deletions fail as well as insertions.
      if (step % 3 === 0) await world.receiver.stop();
      disk.fill(Math.floor(step * (400 * KIB / steps)));
      const { code, stderr } = await world.once();
      assert.ok(code === 0 || code === 1 || code === 3, stderr);
      codes.set(code, (codes.get(code) ?? 0) + 1);
      disk.free();
      if (step % 3 === 0) world.receiver.start();
    }
    const last = await world.once();
    assert.equal(last.code, 0, last.stderr);
    world.assertExact();
    assert.equal(world.dead(), 0);
    tell(`disk full at ${steps} stages`, {
      "exit code": [...codes].sort().map(([code, times]) => `${code}: ${times}×`).join(", "),
      afterwards: "exact",
      "the log says": "",
    });
  }));

Deno.test("a disk that is full while the daemon runs: it says so once, keeps trying, and goes on by itself", () =>
  onSmallDisk(14_000 * KIB, 40, async (world, disk) => {
    const daemon = world.agent.daemon(DAEMON);
    await until(() => world.receiver.events.length > 30, "the first events are there");
    disk.fill();
    // So much that it cannot fit into what the log has room for.
    world.record(4000);
    const before = world.receiver.events.length;
    await new Promise((resolve) => setTimeout(resolve, 4000));
    disk.free();
    await until(() => world.receiver.events.length > 4000, "the events are there after all", 60_000);
    const run = await daemon.stop();
    assert.equal(run.code, 0, run.stderr);
    const line = said(complaints(run), /Cannot write the cache .*full/);
    assert.ok(complaints(run).filter((line) => /full/.test(line)).length <= 8, "it is said seldom");
    assert.match(run.stderr, /Works again/);
    assert.equal((await world.once()).code, 0);
    world.assertExact();
    tell("disk full while the daemon runs", {
      "exit code": `went on (${before} delivered before)`,
      afterwards: "exact",
      "the log says": line,
    });
  }));

Deno.test("what the server confirmed and a full disk could not let go is not sent over and over", () =>
  onSmallDisk(3000 * KIB, 0, async (world, disk) => {
    await world.receiver.stop();
    world.record(200);
    await world.once();
    assert.equal(world.waiting(), 200);
    world.receiver.start();
    // The disk is full from the moment that the server has them.
    world.receiver.rest = () => {
      disk.fill();
      world.receiver.rest = undefined;
      return Promise.resolve();
    };
    const daemon = world.agent.daemon(DAEMON);
    await until(() => world.receiver.requests.length > 0, "they are sent");
    await new Promise((resolve) => setTimeout(resolve, 4000));
    const requests = world.receiver.requests.length;
    disk.free();
    world.record(20);
    await until(() => world.receiver.events.length > 210, "it goes on", 60_000);
    const run = await daemon.stop();
    assert.equal(run.code, 0, run.stderr);
    assert.ok(requests <= 3, `${requests} requests while the disk was full`);
    assert.equal((await world.once()).code, 0);
    world.assertExact();
    tell("disk full while delivering", {
      "exit code": "went on",
      afterwards: "exact",
      "the log says": `requests while full: ${requests}`,
    });
  }));

Deno.test("a file size limit stops the cache from growing: nothing is lost", {
  ignore: Deno.build.os === "windows",
}, async () => {
  await using world = new World({ events: 3000 });
  const run = await world.agent.command(["--once"], {}, [
    "sh",
    "-c",
    'trap "" XFSZ; ulimit -f 400; exec "$0" "$@"',
  ]);
  assert.ok(run.code === 1 || run.code === 3, `${run.code} ${run.stderr}`);
  const line = said([...complaints(run), ...run.stderr.split("\n")], /Cannot (write|open|read) the cache/);
  assert.equal((await world.once()).code, 0);
  world.assertExact();
  tell("file size limit", { "exit code": run.code, afterwards: "exact", "the log says": line });
});

Deno.test("a folder that cannot be written to: the agent says so and leaves with 3", () =>
  onSmallDisk(3000 * KIB, 30, async (world, disk) => {
    assert.equal((await world.once()).code, 0);
    world.record(10);
    await disk.readOnly(true);
    const run = await world.once();
    assert.equal(run.code, 3, run.stderr);
    const line = said(run.stderr.split("\n"), /Cannot (open|make)/);
    await disk.readOnly(false);
    assert.equal((await world.once()).code, 0);
    world.assertExact();
    tell("read-only folder", { "exit code": 3, afterwards: "exact", "the log says": line });
  }));

Deno.test("a cache that another program holds locked: the agent waits, says so, and goes on when it is let go", async () => {
  await using world = new World({ events: 30 });
  assert.equal((await world.once()).code, 0);
  world.record(10);
  const other = new DatabaseSync(world.cachePath);
  other.exec("BEGIN IMMEDIATE");
  const run = await world.once();
  assert.notEqual(run.code, 0);
  const line = said([...complaints(run), ...run.stderr.split("\n")], /is locked.*Another program|is locked/);
  const daemon = world.agent.daemon(DAEMON);
  await new Promise((resolve) => setTimeout(resolve, 1000));
  other.exec("ROLLBACK");
  other.close();
  await until(() => world.receiver.events.length >= 38, "it goes on", 30_000);
  assert.equal((await daemon.stop()).code, 0);
  assert.equal((await world.once()).code, 0);
  world.assertExact();
  tell("locked by another program", { "exit code": run.code, afterwards: "exact", "the log says": line });
});

Deno.test("an older cache is brought up to date, and a newer one is left untouched with exit code 3", async () => {
  for (let version = 1; version < MIGRATIONS.length; version++) {
    await using world = new World({ events: 12 });
    {
      using db = new DatabaseSync(world.cachePath);
      db.exec("PRAGMA auto_vacuum = INCREMENTAL; PRAGMA journal_mode = WAL");
      for (const step of MIGRATIONS.slice(0, version)) db.exec(step);
      db.exec(`PRAGMA user_version = ${version}`);
    }
    assert.equal((await world.once()).code, 0, `from version ${version}`);
    world.assertExact();
  }
  await using world = new World({ events: 12 });
  await world.once();
  {
    using db = new DatabaseSync(world.cachePath);
    db.exec("PRAGMA user_version = 9999");
  }
  const before = Deno.readFileSync(world.cachePath);
  const run = await world.once();
  assert.equal(run.code, 3);
  assert.deepEqual(Deno.readFileSync(world.cachePath), before);
  const line = said(run.stderr.split("\n"), /version 9999/);
  tell("older and newer schema", {
    "exit code": "0 and 3",
    afterwards: "exact; untouched",
    "the log says": line,
  });
});

Deno.test("without a home folder the agent says what to set, and works when it is set", async () => {
  await using world = new World({ events: 12 });
  const none = {
    HOME: "",
    XDG_STATE_HOME: "",
    XDG_CONFIG_HOME: "",
    USERPROFILE: "",
    LOCALAPPDATA: "",
    APPDATA: "",
  };
  const run = await world.once([], { ...none, LOCAL_CACHE_DB_PATH: "" });
  assert.equal(run.code, 2);
  const line = said(run.stderr.split("\n"), /home folder/);
  assert.equal((await world.once([], none)).code, 0);
  world.assertExact();
  tell("no home folder", { "exit code": "2, or 0 with a path", afterwards: "exact", "the log says": line });
});

/** Damage to the files of a cache; returns what was done. */
type Damage = (world: World, random: (below: number) => number) => string;

const overwrite = (
  path: string,
  change: (bytes: Uint8Array<ArrayBuffer>) => Uint8Array<ArrayBuffer> | void,
) => {
  const bytes = Deno.readFileSync(path);
  Deno.writeFileSync(path, change(bytes) ?? bytes);
};

const DAMAGES: Record<string, Damage> = {
  "random bytes flipped": ({ cachePath }, random) => {
    const flips = 1 + random(30);
    overwrite(cachePath, (bytes) => {
      for (let n = 0; n < flips; n++) bytes[random(bytes.length)]! ^= 1 << random(8);
    });
    return `${flips} bits`;
  },
  "random bytes flipped in the log beside it": ({ cachePath }, random) => {
    overwrite(`${cachePath}-wal`, (bytes) => {
      for (let n = 0; n < 10; n++) bytes[random(bytes.length)]! ^= 1 << random(8);
    });
    return "10 bits";
  },
  "a stretch overwritten with noise": ({ cachePath }, random) => {
    const length = 1 + random(20_000);
    overwrite(cachePath, (bytes) => {
      const at = random(bytes.length);
      crypto.getRandomValues(bytes.subarray(at, at + Math.min(length, 60_000)));
    });
    return `${length} bytes`;
  },
  truncated: ({ cachePath }, random) => {
    const { size } = Deno.statSync(cachePath);
    const to = random(size);
    Deno.truncateSync(cachePath, to);
    return `${to} of ${size} bytes left`;
  },
  "truncated to nothing": ({ cachePath }) => {
    Deno.truncateSync(cachePath);
    return "";
  },
  "zeroed, and its log missing": ({ cachePath }) => {
    overwrite(cachePath, (bytes) => void bytes.fill(0));
    Deno.removeSync(`${cachePath}-wal`);
    return "";
  },
  zeroed: ({ cachePath }) => {
    overwrite(cachePath, (bytes) => void bytes.fill(0));
    return "";
  },
  "its head zeroed, and its log missing": ({ cachePath }) => {
    overwrite(cachePath, (bytes) => void bytes.fill(0, 0, 4096));
    Deno.removeSync(`${cachePath}-wal`);
    return "";
  },
  "its log missing": ({ cachePath }) => {
    Deno.removeSync(`${cachePath}-wal`);
    return "";
  },
  "its log truncated": ({ cachePath }, random) => {
    const { size } = Deno.statSync(`${cachePath}-wal`);
    Deno.truncateSync(`${cachePath}-wal`, random(size));
    return "";
  },
  removed: ({ cachePath }) => {
    for (const suffix of ["", "-wal", "-shm"]) Deno.removeSync(cachePath + suffix);
    return "";
  },
  "overwritten, and log and mark removed": ({ cachePath }) => {
    overwrite(cachePath, (bytes) => void bytes.fill(7));
    Deno.removeSync(`${cachePath}-wal`);
    Deno.removeSync(markFile(cachePath));
    return "";
  },
};

for (const [name, damage] of Object.entries(DAMAGES)) {
  const random = name.includes("random") || name.includes("noise") || name === "truncated";
  const rounds = random ? (FULL ? 60 : 3) : 1;
  Deno.test(`a cache that is damaged: ${name}`, async () => {
    let loud = 0;
    let copies = 0;
    let line = "";
    for (let seed = 1; seed <= rounds; seed++) {
      await using world = new World({ events: 400, settings: { MAX_BATCH_SIZE: "100" } });
      assert.equal((await world.once()).code, 0);
      // Killed with events waiting, some of them in the file and some in the log beside it.
      await world.receiver.stop();
      world.record(300);
      assert.equal((await world.once()).code, 1);
      const daemon = world.agent.daemon(DAEMON);
      world.record(50);
      await until(() => hasLog(world.cachePath), "the log is there");
      await new Promise((resolve) => setTimeout(resolve, 300));
      await daemon.stop("SIGKILL");
      world.receiver.start();
      const what = damage(world, randomOf(seed));
      world.record(20);
      const run = await world.once();
      assert.equal(run.code, 0, `${what}, seed ${seed}: ${run.stderr}`);
      world.assertExact();
      assert.equal(world.waiting(), 0);
      const loss = complaints(run).find((line) => /collected again from ActivityWatch/.test(line));
      if (loss !== undefined) {
        loud++;
        line = loss;
      }
      const copy = [...Deno.readDirSync(world.home)].some(({ name }) => name.includes(".damaged-"));
      if (copy) copies++;
      // A second run has nothing more to say.
      assert.deepEqual(complaints(await world.once()), []);
    }
    assert.ok(loud >= copies, "said loudly");
    if (/^(zeroed,|its head|truncated to|removed|overwritten)/.test(name)) assert.equal(loud, rounds);
    tell(`cache damaged: ${name}${rounds > 1 ? ` (${rounds}×)` : ""}`, {
      "exit code": 0,
      afterwards: `exact (${copies} put aside)`,
      "the log says": line || "nothing: SQLite mends it",
    });
  });
}

Deno.test("a cache that is damaged and too large to be looked at when it is opened", async () => {
  for (const way of ["once", "daemon"] as const) {
    await using world = new World({ events: 20_000, settings: { REQUEST_TIMEOUT_SECONDS: "20" } });
    await world.receiver.stop();
    assert.equal((await world.once()).code, 1);
    const { size } = Deno.statSync(world.cachePath);
    assert.ok(size > 5 * 1024 * 1024, `${size} bytes`);
    DAMAGES["a stretch overwritten with noise"]!(world, randomOf(way.length));
    world.receiver.start();
    world.record(20);
    const runDaemon = async () => {
      const daemon = world.agent.daemon(DAEMON);
      await until(() => world.receiver.events.length >= 20_020, "all events are there", 60_000);
      return await daemon.stop();
    };
    const run = await (way === "once" ? world.once() : runDaemon());
    assert.equal(run.code, 0, run.stderr);
    world.assertExact();
    const line = complaints(run).find((line) => /collected again from ActivityWatch/.test(line));
    assert.ok(line !== undefined, run.stderr);
    tell(`large cache damaged: ${way}`, { "exit code": 0, afterwards: "exact", "the log says": line });
  }
});

function hasLog(path: string): boolean {
  try {
    return Deno.statSync(`${path}-wal`).size > 0;
  } catch {
    return false;
  }
}

Deno.test("a cache that is damaged while the daemon runs is put aside, and all is collected again", async () => {
  await using world = new World({ events: 400 });
  const daemon = world.agent.daemon(DAEMON);
  await until(() => world.receiver.events.length > 390, "the first events are there");
  await new Promise((resolve) => setTimeout(resolve, 500));
  for (const suffix of ["", "-wal"]) {
    const { size } = Deno.statSync(world.cachePath + suffix);
    using file = Deno.openSync(world.cachePath + suffix, { write: true });
    for (let at = 0; at < size; at += 4096) file.writeSync(crypto.getRandomValues(new Uint8Array(4096)));
  }
  world.record(100);
  await until(() => world.receiver.events.length > 490, "the later events are there", 60_000);
  const run = await daemon.stop();
  assert.equal(run.code, 0, run.stderr);
  // What SQLite holds in memory may hide the damage until the next start.
  const next = await world.once();
  assert.equal(next.code, 0, next.stderr);
  world.assertExact();
  const line = [...complaints(run), ...complaints(next)].find((line) => /collected again/.test(line)) ??
    "nothing: SQLite had it in memory and wrote it anew";
  tell("cache damaged while the daemon runs", {
    "exit code": "went on",
    afterwards: "exact",
    "the log says": line,
  });
});

Deno.test("an endless outage: at its limit collection pauses, says so once, and goes on when there is room", async () => {
  await using world = new World({ events: 3000, settings: { CACHE_MAX_MB: "1" } });
  await world.receiver.stop();
  for (let round = 0; round < 4; round++) {
    await world.once();
    world.record(3000);
  }
  const paused = await world.once();
  assert.equal(paused.code, 1);
  const lines = complaints(paused).filter((line) => /Collection pauses as the cache is full/.test(line));
  assert.equal(lines.length, 1, paused.stderr);
  const size = Deno.statSync(world.cachePath).size;
  assert.ok(size < 3 * 1024 * KIB, `${size} bytes`);
  const status = await world.agent.command(["status"]);
  assert.notEqual(status.code, 0);
  world.receiver.start();
  for (let runs = 0; world.receiver.events.length < 15_000 && runs < 20; runs++) await world.once();
  world.assertExact();
  tell("cache at its limit (pause)", { "exit code": 1, afterwards: "exact", "the log says": lines[0]! });
});

Deno.test("an endless outage: where that was chosen the oldest are dropped, and their number is said", async () => {
  await using world = new World({
    events: 3000,
    settings: { CACHE_MAX_MB: "1", CACHE_WHEN_FULL: "drop-oldest" },
  });
  await world.receiver.stop();
  let dropped = 0;
  let line = "";
  for (let round = 0; round < 7; round++) {
    for (const said of complaints(await world.once())) {
      const [, events] = /the (\d+) oldest events that waited are lost/.exec(said) ?? [];
      if (events === undefined) continue;
      dropped += Number(events);
      line = said;
    }
    if (round < 4) world.record(3000);
    else if (round === 4) world.receiver.start();
  }
  assert.ok(dropped > 0);
  assert.equal(world.receiver.events.length, 15_000 - dropped);
  assert.equal(Number(world.ask("SELECT value FROM meta WHERE name = 'dropped_events'")), dropped);
  tell("cache at its limit (drop-oldest)", {
    "exit code": 1,
    afterwards: `${dropped} lost, as said`,
    "the log says": line,
  });
});
