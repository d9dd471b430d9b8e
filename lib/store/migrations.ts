/**
 * Each entry brings a cache from the version of its index to the next. Only ever appended to: caches of every
 * released version are in the field.
 */
export const MIGRATIONS: readonly string[] = [
  `
  CREATE TABLE meta (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID, STRICT;

  CREATE TABLE bucket (
    id INTEGER PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    type TEXT NOT NULL,
    created TEXT NOT NULL,
    -- Counts how often the bucket was made anew under the same name.
    epoch INTEGER NOT NULL DEFAULT 0,
    revisions INTEGER NOT NULL DEFAULT 0,
    reread_at_ms INTEGER NOT NULL DEFAULT 0
  ) STRICT;

  -- The intervals [from_us, to_us) of event starts that have been collected.
  CREATE TABLE coverage (
    bucket_id INTEGER NOT NULL REFERENCES bucket (id),
    from_us INTEGER NOT NULL,
    to_us INTEGER NOT NULL,
    PRIMARY KEY (bucket_id, from_us)
  ) WITHOUT ROWID, STRICT;

  -- Every version of every event that was ever put in the outbox, kept past delivery.
  CREATE TABLE ledger (
    bucket_id INTEGER NOT NULL REFERENCES bucket (id),
    start_us INTEGER NOT NULL,
    digest BLOB NOT NULL,
    duration REAL NOT NULL,
    epoch INTEGER NOT NULL,
    -- 1 when ActivityWatch no longer has this version though it may have been delivered.
    revised INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (bucket_id, start_us, digest, duration)
  ) WITHOUT ROWID, STRICT;

  CREATE TABLE outbox (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    bucket_id INTEGER NOT NULL REFERENCES bucket (id),
    start_us INTEGER NOT NULL,
    digest BLOB NOT NULL,
    duration REAL NOT NULL,
    cached_at_ms INTEGER NOT NULL,
    body TEXT NOT NULL
  ) STRICT;
  CREATE INDEX outbox_by_version ON outbox (bucket_id, start_us);

  CREATE TABLE dead_letter (
    seq INTEGER PRIMARY KEY,
    bucket_id INTEGER NOT NULL REFERENCES bucket (id),
    start_us INTEGER NOT NULL,
    digest BLOB NOT NULL,
    duration REAL NOT NULL,
    cached_at_ms INTEGER NOT NULL,
    body TEXT NOT NULL,
    status INTEGER,
    reason TEXT NOT NULL,
    dead_at_ms INTEGER NOT NULL
  ) STRICT;
  `,
  `
  -- How many events wait, kept by triggers: counting millions of rows would take a look at each of them.
  CREATE TABLE depth (one INTEGER PRIMARY KEY CHECK (one = 1), events INTEGER NOT NULL) STRICT;
  INSERT INTO depth SELECT 1, count(*) FROM outbox;
  CREATE TRIGGER outbox_deeper AFTER INSERT ON outbox BEGIN UPDATE depth SET events = events + 1; END;
  CREATE TRIGGER outbox_shallower AFTER DELETE ON outbox BEGIN UPDATE depth SET events = events - 1; END;
  `,
  `
  -- When the bucket was last read to its end; 0 for never.
  ALTER TABLE bucket ADD COLUMN read_at_ms INTEGER NOT NULL DEFAULT 0;
  `,
  `
  -- A body and a reason are text or, in an encrypted cache, bytes (see cipher.ts). The queue goes on counting.
  CREATE TABLE outbox_next (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    bucket_id INTEGER NOT NULL REFERENCES bucket (id),
    start_us INTEGER NOT NULL,
    digest BLOB NOT NULL,
    duration REAL NOT NULL,
    cached_at_ms INTEGER NOT NULL,
    body ANY NOT NULL
  ) STRICT;
  INSERT INTO outbox_next SELECT * FROM outbox;
  DELETE FROM sqlite_sequence WHERE name = 'outbox_next';
  INSERT INTO sqlite_sequence SELECT 'outbox_next', seq FROM sqlite_sequence WHERE name = 'outbox';
  DROP TABLE outbox;
  ALTER TABLE outbox_next RENAME TO outbox;
  CREATE INDEX outbox_by_version ON outbox (bucket_id, start_us);
  CREATE TRIGGER outbox_deeper AFTER INSERT ON outbox BEGIN UPDATE depth SET events = events + 1; END;
  CREATE TRIGGER outbox_shallower AFTER DELETE ON outbox BEGIN UPDATE depth SET events = events - 1; END;

  CREATE TABLE dead_letter_next (
    seq INTEGER PRIMARY KEY,
    bucket_id INTEGER NOT NULL REFERENCES bucket (id),
    start_us INTEGER NOT NULL,
    digest BLOB NOT NULL,
    duration REAL NOT NULL,
    cached_at_ms INTEGER NOT NULL,
    body ANY NOT NULL,
    status INTEGER,
    reason ANY NOT NULL,
    dead_at_ms INTEGER NOT NULL
  ) STRICT;
  INSERT INTO dead_letter_next SELECT * FROM dead_letter;
  DROP TABLE dead_letter;
  ALTER TABLE dead_letter_next RENAME TO dead_letter;

  -- In an encrypted cache the digest is a keyed tag, and what it was made of stands here, sealed.
  ALTER TABLE ledger ADD COLUMN sealed BLOB;
  -- The keys that rows are sealed with, each sealed with the user's key.
  CREATE TABLE data_key (version INTEGER PRIMARY KEY, wrapped BLOB NOT NULL, made_at_ms INTEGER NOT NULL) STRICT;
  `,
  `
  -- The sums that \`status\` shows, by bucket; triggers hold them, whoever writes.
  ALTER TABLE bucket ADD COLUMN waiting INTEGER NOT NULL DEFAULT 0;
  ALTER TABLE bucket ADD COLUMN waiting_bytes INTEGER NOT NULL DEFAULT 0;
  UPDATE bucket SET
    waiting = (SELECT count(*) FROM outbox WHERE bucket_id = bucket.id),
    waiting_bytes = (SELECT coalesce(sum(octet_length(body)), 0) FROM outbox WHERE bucket_id = bucket.id);
  DROP TRIGGER outbox_deeper;
  DROP TRIGGER outbox_shallower;
  DROP TABLE depth;
  CREATE TRIGGER outbox_deeper AFTER INSERT ON outbox BEGIN
    UPDATE bucket SET waiting = waiting + 1, waiting_bytes = waiting_bytes + octet_length(new.body)
    WHERE id = new.bucket_id;
  END;
  CREATE TRIGGER outbox_shallower AFTER DELETE ON outbox BEGIN
    UPDATE bucket SET waiting = waiting - 1, waiting_bytes = waiting_bytes - octet_length(old.body)
    WHERE id = old.bucket_id;
  END;
  CREATE TRIGGER outbox_rewritten AFTER UPDATE OF body ON outbox BEGIN
    UPDATE bucket SET waiting_bytes = waiting_bytes + octet_length(new.body) - octet_length(old.body)
    WHERE id = new.bucket_id;
  END;

  -- The newest event that ActivityWatch had at the last read, final or not.
  ALTER TABLE bucket ADD COLUMN newest_start_us INTEGER;
  ALTER TABLE bucket ADD COLUMN newest_end_us INTEGER;
  -- From where on no gap was left to read then.
  ALTER TABLE bucket ADD COLUMN filled_from_us INTEGER;
  `,
  `
  -- The CRC-32 of the body: SQLite has none of its own, and a body with a flipped bit would be another event.
  ALTER TABLE outbox ADD COLUMN crc INTEGER;
  ALTER TABLE dead_letter ADD COLUMN crc INTEGER;
  -- The same for how far collection got, where a flipped bit would leave events out: SQLite checks it with the rest.
  CREATE TABLE covered (
    bucket_id INTEGER NOT NULL REFERENCES bucket (id),
    from_us INTEGER NOT NULL,
    to_us INTEGER NOT NULL,
    residue INTEGER NOT NULL CHECK (residue = (bucket_id + 3 * from_us + 7 * to_us) % 2147483647),
    PRIMARY KEY (bucket_id, from_us)
  ) WITHOUT ROWID, STRICT;
  INSERT INTO covered SELECT *, (bucket_id + 3 * from_us + 7 * to_us) % 2147483647 FROM coverage;
  DROP TABLE coverage;
  ALTER TABLE covered RENAME TO coverage;
  `,
  `
  -- How much waited at a moment, for the dashboard's charts; written while it is on.
  CREATE TABLE sample (
    at_ms INTEGER PRIMARY KEY,
    waiting INTEGER NOT NULL,
    dead INTEGER NOT NULL,
    lag_ms INTEGER
  ) STRICT;
  CREATE INDEX dead_letter_by_version ON dead_letter (bucket_id, start_us);
  `,
  `
  -- Which privacy rules let an entry pass, by their number (see rules.ts): it is not sent while that is an old one.
  ALTER TABLE outbox ADD COLUMN rules INTEGER NOT NULL DEFAULT 0;
  -- 1 when a privacy rule dropped the version: it stays so when the rules are loosened.
  ALTER TABLE ledger ADD COLUMN dropped INTEGER NOT NULL DEFAULT 0;
  -- Entries that may have been sent, though nothing confirmed it.
  CREATE TABLE attempt (seq INTEGER PRIMARY KEY) STRICT;
  CREATE TRIGGER attempt_over AFTER DELETE ON outbox BEGIN DELETE FROM attempt WHERE seq = old.seq; END;
  `,
  `
  -- A dead letter that goes back to the queue is judged again where the privacy rules changed meanwhile.
  ALTER TABLE dead_letter ADD COLUMN rules INTEGER NOT NULL DEFAULT 0;
  `,
  `
  -- How far collection had got when the recent past was last read again.
  ALTER TABLE bucket ADD COLUMN reread_cursor_us INTEGER;
  `,
  `
  -- Requests hold entries that stand one after another: their range is noted, and not each of them.
  DROP TRIGGER attempt_over;
  ALTER TABLE attempt RENAME TO attempt_before;
  CREATE TABLE attempt (from_seq INTEGER PRIMARY KEY, to_seq INTEGER NOT NULL) STRICT;
  INSERT INTO attempt SELECT seq, seq FROM attempt_before;
  DROP TABLE attempt_before;
  `,
  `
  -- Where in the queue a version stands, or stood: an index of the outbox by version was written twice for each event.
  ALTER TABLE ledger ADD COLUMN seq INTEGER;
  UPDATE ledger SET seq = o.seq FROM outbox o
    WHERE ledger.bucket_id = o.bucket_id AND ledger.start_us = o.start_us AND ledger.digest = o.digest
      AND ledger.duration = o.duration;
  DROP INDEX outbox_by_version;
  -- What is put in the outbox is counted by who puts it there, once for many events (see outbox.ts).
  DROP TRIGGER outbox_deeper;
  `,
  `
  -- Up to which place all that stands in the outbox is delivered (see removal.ts). A damaged note is none.
  CREATE TABLE delivered (
    one INTEGER PRIMARY KEY CHECK (one = 1),
    to_seq INTEGER NOT NULL,
    residue INTEGER NOT NULL CHECK (residue = (3 * to_seq + 7) % 2147483647)
  ) STRICT;
  -- Without a trigger for each row that goes, and without a reference, all rows can go at once.
  CREATE TABLE outbox_next (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    bucket_id INTEGER NOT NULL,
    start_us INTEGER NOT NULL,
    digest BLOB NOT NULL,
    duration REAL NOT NULL,
    cached_at_ms INTEGER NOT NULL,
    body ANY NOT NULL,
    crc INTEGER,
    rules INTEGER NOT NULL DEFAULT 0
  ) STRICT;
  INSERT INTO outbox_next SELECT * FROM outbox;
  DELETE FROM sqlite_sequence WHERE name = 'outbox_next';
  INSERT INTO sqlite_sequence SELECT 'outbox_next', seq FROM sqlite_sequence WHERE name = 'outbox';
  -- The trigger that counted rows as they go goes with it.
  DROP TABLE outbox;
  ALTER TABLE outbox_next RENAME TO outbox;
  CREATE TRIGGER outbox_rewritten AFTER UPDATE OF body ON outbox BEGIN
    UPDATE bucket SET waiting_bytes = waiting_bytes + octet_length(new.body) - octet_length(old.body)
    WHERE id = new.bucket_id;
  END;
  `,
];
