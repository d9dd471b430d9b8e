import assert from "node:assert/strict";
import { join } from "node:path";
import { StoreError } from "../../lib/errors.ts";
import { coverage, ensureBucket } from "../../lib/store/cursors.ts";
import { type Database, openDatabase, type SqlValue } from "../../lib/store/database.ts";
import { isKnown } from "../../lib/store/ledger.ts";
import { getMeta } from "../../lib/store/meta.ts";
import { MIGRATIONS } from "../../lib/store/migrations.ts";
import { addToOutbox, deadLetterCount, outboxDepth, peekOutbox, withdraw } from "../../lib/store/outbox.ts";
import { textsOf } from "../fakes/entries.ts";

const DIGEST = new Uint8Array(16).fill(7);
const BUCKET = { id: "w", type: "currentwindow", hostname: "h", created: "then" } as const;
/** What an agent of any version has written, by the columns that the first version had. */
const ROWS: Record<string, Record<string, SqlValue>> = {
  meta: { name: "collect_from_us", value: "5" },
  bucket: { id: 1, name: "w", type: "currentwindow", created: "then", epoch: 2 },
  coverage: { bucket_id: 1, from_us: 10, to_us: 20 },
  ledger: { bucket_id: 1, start_us: 10, digest: DIGEST, duration: 1.5, epoch: 2 },
  outbox: {
    seq: 3,
    bucket_id: 1,
    start_us: 10,
    digest: DIGEST,
    duration: 1.5,
    cached_at_ms: 4,
    body: '{"é":1}',
  },
  dead_letter: {
    seq: 2,
    bucket_id: 1,
    start_us: 9,
    digest: DIGEST,
    duration: 1,
    cached_at_ms: 4,
    body: "{}",
    reason: "no",
    dead_at_ms: 5,
  },
};

function fill(db: Database): void {
  for (const [table, row] of Object.entries(ROWS)) {
    const values: Record<string, SqlValue> = { ...row };
    const columns = db.all<{ name: string }>(`SELECT name FROM pragma_table_info('${table}')`).map((
      { name },
    ) => name);
    if (table === "ledger" && columns.includes("seq")) values.seq = ROWS.outbox!.seq!;
    if (table === "coverage" && columns.includes("residue")) values.residue = 1 + 3 * 10 + 7 * 20;
    const names = Object.keys(values);
    db.run(
      `INSERT INTO ${table} (${names.join(", ")}) VALUES (${names.map(() => "?").join(", ")})`,
      ...Object.values(values),
    );
  }
  // Later versions count what waits, and not by a trigger.
  const counts = db.get("SELECT 1 FROM pragma_table_info('bucket') WHERE name = 'waiting'") !== undefined;
  if (counts && db.get("SELECT 1 FROM sqlite_schema WHERE name = 'outbox_deeper'") === undefined) {
    db.run("UPDATE bucket SET waiting = 1, waiting_bytes = ?", 8);
  }
}

for (let version = 1; version <= MIGRATIONS.length; version++) {
  Deno.test(`a cache of version ${version} is brought up to date with all that is in it`, async () => {
    const folder = await Deno.makeTempDir({ prefix: "lifelog-migrations-" });
    try {
      const path = join(folder, "cache.sqlite");
      {
        using old = openDatabase(path, { migrations: MIGRATIONS.slice(0, version) });
        fill(old);
      }
      using db = openDatabase(path);
      assert.equal(db.get<{ user_version: number }>("PRAGMA user_version")!.user_version, MIGRATIONS.length);
      assert.equal(getMeta(db, "collect_from_us"), "5");
      const bucket = ensureBucket(db, BUCKET);
      assert.deepEqual([bucket.id, bucket.epoch], [1, 2]);
      assert.deepEqual(coverage(db, 1).map((interval) => ({ ...interval })), [{ fromUs: 10, toUs: 20 }]);
      assert.ok(isKnown(db, 1, { startUs: 10, digest: DIGEST, durationSeconds: 1.5 }));
      const waiting = peekOutbox(db, 0, 10, 1000);
      assert.deepEqual(waiting.map(({ seq }) => seq), [3]);
      assert.deepEqual(textsOf(waiting), ['{"é":1}']);
      assert.equal(outboxDepth(db), 1);
      assert.equal(deadLetterCount(db), 1);
      assert.deepEqual(db.all("PRAGMA foreign_key_check"), []);
      assert.equal(db.get<{ integrity_check: string }>("PRAGMA integrity_check")!.integrity_check, "ok");
      // The next event has a place of its own in the queue, behind all that ever were in it.
      assert.equal(withdraw(db, 1, { startUs: 10, digest: DIGEST, durationSeconds: 1.5 }), "unsent");
      assert.equal(outboxDepth(db), 0);
      addToOutbox(db, 1, { startUs: 11, digest: DIGEST, durationSeconds: 1 }, "{}", 4);
      assert.equal(peekOutbox(db, 0, 10, 1000)[0]?.seq, 4);
    } finally {
      await Deno.remove(folder, { recursive: true });
    }
  });
}

Deno.test("a cache of a newer version is refused and left as it is", async () => {
  const folder = await Deno.makeTempDir({ prefix: "lifelog-migrations-" });
  try {
    const path = join(folder, "cache.sqlite");
    openDatabase(path, { migrations: [...MIGRATIONS, "CREATE TABLE more (x)"] })[Symbol.dispose]();
    const before = Deno.readFileSync(path);
    assert.throws(() => openDatabase(path), (error) => {
      assert.ok(error instanceof StoreError);
      assert.match(
        error.message,
        new RegExp(`is of version ${MIGRATIONS.length + 1} and this agent knows up to ${MIGRATIONS.length}`),
      );
      assert.match(error.hint!, /Run the newer lifelog-agent/);
      return true;
    });
    assert.deepEqual(Deno.readFileSync(path), before);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});
