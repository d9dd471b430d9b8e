import assert from "node:assert/strict";
import { DatabaseSync } from "node:sqlite";
import { join } from "node:path";
import { digestOf } from "../../lib/encode.ts";
import { StoreError } from "../../lib/errors.ts";
import { cover, coverage, ensureBucket } from "../../lib/store/cursors.ts";
import { type Database, openDatabase } from "../../lib/store/database.ts";
import { createMarkKeeper, markFile, readMark, takeMark, writeMark } from "../../lib/store/mark.ts";
import { getMeta, setMeta } from "../../lib/store/meta.ts";
import {
  addToOutbox,
  deadLetterCount,
  moveToDeadLetters,
  outboxDepth,
  peekOutbox,
  removeFromOutbox,
} from "../../lib/store/outbox.ts";
import { openCache } from "../../lib/store/recover.ts";
import { textsOf } from "../fakes/entries.ts";

const DAY_US = 86_400_000_000;
const NOW_MS = Date.UTC(2026, 5, 30);
const NOW_US = NOW_MS * 1000;
const BUCKET = { id: "aw-watcher-window_x", type: "currentwindow", hostname: "x", created: "c" } as const;
const bodies = (db: Database) => textsOf(peekOutbox(db, -1, 10_000, 1e9));

async function inFolder(work: (path: string, folder: string) => void): Promise<void> {
  const folder = await Deno.makeTempDir();
  try {
    work(join(folder, "cache.sqlite"), folder);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

/** A cache that has collected from 100 days back up to now and in which `waiting` events wait. */
function makeCache(
  path: string,
  waiting: number,
  text = (n: number) => `{"n":${n},"x":"${"x".repeat(200)}"}`,
) {
  using db = openDatabase(path);
  db.transaction(() => {
    setMeta(db, "collect_from_us", String(NOW_US - 100 * DAY_US));
    const { id } = ensureBucket(db, BUCKET);
    cover(db, id, { fromUs: NOW_US - 100 * DAY_US, toUs: NOW_US });
    for (let n = 0; n < waiting; n++) {
      const version = { startUs: NOW_US - n, digest: digestOf(n), durationSeconds: n };
      addToOutbox(db, id, version, text(n), 1);
    }
  });
}

function overwrite(
  path: string,
  change: (bytes: Uint8Array<ArrayBuffer>) => Uint8Array<ArrayBuffer> | void,
): void {
  const bytes = Deno.readFileSync(path);
  Deno.writeFileSync(path, change(bytes) ?? bytes);
}

const open = (path: string) => openCache(path, { now: () => NOW_MS });

Deno.test("openCache() opens a sound cache as it is", () =>
  inFolder((path) => {
    makeCache(path, 3);
    const { db, loss } = open(path);
    using _ = db;
    assert.equal(loss, undefined);
    assert.equal(outboxDepth(db), 3);
  }));

Deno.test("openCache() puts a file that is no database aside and begins again where the mark says", () =>
  inFolder((path) => {
    makeCache(path, 0);
    {
      using db = openDatabase(path);
      writeMark(markFile(path), takeMark(db, NOW_MS)!);
    }
    const rubbish = crypto.getRandomValues(new Uint8Array(20_000));
    Deno.writeFileSync(path, rubbish);
    const { db, loss } = open(path);
    using _ = db;
    assert.equal(loss?.knownBy, "mark");
    assert.deepEqual(Deno.readFileSync(loss!.copy!), rubbish);
    assert.equal(loss!.againFromUs, NOW_US - 8 * DAY_US);
    const { id } = ensureBucket(db, BUCKET);
    assert.deepEqual(coverage(db, id).map((i) => ({ ...i })), [{
      fromUs: NOW_US - 100 * DAY_US,
      toUs: NOW_US - 8 * DAY_US,
    }]);
    assert.equal(getMeta(db, "collect_from_us"), String(NOW_US - 100 * DAY_US));
    assert.equal(JSON.parse(getMeta(db, "cache_loss")!).copy, loss!.copy);
  }));

Deno.test("openCache() knows a cache that was emptied or removed by its mark, and a first start by its lack", () =>
  inFolder((path) => {
    makeCache(path, 0);
    {
      using db = openDatabase(path);
      writeMark(markFile(path), takeMark(db, NOW_MS)!);
    }
    for (const lose of [() => Deno.removeSync(path), () => Deno.truncateSync(path)]) {
      lose();
      const { db, loss } = open(path);
      using _ = db;
      assert.match(loss!.finding, /gone or empty/);
      assert.equal(loss!.copy, undefined);
      assert.equal(coverage(db, ensureBucket(db, BUCKET).id).length, 1);
    }
    Deno.removeSync(path);
    Deno.removeSync(markFile(path));
    const { db, loss } = open(path);
    using _ = db;
    assert.equal(loss, undefined);
    assert.equal(getMeta(db, "collect_from_us"), undefined);
  }));

Deno.test("openCache() saves the waiting events and dead letters that can still be read", () =>
  inFolder((path) => {
    makeCache(path, 2000);
    let lastSeq: number;
    {
      using db = openDatabase(path);
      const [, , third] = peekOutbox(db, -1, 3, 1e6);
      moveToDeadLetters(db, [{ seq: third!.seq, status: 422, reason: "bad" }], 9);
      lastSeq = peekOutbox(db, -1, 10_000, 1e9).at(-1)!.seq;
    }
    let all: string[];
    {
      using db = openDatabase(path);
      all = bodies(db);
    }
    // One page in the middle of the events' own.
    overwrite(path, (bytes) => {
      const at = new TextDecoder("latin1").decode(bytes).indexOf('{"n":1000,');
      const page = at - at % 4096;
      bytes.fill(0, page, page + 4096);
    });
    const { db, loss } = open(path);
    using _ = db;
    assert.ok(loss!.salvaged > 1900 && loss!.salvaged < 2000, `${loss!.salvaged}`);
    assert.equal(outboxDepth(db) + deadLetterCount(db), loss!.salvaged);
    const kept = bodies(db);
    assert.deepEqual(kept.filter((body) => !all.includes(body)), []);
    assert.equal(deadLetterCount(db), 1);
    // Without a mark the damaged file itself says where collection began.
    assert.equal(loss!.knownBy, "damaged file");
    assert.equal(loss!.againFromUs, NOW_US - 100 * DAY_US);
    const { id } = ensureBucket(db, BUCKET);
    db.transaction(() =>
      addToOutbox(db, id, { startUs: 1, digest: digestOf("new"), durationSeconds: 1 }, "new", 1)
    );
    assert.ok(peekOutbox(db, lastSeq, 1, 100)[0]!.seq > lastSeq, "no place in the queue is used again");
  }));

Deno.test("openCache() gives no waiting event the place of a dead letter that it saved, and none that was used", () =>
  inFolder((path) => {
    makeCache(path, 5);
    {
      using db = openDatabase(path);
      const entries = peekOutbox(db, -1, 5, 1e6);
      const bad = [entries[0]!, entries[1]!].map(({ seq }) => ({ seq, status: 422, reason: "bad" }));
      moveToDeadLetters(db, bad, 9);
      removeFromOutbox(db, [entries[4]!]);
    }
    overwrite(path, (bytes) => {
      // A byte of a waiting event.
      const at = new TextDecoder("latin1").decode(bytes).indexOf('"n":2,');
      bytes[at + 4] = "3".charCodeAt(0);
    });
    const { db, loss } = openCache(path, { now: () => NOW_MS, damage: new StoreError("Damaged") });
    using _ = db;
    assert.equal(loss!.salvaged, 3);
    const [waiting] = peekOutbox(db, -1, 5, 1e6);
    assert.ok(waiting!.seq > 5, "the last place that was used is not used again");
    moveToDeadLetters(db, [{ seq: waiting!.seq, status: 422, reason: "bad" }], 9);
    assert.equal(deadLetterCount(db), 3, "no dead letter took the place of another");
  }));

Deno.test("peekOutbox() gives out no event of which a byte was changed on the disk, and openCache() drops it", () =>
  inFolder((path) => {
    makeCache(path, 5, (n) => `{"title":"original ${n}"}`);
    overwrite(path, (bytes) => {
      const at = new TextDecoder("latin1").decode(bytes).indexOf("original 3");
      assert.ok(at > 0);
      bytes[at]! ^= 1;
    });
    let damage: unknown;
    {
      using db = openDatabase(path);
      assert.doesNotThrow(() => db.check(), "SQLite itself sees nothing wrong");
      try {
        peekOutbox(db, -1, 10, 1e6);
      } catch (error) {
        damage = error;
      }
    }
    assert.ok(damage instanceof StoreError && damage.fault === "corrupt", String(damage));
    assert.ok(!/original/.test(damage.message), "no text of an event in the message");
    const { db, loss } = openCache(path, { now: () => NOW_MS, damage });
    using _ = db;
    assert.equal(loss!.salvaged, 4);
    assert.ok(!bodies(db).some((body) => body.includes("3")));
  }));

Deno.test("openCache() sees a flipped bit in how far collection got", () =>
  inFolder((path) => {
    makeCache(path, 0);
    let seen = 0;
    const sound = Deno.readFileSync(path);
    // The 7-byte integer of the interval's end, most significant byte first, as SQLite stores it.
    const end = new Uint8Array(8);
    new DataView(end.buffer).setBigInt64(0, BigInt(NOW_US));
    const needle = end.subarray(1).join(",");
    for (let at = 0; at < sound.length - 7; at++) {
      if (sound.subarray(at + 0, at + 7).join(",") !== needle) continue;
      const flipped = sound.slice();
      flipped[at + 2]! ^= 16;
      Deno.writeFileSync(path, flipped);
      const { db, loss } = open(path);
      db[Symbol.dispose]();
      if (loss !== undefined) seen++;
    }
    assert.ok(seen > 0);
  }));

Deno.test("openCache() keeps three damaged copies and no more", () =>
  inFolder((path, folder) => {
    for (let n = 0; n < 5; n++) {
      Deno.writeTextFileSync(path, "this is no database, however long one looks at it".repeat(100));
      const { db } = openCache(path, { now: () => NOW_MS + n * 1000 });
      db[Symbol.dispose]();
    }
    const copies = [...Deno.readDirSync(folder)].filter(({ name }) => /damaged-[\dTZ]+$/.test(name));
    assert.deepEqual(copies.map(({ name }) => name.slice(-3)).sort(), ["02Z", "03Z", "04Z"]);
  }));

Deno.test("takeMark() makes none while events wait", () => {
  using db = openDatabase(":memory:");
  setMeta(db, "collect_from_us", "5");
  const { id } = ensureBucket(db, BUCKET);
  assert.deepEqual(takeMark(db, 7)?.collectFromUs, 5);
  addToOutbox(db, id, { startUs: 1, digest: digestOf(1), durationSeconds: 1 }, "x", 1);
  assert.equal(takeMark(db, 7), undefined);
  removeFromOutbox(db, peekOutbox(db, -1, 1, 100));
  assert.ok(takeMark(db, 7));
});

Deno.test("readMark() gives back what was written, and nothing of a file that was changed", () =>
  inFolder((path) => {
    const mark = { collectFromUs: 12, madeAtMs: 34, buckets: [] };
    writeMark(path, mark);
    assert.deepEqual(readMark(path), mark);
    overwrite(path, (bytes) => {
      const at = new TextDecoder().decode(bytes).indexOf("12");
      bytes[at]! ^= 1;
    });
    assert.equal(readMark(path), undefined);
    Deno.writeTextFileSync(path, "");
    assert.equal(readMark(path), undefined);
    assert.equal(readMark(`${path}.absent`), undefined);
  }));

Deno.test("a mark keeper notes a lowered start at once, and how far things are once an hour when nothing waits", () =>
  inFolder((path) => {
    makeCache(path, 0);
    using db = openDatabase(path);
    let monotonicMs = 0;
    const keeper = createMarkKeeper(db, { now: () => NOW_MS, monotonicMs: () => monotonicMs });
    const fromUs = () => readMark(markFile(path))?.collectFromUs;
    keeper.begin();
    assert.deepEqual(readMark(markFile(path))?.buckets, []);
    keeper.keep();
    assert.equal(readMark(markFile(path))?.buckets.length, 1);
    setMeta(db, "collect_from_us", "77");
    monotonicMs += 3_599_000;
    keeper.keep();
    assert.notEqual(fromUs(), 77);
    keeper.begin();
    assert.equal(fromUs(), 77);
    assert.equal(
      readMark(markFile(path))?.buckets.length,
      1,
      "a lowered start leaves what was collected known",
    );
  }));

Deno.test("openCache() passes over rows whose columns hold what no table would take", () =>
  inFolder((path) => {
    makeCache(path, 6);
    {
      const db = new DatabaseSync(path);
      // As flipped bits in a row's head make them, past the table's own checks.
      db.exec(
        "CREATE TABLE loose AS SELECT * FROM outbox; DROP TABLE outbox; ALTER TABLE loose RENAME TO outbox",
      );
      db.exec("UPDATE outbox SET start_us = 1.5 WHERE seq = 1");
      db.exec("UPDATE outbox SET digest = x'00' WHERE seq = 2");
      db.exec("UPDATE outbox SET seq = 4611686018427387904 WHERE seq = 3");
      db.close();
    }
    const damage = new StoreError("It is damaged", { fault: "corrupt" });
    const { db, loss } = openCache(path, { now: () => NOW_MS, damage });
    using _ = db;
    assert.equal(loss!.salvaged, 3);
    const { id } = ensureBucket(db, BUCKET);
    assert.doesNotThrow(() =>
      db.transaction(() =>
        addToOutbox(db, id, { startUs: 1, digest: digestOf("new"), durationSeconds: 1 }, "new", 1)
      )
    );
  }));
