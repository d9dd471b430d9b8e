import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import { createHash } from "node:crypto";
import { crc32 } from "node:zlib";
import { digestOf } from "../../lib/encode.ts";
import { KeyError, StoreError } from "../../lib/errors.ts";
import { ensureBucket } from "../../lib/store/cursors.ts";
import { type Database, openDatabase } from "../../lib/store/database.ts";
import {
  beginOpening,
  beginRotation,
  beginSealing,
  convert,
  encryptionOf,
  unlock,
} from "../../lib/store/encryption.ts";
import { retryDeadLetters } from "../../lib/store/dead_letters.ts";
import { MIGRATIONS } from "../../lib/store/migrations.ts";
import { openCache } from "../../lib/store/recover.ts";
import { isKnown, openVersion, versionsBetween } from "../../lib/store/ledger.ts";
import {
  addToOutbox,
  deadLetterCount,
  moveToDeadLetters,
  outboxDepth,
  peekOutbox,
  removeFromOutbox,
} from "../../lib/store/outbox.ts";
import { textsOf } from "../fakes/entries.ts";

const KEY = new Uint8Array(32).fill(1);
const OTHER = new Uint8Array(32).fill(2);
const BUCKET = { id: "b", type: "currentwindow", hostname: "x", created: "" } as const;
const CANARY = "canary-title";
const REASON = "canary-reason";
/** More than two transactions' worth, with many events of one start among them. */
const COUNT = 1050;

const titleOf = (n: number) => `${CANARY}-${n}-€😀`;
const dataOf = (n: number) => ({ title: titleOf(n) });
const bodyOf = (n: number) => JSON.stringify(dataOf(n));
const versionOf = (n: number) => ({
  startUs: 1_700_000_000_000_000 + (n < 700 ? 0 : n),
  digest: digestOf(dataOf(n)),
  durationSeconds: n / 4,
});

