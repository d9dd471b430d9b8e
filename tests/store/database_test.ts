import assert from "node:assert/strict";
import { DatabaseSync } from "node:sqlite";
import { type Database, openDatabase } from "../../lib/store/database.ts";
import { getMeta, setMeta } from "../../lib/store/meta.ts";
import { MIGRATIONS } from "../../lib/store/migrations.ts";

async function withFolder(work: (path: string) => void): Promise<void> {
  const folder = await Deno.makeTempDir({ prefix: "lifelog-database-" });
  try {
    work(`${folder}/cache.sqlite`);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

Deno.test("a transaction keeps all of its writes, or none where it throws", () => {
  using db = openDatabase(":memory:");
  db.transaction(() => setMeta(db, "collect_from_us", "1"));
  assert.throws(() =>
    db.transaction(() => {
      setMeta(db, "collect_from_us", "2");
      throw new Error("no");
    }), /no/);
  assert.equal(getMeta(db, "collect_from_us"), "1");
  db.transaction(() => setMeta(db, "collect_from_us", "3"));
  assert.equal(getMeta(db, "collect_from_us"), "3");
});

Deno.test("what a transaction kept is there for another handle, though this one was never closed", async () => {
  await withFolder((path) => {
    using first = openDatabase(path);
    first.transaction(() => setMeta(first, "collect_from_us", "7"));
    using second = openDatabase(path);
    assert.equal(getMeta(second, "collect_from_us"), "7");
  });
});

Deno.test("a cache of each older version is brought up to date, with what was in it", async () => {
  for (let version = 1; version < MIGRATIONS.length; version++) {
    await withFolder((path) => {
      {
        using old = openDatabase(path, { migrations: MIGRATIONS.slice(0, version) });
        old.run("INSERT INTO meta (name, value) VALUES ('collect_from_us', '5')");
        old.run("INSERT INTO bucket (name, type, created) VALUES ('b', 'currentwindow', '')");
        old.run(
          "INSERT INTO outbox (bucket_id, start_us, digest, duration, cached_at_ms, body) VALUES (1, 2, x'00', 1.5, 3, '{}')",
        );
      }
      using db = openDatabase(path);
      assert.equal(getMeta(db, "collect_from_us"), "5");
      assert.deepEqual({ ...db.get<object>("SELECT start_us, duration, body FROM outbox") }, {
        start_us: 2,
        duration: 1.5,
        body: "{}",
      });
      assert.equal(db.get<{ user_version: number }>("PRAGMA user_version")!.user_version, MIGRATIONS.length);
    });
  }
});

Deno.test("a migration that fails leaves the cache as it was", async () => {
  await withFolder((path) => {
    openDatabase(path)[Symbol.dispose]();
    const broken = [...MIGRATIONS, "CREATE TABLE new (a INTEGER); INSERT INTO nowhere VALUES (1);"];
    assert.throws(() => openDatabase(path, { migrations: broken }), { name: "StoreError" });
    using db = openDatabase(path);
    assert.equal(db.get("SELECT 1 FROM sqlite_master WHERE name = 'new'"), undefined);
  });
});

Deno.test("a cache of a newer agent is refused, with what to do, and left alone", async () => {
  await withFolder((path) => {
    openDatabase(path, { migrations: [...MIGRATIONS, "CREATE TABLE later (a INTEGER)"] })[Symbol.dispose]();
    assert.throws(() => openDatabase(path), (error: Error & { hint: string }) => {
      assert.equal(error.name, "StoreError");
      assert.match(error.message, new RegExp(`version ${MIGRATIONS.length + 1}`));
      assert.match(error.hint, /newer lifelog-agent/);
      return true;
    });
    using db = new DatabaseSync(path);
    assert.ok(db.prepare("SELECT 1 FROM sqlite_master WHERE name = 'later'").get());
  });
});

const WORDS = "what was readable once";

/** Leaves behind the pages of rows that were deleted. */
function fillAndEmpty(db: Database): void {
  db.run("INSERT INTO bucket (name, type, created) VALUES ('b', 'currentwindow', '')");
  const body = `${WORDS} `.repeat(10);
  for (let n = 0; n < 10; n++) {
    db.transaction(() =>
      db.insertAll(
        "INSERT INTO outbox (bucket_id, start_us, digest, duration, cached_at_ms, body) VALUES",
        Array.from({ length: 2000 }, (_, i) => [1, i, new Uint8Array(16), 1, 1, body]),
      )
    );
  }
  db.run("DELETE FROM outbox");
}

Deno.test("shrink() gives back as many pages as it is told, in one transaction, and the log stays small", async () => {
  await withFolder((path) => {
    using db = openDatabase(path);
    fillAndEmpty(db);
    const full = db.freePages();
    assert.ok(full > 1000, `${full} free pages`);
    for (let left = full; left > 0; left -= 300) {
      db.shrink(Math.min(300, left));
      assert.equal(db.freePages(), Math.max(0, left - 300));
      const { size } = Deno.statSync(`${path}-wal`);
      assert.ok(size < 16e6, `${size} bytes in the log`);
    }
  });
});

Deno.test("scrub() leaves nothing of what was deleted before it, in no page that is free", async () => {
  await withFolder((path) => {
    using db = openDatabase(path);
    fillAndEmpty(db);
    const holds = () =>
      ["", "-wal"].some((suffix) =>
        new TextDecoder("latin1").decode(Deno.readFileSync(path + suffix)).includes(WORDS)
      );
    assert.ok(holds());
    assert.ok(db.scrub(["outbox", "dead_letter", "ledger"]));
    assert.ok(!holds());
    assert.equal(db.freePages(), 0);
  });
});

Deno.test("what a statement may have to undo is kept in memory and in no file beside the cache, also after a scrub", async () => {
  await withFolder((path) => {
    using db = openDatabase(path);
    const isInMemory = () => db.get<{ temp_store: number }>("PRAGMA temp_store")?.temp_store === 2;
    assert.ok(isInMemory());
    db.scrub(["outbox"]);
    assert.ok(isInMemory());
  });
});

Deno.test("a file that cannot be opened is an error that names it and says what to check", () => {
  assert.throws(() => openDatabase("/nowhere/at/all/cache.sqlite"), (error: Error & { hint: string }) => {
    assert.equal(error.name, "StoreError");
    assert.match(error.message, /\/nowhere\/at\/all\/cache\.sqlite/);
    assert.match(error.hint, /LOCAL_CACHE_DB_PATH/);
    return true;
  });
});
