import assert from "node:assert/strict";
import fc from "fast-check";
import { digestOf } from "../../lib/encode.ts";
import { KeyError, SealError, StoreError } from "../../lib/errors.ts";
import {
  createCipher,
  type DataKey,
  keyVersionOf,
  LOCKED,
  PLAIN,
  unwrapDataKey,
  wrapDataKey,
} from "../../lib/store/cipher.ts";
import { ensureBucket } from "../../lib/store/cursors.ts";
import { type Database, openDatabase } from "../../lib/store/database.ts";
import { forgetVersion, isKnown, markRevised, openVersion, versionsBetween } from "../../lib/store/ledger.ts";
import {
  addToOutbox,
  buryVersion,
  deadLetterCount,
  moveToDeadLetters,
  outboxDepth,
  peekOutbox,
  removeFromOutbox,
  withdraw,
} from "../../lib/store/outbox.ts";

const key = (version = 1, fill = version): DataKey => ({ version, bytes: new Uint8Array(32).fill(fill) });
const CIPHER = createCipher(key());
const VERSION = { startUs: 1_700_000_000_000_000, digest: digestOf({ title: "t" }), durationSeconds: 1.5 };
const PLACE = { seq: 7, bucketId: 3 };
const BUCKET = { id: "b", type: "currentwindow", hostname: "x", created: "" } as const;

const sealed = (body = "text") => CIPHER.sealBody(PLACE, VERSION.digest, body) as Uint8Array;

Deno.test("a sealed body comes back as the same text, whatever is in it", () => {
  fc.assert(fc.property(fc.string({ unit: "binary" }), fc.nat(), fc.nat(), (body, seq, bucketId) => {
    const place = { seq, bucketId };
    const stored = CIPHER.sealBody(place, VERSION.digest, body) as Uint8Array;
    assert.equal(CIPHER.openBody(place, stored), body);
    assert.deepEqual([...CIPHER.bodyDigest(place, VERSION.digest, stored)], [...VERSION.digest]);
  }));
});

Deno.test("a sealed body does not open in another row, under another key, or for another purpose", () => {
  const stored = sealed();
  for (const place of [{ ...PLACE, seq: 8 }, { ...PLACE, bucketId: 4 }]) {
    assert.throws(() => CIPHER.openBody(place, stored), SealError);
  }
  assert.throws(() => createCipher(key(1, 9)).openBody(PLACE, stored), SealError);
  assert.throws(() => createCipher(key(2, 1)).openBody(PLACE, stored), /another key/);
  assert.throws(() => CIPHER.openReason(PLACE.seq, stored), SealError);
  assert.throws(() => CIPHER.openBody(PLACE, CIPHER.sealReason(PLACE.seq, "text")), SealError);
});

Deno.test("a sealed body with any one bit of it changed, or cut anywhere, does not open", () => {
  const stored = sealed("some text");
  for (let bit = 0; bit < stored.length * 8; bit++) {
    const changed = stored.slice();
    changed[bit >> 3]! ^= 1 << (bit & 7);
    assert.throws(() => CIPHER.openBody(PLACE, changed), SealError, `bit ${bit}`);
  }
  for (let length = 0; length < stored.length; length++) {
    assert.throws(() => CIPHER.openBody(PLACE, stored.slice(0, length)), SealError, `length ${length}`);
  }
});

Deno.test("an encrypted cache takes no text that is not sealed: who can write the file cannot plant events", () => {
  assert.throws(() => CIPHER.openBody(PLACE, "planted"), SealError);
  assert.throws(() => CIPHER.openReason(1, "planted"), SealError);
});

Deno.test("no nonce is used twice, and the same text is never sealed to the same bytes", () => {
  const nonces = new Set<string>();
  for (let n = 0; n < 20_000; n++) nonces.add(sealed().slice(5, 17).join());
  assert.equal(nonces.size, 20_000);
});

Deno.test("a tag tells nothing of the digest, nor that two events have the same data", () => {
  const tag = CIPHER.tag(1, VERSION);
  assert.equal(tag.length, 16);
  assert.deepEqual(CIPHER.tag(1, { ...VERSION }), tag);
  const others = [
    VERSION.digest,
    CIPHER.tag(2, VERSION),
    CIPHER.tag(1, { ...VERSION, startUs: VERSION.startUs + 1 }),
    CIPHER.tag(1, { ...VERSION, durationSeconds: 2 }),
    CIPHER.tag(1, { ...VERSION, digest: digestOf({ title: "u" }) }),
    createCipher(key(1, 9)).tag(1, VERSION),
  ];
  for (const other of others) assert.notDeepEqual(other, tag);
});

