import assert from "node:assert/strict";
import { join } from "node:path";
import { takeLock } from "../../lib/lock.ts";
import { makeReport } from "../../lib/status/report.ts";
import { cover, ensureBucket } from "../../lib/store/cursors.ts";
import { type Database, openDatabase } from "../../lib/store/database.ts";
import { setMeta } from "../../lib/store/meta.ts";
import { MIGRATIONS } from "../../lib/store/migrations.ts";
import {
  addToOutbox,
  buryVersion,
  moveToDeadLetters,
  outboxDepth,
  peekOutbox,
  removeFromOutbox,
  withdraw,
} from "../../lib/store/outbox.ts";
import {
  NOTE_EVERY_MS,
  noteOk,
  notePass,
  noteRead,
  noteStarted,
  noteStopped,
  readAgent,
  writeNotes,
} from "../../lib/store/health.ts";

const NOW_MS = 1_800_000_000_000;
const WINDOW = { id: "w_h", type: "currentwindow", hostname: "h", created: "c" } as const;
const version = (startUs: number) => ({ startUs, digest: new Uint8Array([1]), durationSeconds: 5 });

async function inFolder(act: (cachePath: string) => void): Promise<void> {
  const folder = await Deno.makeTempDir({ prefix: "lifelog-report-" });
  try {
    act(join(folder, "cache.sqlite"));
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

function add(db: Database, bucketId: number, startUs: number, body: string): void {
  db.transaction(() => addToOutbox(db, bucketId, version(startUs), body, startUs / 1000));
}

Deno.test("makeReport() tells of a cache that is not there yet, and makes none", () =>
  inFolder((cachePath) => {
    const report = makeReport({ cachePath, now: () => NOW_MS });
    assert.equal(report.cache.exists, false);
    assert.equal(report.running, false);
    assert.throws(() => Deno.statSync(cachePath), Deno.errors.NotFound);
    assert.throws(() => Deno.statSync(`${cachePath}.lock`), Deno.errors.NotFound);
  }));

Deno.test("makeReport() sees an agent that runs and what it does, beside it", () =>
  inFolder((cachePath) => {
    const lock = takeLock(`${cachePath}.lock`);
    using db = openDatabase(cachePath);
    noteStarted(db, { pid: 42, version: "1.2.3", startedMs: NOW_MS - 5000 });
    noteOk(db, "collection", NOW_MS - 3000);
    setMeta(db, "collect_from_us", "1000000");
    const { id } = ensureBucket(db, WINDOW);
    cover(db, id, { fromUs: 1_000_000, toUs: 9_000_000 });
    notePass(db, WINDOW.id, {
      filledFromUs: 1_000_000,
      newest: { startUs: 8_000_000, endUs: 9_500_000 },
    });
    noteRead(db, WINDOW.id, NOW_MS - 3000);
    writeNotes(db, NOW_MS);
    add(db, id, 2_000_000, "ä");
    add(db, id, 3_000_000, "bcd");
    const look = () => makeReport({ cachePath, now: () => NOW_MS });
    const report = look();
    assert.equal(report.running, true);
    assert.equal(report.aheadMs, NOTE_EVERY_MS);
    assert.equal(report.agent?.pid, 42);
    assert.equal(report.collecting.fromMs, 1000);
    assert.deepEqual(report.outbox, { events: 2, bytes: 5, oldestMs: 2000 });
    assert.deepEqual(report.buckets, [{
      id: "w_h",
      type: "currentwindow",
      newestStartMs: 8000,
      newestEndMs: 9500,
      readAtMs: NOW_MS - 3000,
      lagMs: 3000,
      coveredFromMs: 1000,
      coveredToMs: 9000,
      complete: true,
      waiting: 2,
      waitingBytes: 5,
      revisions: 0,
    }]);
    assert.ok(report.cache.bytes > 0);
    lock[Symbol.dispose]();
    assert.equal(look().running, false);
    // A backfill that reaches further back is not complete before it is read.
    setMeta(db, "collect_from_us", "0");
    assert.equal(look().buckets[0]!.complete, false);
  }));

Deno.test("makeReport() tells of what was taken over from the Python daemon while it waits, and of no gap in it", () =>
  inFolder((cachePath) => {
    using db = openDatabase(cachePath);
    const { id } = ensureBucket(db, {
      id: "local_daemon_window",
      type: "currentwindow",
      hostname: "",
      created: "",
    });
    add(db, id, 2_000_000, "ä");
    const [bucket] = makeReport({ cachePath, now: () => NOW_MS }).buckets;
    assert.deepEqual([bucket?.id, bucket?.waiting, bucket?.complete], ["local_daemon_window", 1, true]);
    removeFromOutbox(db, peekOutbox(db, 0, 1, 100));
    assert.deepEqual(makeReport({ cachePath, now: () => NOW_MS }).buckets, []);
  }));

Deno.test("makeReport() does not keep an agent from starting at the same moment", () =>
  inFolder((cachePath) => {
    openDatabase(cachePath)[Symbol.dispose]();
    for (let i = 0; i < 50; i++) {
      using _lock = takeLock(`${cachePath}.lock`);
      assert.equal(makeReport({ cachePath }).running, true);
    }
    assert.equal(makeReport({ cachePath }).running, false);
  }));

Deno.test("makeReport() says what is wrong with a cache that is none, older, newer, or was put aside", () =>
  inFolder((cachePath) => {
    Deno.writeTextFileSync(cachePath, "not a database, though it is long enough to be looked at".repeat(100));
    assert.match(makeReport({ cachePath }).cache.problem!.message, /not a database/);
    Deno.renameSync(cachePath, `${cachePath}.damaged-1`);
    openDatabase(cachePath, { migrations: MIGRATIONS.slice(0, 4) })[Symbol.dispose]();
    const older = makeReport({ cachePath });
    assert.match(older.cache.problem!.message, /version 4 and this program reads/);
    assert.match(older.cache.problem!.hint!, /Start lifelog-agent once/);
    assert.deepEqual(older.cache.quarantined, [`${cachePath}.damaged-1`]);
    Deno.removeSync(cachePath);
    openDatabase(cachePath, { migrations: [...MIGRATIONS, "SELECT 1"] })[Symbol.dispose]();
    assert.match(makeReport({ cachePath }).cache.problem!.hint!, /newer/);
  }));

Deno.test("the outbox's sums are what a count of its rows gives, whatever was done to them", () =>
  inFolder((cachePath) => {
    using db = openDatabase(cachePath);
    const { id } = ensureBucket(db, WINDOW);
    const other = ensureBucket(db, { ...WINDOW, id: "other" }).id;
    const check = () => {
      const counted = db.all(
        "SELECT bucket_id, count(*) AS n, sum(octet_length(body)) AS bytes FROM outbox GROUP BY bucket_id",
      );
      const kept = db.all(
        "SELECT id AS bucket_id, waiting AS n, waiting_bytes AS bytes FROM bucket WHERE waiting <> 0 OR waiting_bytes <> 0",
      );
      assert.deepEqual(kept, counted);
      assert.equal(outboxDepth(db), db.get<{ n: number }>("SELECT count(*) AS n FROM outbox")!.n);
    };
    for (let i = 0; i < 20; i++) add(db, i % 3 === 0 ? other : id, i * 1000, "ü".repeat(i));
    check();
    removeFromOutbox(db, peekOutbox(db, -1, 5, 1e6));
    check();
    db.transaction(() => withdraw(db, id, version(7000)));
    check();
    moveToDeadLetters(db, [{ seq: peekOutbox(db, -1, 1, 1e6)[0]!.seq, status: 422, reason: "r" }], 1);
    check();
    db.transaction(() => buryVersion(db, id, version(8000), "r", 1));
    check();
    db.run("UPDATE outbox SET body = body || 'x' WHERE bucket_id = ?", id);
    check();
    assert.throws(() =>
      db.transaction(() => {
        addToOutbox(db, id, version(99), "lost", 1);
        throw new Error("broken off");
      })
    );
    check();
    const seqs = db.all<{ seq: number }>("SELECT seq FROM outbox ORDER BY seq");
    removeFromOutbox(db, seqs.map(({ seq }) => ({ seq, body: new Uint8Array() })), db.outboxState());
    check();
    assert.equal(outboxDepth(db), 0);
  }));

Deno.test("an older cache comes to the sums of what waits in it", () =>
  inFolder((cachePath) => {
    {
      using db = openDatabase(cachePath, { migrations: MIGRATIONS.slice(0, 4) });
      db.run("INSERT INTO bucket (name, type, created) VALUES ('w', 'currentwindow', 'c')");
      for (const body of ["ä", "bc"]) {
        db.run("INSERT INTO outbox VALUES (NULL, 1, 1, x'00', 1.5, 1, ?)", body);
      }
    }
    using db = openDatabase(cachePath);
    assert.equal(outboxDepth(db), 2);
    assert.equal(makeReport({ cachePath, db }).outbox.bytes, 4);
  }));

Deno.test("an agent that ended in order says so, and the next one takes its place", () =>
  inFolder((cachePath) => {
    using db = openDatabase(cachePath);
    const agent = { pid: 1, version: "1", startedMs: 5 };
    noteStopped(db, 4);
    assert.equal(readAgent(db), undefined);
    noteStarted(db, agent);
    assert.deepEqual(readAgent(db), agent);
    noteStopped(db, 9);
    assert.deepEqual(readAgent(db), { ...agent, stoppedMs: 9 });
    noteStarted(db, { ...agent, pid: 2 });
    assert.deepEqual(readAgent(db), { ...agent, pid: 2 });
  }));