async function inFolder(act: (path: string) => void | Promise<void>): Promise<void> {
  const folder = await Deno.makeTempDir({ prefix: "lifelog-encryption-" });
  try {
    await act(`${folder}/cache.sqlite`);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

/** A cache in which events wait, were delivered, and were refused. */
function fill(db: Database): void {
  const { id } = ensureBucket(db, BUCKET);
  db.transaction(() => {
    for (let n = 0; n < COUNT; n++) {
      addToOutbox(db, id, versionOf(n), bodyOf(n), 5);
    }
  });
  removeFromOutbox(db, peekOutbox(db, -1, 20, 1e9));
  moveToDeadLetters(
    db,
    peekOutbox(db, -1, 10, 1e9).map(({ seq }) => ({ seq, status: 422, reason: REASON })),
    9,
  );
}

/** All that the cache tells through its interface. */
function contents(db: Database) {
  const { id } = ensureBucket(db, BUCKET);
  return {
    outbox: peekOutbox(db, -1, 1e6, 1e9),
    depth: outboxDepth(db),
    dead: db.all<{ seq: number; reason: string | Uint8Array }>("SELECT seq, reason FROM dead_letter")
      .map(({ seq, reason }) => db.cipher.openReason(seq, reason)),
    known: Array.from({ length: COUNT }, (_, n) => isKnown(db, id, versionOf(n))).filter(Boolean).length,
    versions: [...versionsBetween(db, id, 0, 2e15).values()]
      .flatMap((row) => openVersion(db, id, row) ?? [])
      .map((v) => `${v.startUs} ${Buffer.from(v.digest).toString("hex")} ${v.durationSeconds}`).sort(),
  };
}

/** Every byte of the cache, of its log and of whatever lies beside it. */
function rawBytes(path: string): Buffer {
  const folder = path.slice(0, path.lastIndexOf("/"));
  return Buffer.concat(
    [...Deno.readDirSync(folder)].map(({ name }) => Deno.readFileSync(`${folder}/${name}`)),
  );
}

function assertNothingReadable(path: string): void {
  const bytes = rawBytes(path);
  for (const word of [CANARY, REASON]) assert.equal(bytes.indexOf(word), -1, word);
  // Nor the hash of a title that somebody guesses, in any of the lengths it is cut to.
  for (let n = 0; n < COUNT; n += 100) {
    assert.equal(bytes.indexOf(digestOf(dataOf(n)).subarray(0, 8)), -1, `digest of ${n}`);
    assert.equal(bytes.indexOf(createHash("sha256").update(bodyOf(n)).digest().subarray(0, 8)), -1);
  }
}

function run(db: Database, key: Uint8Array | undefined, steps = Infinity): boolean {
  const conversion = convert(db, key);
  for (let step = 0; step < steps; step++) if (conversion.next().done) return true;
  return false;
}

Deno.test("the canaries of these tests are found in a cache that is not encrypted", () =>
  inFolder((path) => {
    using db = openDatabase(path);
    fill(db);
    const bytes = rawBytes(path);
    for (const word of [CANARY, REASON, digestOf(dataOf(500)).subarray(0, 8)]) {
      assert.notEqual(bytes.indexOf(word), -1);
    }
  }));

Deno.test("encrypting leaves nothing readable in the file, its log or its freed pages, and changes no answer", () =>
  inFolder((path) => {
    let before;
    {
      using db = openDatabase(path);
      fill(db);
      before = contents(db);
      beginSealing(db, KEY, 1);
      assert.ok(run(db, KEY));
      assert.deepEqual(contents(db), before);
      assertNothingReadable(path);
      // What comes later is sealed as well, in the log too.
      const { id } = ensureBucket(db, BUCKET);
      addToOutbox(db, id, versionOf(COUNT), bodyOf(COUNT), 5);
      moveToDeadLetters(db, [{ seq: peekOutbox(db, -1, 1, 1)[0]!.seq, status: 422, reason: REASON }], 1);
      assertNothingReadable(path);
      before = contents(db);
    }
    assertNothingReadable(path);
    using db = openDatabase(path);
    assert.equal(encryptionOf(db).state, "on");
    unlock(db, KEY);
    assert.deepEqual(contents(db).versions, before.versions);
    assert.equal(
      db.get<{ check: string }>("SELECT integrity_check AS 'check' FROM pragma_integrity_check")?.check,
      "ok",
    );
  }));

Deno.test("a cache that is encrypted from its start never holds anything readable", () =>
  inFolder((path) => {
    using db = openDatabase(path);
    beginSealing(db, KEY, 1);
    run(db, KEY);
    fill(db);
    assertNothingReadable(path);
    assert.equal(contents(db).outbox.length, COUNT - 30);
  }));

Deno.test("encrypting, changing the key and making readable go on from wherever they were broken off", () =>
  inFolder((path) => {
    const changes: [string, (db: Database) => void, Uint8Array, Uint8Array | undefined][] = [
      ["encrypting", (db) => beginSealing(db, KEY, 1), KEY, KEY],
      ["changing the key", (db) => beginRotation(db, KEY, OTHER, 2), OTHER, OTHER],
      ["making readable", (db) => beginOpening(db, OTHER), OTHER, undefined],
    ];
    let whole;
    {
      using db = openDatabase(path);
      fill(db);
      whole = contents(db);
    }
    for (const [name, begin, key, after] of changes) {
      const start = `${path}.${name}`;
      {
        using db = openDatabase(path);
        unlock(db, name === "encrypting" ? undefined : name === "making readable" ? OTHER : KEY);
        db.scrub(["outbox", "dead_letter", "ledger"]);
      }
      Deno.copyFileSync(path, start);
      let steps = 0;
      for (let finished = false; !finished; steps++) {
        Deno.copyFileSync(start, path);
        {
          using db = openDatabase(path);
          begin(db);
          finished = run(db, key, steps);
        }
        if (!finished) {
          // Broken off: nothing is done with the cache before the work is gone on with.
          using db = openDatabase(path);
          assert.throws(() => unlock(db, key), StoreError);
          assert.throws(() => peekOutbox(db, -1, 1, 1), KeyError);
          assert.throws(() => run(db, undefined), KeyError);
          assert.throws(() => run(db, new Uint8Array(32).fill(7)), KeyError);
          assert.ok(run(db, key));
        }
        using db = openDatabase(path);
        unlock(db, after);
        assert.deepEqual(contents(db), whole, `${name}, broken off after ${steps} steps`);
      }
      assert.ok(steps > 5, name);
      Deno.removeSync(start);
    }
    using db = openDatabase(path);
    assert.deepEqual({ ...encryptionOf(db) }, {
      state: "off",
      turnedOff: true,
      keyVersion: 0,
      keyMadeAtMs: 0,
    });
    assert.equal(deadLetterCount(db), 10);
  }));

Deno.test("a change of the key leaves nothing that the old key opens", () =>
  inFolder((path) => {
    using db = openDatabase(path);
    fill(db);
    beginSealing(db, KEY, 1);
    run(db, KEY);
    const old = db.cipher;
    const row = () =>
      db.get<{ seq: number; bucketId: number; body: Uint8Array }>(
        "SELECT seq, bucket_id AS bucketId, body FROM outbox LIMIT 1",
      )!;
    const before = row();
    assert.ok(old.openBody(before, before.body).includes(CANARY));
    beginRotation(db, KEY, OTHER, 2);
    run(db, OTHER);
    const after = row();
    assert.throws(() => old.openBody(after, after.body));
    assert.ok(db.cipher.openBody(after, after.body).includes(CANARY));
    assert.equal(rawBytes(path).indexOf(before.body.subarray(5, 40)), -1);
    assert.throws(() => unlock(db, KEY), KeyError);
  }));

Deno.test("a missing and a wrong key are told apart, and change nothing", () =>
  inFolder((path) => {
    {
      using db = openDatabase(path);
      fill(db);
      beginSealing(db, KEY, 1);
      run(db, KEY);
    }
    const read = () => {
      using db = openDatabase(path);
      unlock(db, KEY);
      return contents(db);
    };
    const before = read();
    {
      using db = openDatabase(path);
      assert.throws(() => unlock(db, undefined), /no key is set/);
      assert.throws(() => unlock(db, OTHER), /another key/);
      assert.throws(() => beginRotation(db, OTHER, KEY, 1), KeyError);
      assert.throws(() => beginOpening(db, OTHER), KeyError);
      assert.throws(() => addToOutbox(db, 1, versionOf(1), bodyOf(1), 0), KeyError);
    }
    assert.deepEqual(read(), before);
  }));

Deno.test("a damaged row is left, told of, and keeps no other from being converted", () =>
  inFolder((path) => {
    using db = openDatabase(path);
    fill(db);
    beginSealing(db, KEY, 1);
    run(db, KEY);
    db.run("UPDATE outbox SET body = zeroblob(60) WHERE seq = 100");
    db.run("UPDATE ledger SET sealed = zeroblob(60) WHERE duration = 200");
    beginRotation(db, KEY, OTHER, 2);
    const conversion = convert(db, OTHER);
    for (;;) {
      const step = conversion.next();
      if (!step.done) continue;
      assert.equal(step.value.damaged, 2);
      break;
    }
    // Whoever comes to it finds the cache damaged; all others are readable.
    assert.throws(() => peekOutbox(db, -1, 1e6, 1e9), { fault: "corrupt" });
    db.run("DELETE FROM outbox WHERE seq = 100");
    assert.equal(contents(db).outbox.length, COUNT - 31);
    assert.equal(contents(db).versions.length, COUNT - 1);
  }));

Deno.test("while another program reads in the cache its encryption is not called done", () =>
  inFolder((path) => {
    using db = openDatabase(path, { busyTimeoutMs: 10 });
    fill(db);
    beginSealing(db, KEY, 1);
    {
      using reader = openDatabase(path);
      reader.transaction(() => assert.throws(() => run(db, KEY)));
    }
    assert.notEqual(encryptionOf(db).state, "on");
    assert.ok(run(db, KEY));
    assertNothingReadable(path);
  }));

Deno.test("a cache from before there was encryption keeps its rows, its queue's numbers and its count", () =>
  inFolder((path) => {
    {
      using db = openDatabase(path, { migrations: MIGRATIONS.slice(0, 3) });
      db.run("INSERT INTO bucket (name, type, created) VALUES ('b', 'currentwindow', '')");
      const add =
        "INSERT INTO outbox (bucket_id, start_us, digest, duration, cached_at_ms, body) VALUES (1, ?, x'00', 1, 2, ?)";
      for (let n = 0; n < 5; n++) db.run(add, n, `body ${n}`);
      db.run("DELETE FROM outbox WHERE seq = 5");
      db.run(
        `INSERT INTO dead_letter (seq, bucket_id, start_us, digest, duration, cached_at_ms, body, reason, dead_at_ms)
        SELECT seq, bucket_id, start_us, digest, duration, cached_at_ms, body, 'why', 3 FROM outbox WHERE seq = 1`,
      );
      db.run("DELETE FROM outbox WHERE seq = 1");
    }
    using db = openDatabase(path);
    const waiting = peekOutbox(db, -1, 9, 1e6);
    assert.deepEqual(waiting.map(({ seq }) => seq), [2, 3, 4]);
    assert.deepEqual(textsOf(waiting), ["body 1", "body 2", "body 3"]);
    assert.equal(outboxDepth(db), 3);
    addToOutbox(db, 1, versionOf(1), "new", 0);
    assert.equal(peekOutbox(db, 4, 1, 1e6)[0]!.seq, 6);
    assert.equal(outboxDepth(db), 4);
    assert.deepEqual({ ...db.get<object>("SELECT seq, body, reason FROM dead_letter") }, {
      seq: 1,
      body: "body 0",
      reason: "why",
    });
  }));

Deno.test("what is saved of a damaged cache that was encrypted stays encrypted, and is not saved without the key", () =>
  inFolder((path) => {
    let whole;
    {
      using db = openDatabase(path);
      fill(db);
      whole = contents(db);
      beginSealing(db, KEY, 1);
      run(db, KEY);
      db.run("UPDATE outbox SET body = zeroblob(60) WHERE seq = 100");
      // Planted by somebody who can write the file.
      db.run("UPDATE outbox SET body = 'planted', crc = ? WHERE seq = 101", crc32("planted"));
      assert.throws(() => peekOutbox(db, -1, 1e6, 1e9), { fault: "corrupt" });
    }
    const damage = new StoreError("damaged", { fault: "corrupt" });
    for (const key of [{}, { cacheKey: OTHER }]) {
      assert.throws(() => openCache(path, { damage, ...key }), KeyError);
    }
    {
      const { db: opened, loss } = openCache(path, { damage, cacheKey: KEY });
      using db = opened;
      assert.equal(loss?.salvaged, COUNT - 20 - 2);
      const { outbox, dead } = contents(db);
      const expected = whole.outbox.filter(({ seq }) => seq !== 100 && seq !== 101).map(({ body }) => body);
      assert.deepEqual(outbox.map(({ body }) => body), expected);
      assert.deepEqual(dead, whole.dead);
      assertNothingReadable(path);
    }
    using db = openDatabase(path);
    assert.equal(encryptionOf(db).state, "on");
    unlock(db, KEY);
    assert.equal(contents(db).outbox.length, COUNT - 32);
  }));

Deno.test("a dead letter that is put back in the queue while the cache is encrypted is sealed as well", () =>
  inFolder((path) => {
    using db = openDatabase(path);
    fill(db);
    const [dead] = db.all<{ seq: number }>("SELECT seq FROM dead_letter LIMIT 1");
    beginSealing(db, KEY, 1);
    const conversion = convert(db, KEY);
    // Past the place that the dead letter comes back to.
    for (let step = 0; step < 2; step++) conversion.next();
    {
      using other = openDatabase(path);
      assert.equal(retryDeadLetters(other, [dead!.seq]), 1);
    }
    while (!conversion.next().done);
    assert.equal(contents(db).outbox[0]!.seq, dead!.seq);
    assertNothingReadable(path);
  }));