Deno.test("a tag is one for a duration of 0 and of -0, which SQLite holds for the same", () => {
  assert.deepEqual(
    CIPHER.tag(1, { ...VERSION, durationSeconds: -0 }),
    CIPHER.tag(1, { ...VERSION, durationSeconds: 0 }),
  );
});

Deno.test("a data key opens with the user's key that sealed it and with no other", () => {
  const user = new Uint8Array(32).fill(5);
  const wrapped = wrapDataKey(user, key(3));
  assert.deepEqual(new Uint8Array(unwrapDataKey(user, 3, wrapped).bytes), key(3).bytes);
  assert.throws(() => unwrapDataKey(new Uint8Array(32).fill(6), 3, wrapped), SealError);
  assert.throws(() => unwrapDataKey(user, 4, wrapped), SealError);
  assert.equal(keyVersionOf(wrapped), 3);
  assert.equal(keyVersionOf("text"), 0);
});

/** What the store answers to one and the same sequence of calls. */
function story(db: Database): unknown {
  const { id } = ensureBucket(db, BUCKET);
  const version = (n: number) => ({ startUs: n, digest: digestOf(n % 3), durationSeconds: n / 10 });
  const bodies = ["é€😀", "{}", "x".repeat(300), "d", "e", "f"];
  db.transaction(() =>
    bodies.forEach((body, n) => {
      addToOutbox(db, id, version(n), body, 7);
    })
  );
  const told: unknown[] = [];
  told.push(peekOutbox(db, -1, 3, 1e6), peekOutbox(db, -1, 100, 12).length);
  told.push(withdraw(db, id, version(1)), withdraw(db, id, version(1)));
  forgetVersion(db, id, version(1));
  const [first, second] = peekOutbox(db, -1, 2, 1e6);
  removeFromOutbox(db, [first!]);
  moveToDeadLetters(db, [{ seq: second!.seq, status: 422, reason: "bad" }], 9);
  buryVersion(db, id, version(3), "no object", 9);
  markRevised(db, id, version(4));
  told.push(peekOutbox(db, -1, 100, 1e6), outboxDepth(db), deadLetterCount(db));
  for (let n = 0; n < 6; n++) told.push(isKnown(db, id, version(n)), isKnown(db, id + 1, version(n)));
  const rows = [...versionsBetween(db, id, 0, 100).values()];
  told.push(rows.map(({ epoch, revised }) => [epoch, revised]));
  told.push(rows.map((row) => openVersion(db, id, row)!).map((v) => ({ ...v, digest: [...v.digest] })));
  return told;
}

Deno.test("the store gives the same answers with a cipher as without", () => {
  using plain = openDatabase(":memory:");
  using encrypted = openDatabase(":memory:");
  encrypted.cipher = CIPHER;
  assert.deepEqual(story(encrypted), story(plain));
  const rows = encrypted.all("SELECT body, reason FROM dead_letter");
  assert.equal(rows.length, 2);
  for (const row of rows) assert.ok(Object.values(row).every((value) => value instanceof Uint8Array));
});

Deno.test("an entry that was changed on the disk is damage, for the event itself is still in ActivityWatch", () => {
  using db = openDatabase(":memory:");
  db.cipher = CIPHER;
  const { id } = ensureBucket(db, BUCKET);
  const version = (n: number) => ({ startUs: n, digest: digestOf(n), durationSeconds: 1 });
  db.transaction(() => ["a", "b", "c"].forEach((body, n) => addToOutbox(db, id, version(n), body, 0)));
  // Two rows changed places.
  db.run("UPDATE outbox SET body = (SELECT body FROM outbox WHERE seq = 2) WHERE seq = 1");
  assert.throws(
    () => peekOutbox(db, -1, 1, 1e6),
    (error) => error instanceof StoreError && error.fault === "corrupt" && /entry 1 /.test(error.message),
  );
});

Deno.test("a cache that is locked neither takes nor gives anything", () => {
  using db = openDatabase(":memory:");
  const { id } = ensureBucket(db, BUCKET);
  addToOutbox(db, id, VERSION, "a", 0);
  db.cipher = LOCKED;
  assert.throws(() => addToOutbox(db, id, VERSION, "b", 0), KeyError);
  assert.throws(() => peekOutbox(db, -1, 1, 1), KeyError);
  assert.equal(outboxDepth(db), 1);
});

Deno.test("without encryption everything is kept as it is", () => {
  assert.equal(PLAIN.sealBody(PLACE, VERSION.digest, "a"), "a");
  assert.equal(PLAIN.tag(1, VERSION), VERSION.digest);
});
