import { DatabaseSync, type StatementSync } from "node:sqlite";
import { StoreError, type StoreFault } from "../errors.ts";
import { type Cipher, LOCKED, PLAIN } from "./cipher.ts";
import { MIGRATIONS } from "./migrations.ts";

/** The statements by which entries of the outbox are changed or removed. */
const EDITS_OUTBOX = /^\s*(?:UPDATE|DELETE FROM) outbox\b/;

/** How many rows one statement inserts: as many as fit of the first, then of the next. */
const ROWS_AT_ONCE = [64, 8, 1];

/** The value types that SQLite takes and gives here. */
export type SqlValue = null | number | string | Uint8Array;

/** A row as SQLite gives it. */
export type Row = Record<string, SqlValue>;

/**
 * The cache's one SQLite file. All writes go through {@link Database.transaction}; what it returns from is on
 * disk, up to the last moments before a power loss, from which the file comes back whole at an earlier
 * transaction (`journal_mode=WAL`, `synchronous=NORMAL`).
 */
export class Database implements Disposable {
  readonly #db: DatabaseSync;
  readonly #statements = new Map<string, StatementSync>();
  readonly #lists = new Map<string, StatementSync>();
  /** How often this program changed or removed entries of the outbox. */
  #edits = 0;
  readonly path: string;
  /** How an event's content is put in the cache and read from it. An encrypted cache is locked until `unlock()`. */
  cipher: Cipher;

  constructor(db: DatabaseSync, path: string, cipher: Cipher) {
    this.#db = db;
    this.path = path;
    this.cipher = cipher;
  }

  /** A statement is compiled once for each form in which its rows are read. */
  #prepare(sql: string, asLists = false): StatementSync {
    const kept = asLists ? this.#lists : this.#statements;
    let statement = kept.get(sql);
    if (statement === undefined) {
      statement = this.#db.prepare(sql);
      // Node has it since 22.16, and so has Deno; its types do not know it yet.
      const either = statement as StatementSync & { setReturnArrays(enabled: boolean): void };
      if (asLists) either.setReturnArrays(true);
      kept.set(sql, statement);
    }
    return statement;
  }

  /** Does what `work` does, and says in our words what SQLite finds wrong with the file. */
  #told<T>(doing: "read" | "write", work: () => T): T {
    try {
      return work();
    } catch (error) {
      throw isSqliteError(error) ? storeError(doing, this.path, error) : error;
    }
  }

  /**
   * Runs a statement and tells how many rows it changed.
   * @throws {StoreError} when the cache cannot be written
   */
  run(sql: string, ...values: SqlValue[]): number {
    if (EDITS_OUTBOX.test(sql)) this.#edits++;
    return this.#told("write", () => Number(this.#prepare(sql).run(...values).changes));
  }

  /**
   * Runs a statement that removes of the outbox only what does not wait in it: it leaves {@link outboxState} as it is.
   * @throws {StoreError} when the cache cannot be written
   */
  tidy(sql: string, ...values: SqlValue[]): void {
    this.#told("write", () => this.#prepare(sql).run(...values));
  }

  /**
   * Reads the first row, if there is one.
   * @throws {StoreError} when the cache cannot be read
   */
  get<T = Row>(sql: string, ...values: SqlValue[]): T | undefined {
    return this.#told("read", () => this.#prepare(sql).get(...values) as T | undefined);
  }

  /**
   * Reads all rows.
   * @throws {StoreError} when the cache cannot be read
   */
  all<T = Row>(sql: string, ...values: SqlValue[]): T[] {
    return this.#told("read", () => this.#prepare(sql).all(...values) as T[]);
  }

  /**
   * Reads all rows as lists of their columns: with many rows in half the time that objects take.
   * @throws {StoreError} when the cache cannot be read
   */
  lists<T extends readonly SqlValue[]>(sql: string, ...values: SqlValue[]): T[] {
    return this.#told("read", () => this.#prepare(sql, true).all(...values) as unknown as T[]);
  }

  /**
   * Another text once an entry that waits in the outbox may have been changed or removed, by this program or another. What
   * was added changes nothing of what was read before.
   */
  outboxState(): string {
    return `${this.#edits} ${this.get<{ data_version: number }>("PRAGMA data_version")!.data_version}`;
  }

  /**
   * Inserts rows, many with one statement: the way into SQLite costs more than a row does.
   * @param insert the statement up to its `VALUES`
   */
  insertAll(insert: string, rows: readonly (readonly SqlValue[])[]): void {
    const tuple = `(${rows[0]?.map(() => "?").join(", ")})`;
    let at = 0;
    for (const atOnce of ROWS_AT_ONCE) {
      const statement = `${insert} ${Array<string>(atOnce).fill(tuple).join(", ")}`;
      while (at + atOnce <= rows.length) {
        const values: SqlValue[] = [];
        for (const end = at + atOnce; at < end; at++) for (const value of rows[at]!) values.push(value);
        this.run(statement, ...values);
      }
    }
  }

  /**
   * Runs `work` in one transaction: all of its writes are kept, or none when it throws.
   * @throws {StoreError} when the cache cannot be written
   */
  transaction<T>(work: () => T): T {
    this.#told("write", () => this.#db.exec("BEGIN IMMEDIATE"));
    try {
      const result = work();
      this.#told("write", () => this.#db.exec("COMMIT"));
      return result;
    } catch (error) {
      // A full disk makes SQLite roll back by itself, so that there may be nothing left to roll back.
      try {
        this.#db.exec("ROLLBACK");
      } catch { /* the first error is the one that matters */ }
      throw error;
    }
  }

  /** How many pages of the file hold nothing (4 KiB each). */
  freePages(): number {
    return this.get<{ freelist_count: number }>("PRAGMA freelist_count")!.freelist_count;
  }

  /** Gives free pages back to the file system, at most `pages` of them (4 KiB each), or all for 0. */
  shrink(pages: number): void {
    // A row for each page: `exec` would take one step, which gives back one page and leaves the log to grow.
    this.#told("write", () => this.#db.prepare(`PRAGMA incremental_vacuum(${Math.trunc(pages)})`).all());
  }

  /** How many bytes of the file hold something. */
  usedBytes(): number {
    const pragma = (name: string) => Number(Object.values(this.get(`PRAGMA ${name}`) ?? {})[0] ?? 0);
    return (pragma("page_count") - pragma("freelist_count")) * pragma("page_size");
  }

  /**
   * Looks at the whole file.
   * @throws {StoreError} of the fault `corrupt` when it is damaged
   */
  check(): void {
    const result = this.all<Record<string, string>>("PRAGMA integrity_check(1)");
    const finding = Object.values(result[0] ?? {})[0]?.replace(/\s+/g, " ");
    if (finding !== "ok") throw corruption(this.path, `its integrity check says "${finding}"`);
  }

  /** Overwrites with zeros what is deleted from now on. */
  eraseDeleted(): void {
    this.#db.exec("PRAGMA secure_delete = ON");
  }

  /**
   * Writes tables anew and leaves nothing of what they held before, in free pages or in the log. `VACUUM` would do the
   * same, but it attaches a database, which the runtime grants only to a program that may do everything. Needs as much
   * free space as the tables take.
   * @param tables none that others refer to
   * @returns whether the log could be emptied: not while another program reads in the cache
   */
  scrub(tables: readonly string[]): boolean {
    this.eraseDeleted();
    // Pages that were freed before are given back first, so that none of them comes to use as it is.
    this.shrink(0);
    // What is sorted for an index of millions of rows does not fit in memory.
    this.#db.exec("PRAGMA temp_store = DEFAULT");
    try {
      this.transaction(() => tables.forEach((table) => this.#rewrite(table)));
    } finally {
      this.#db.exec("PRAGMA temp_store = MEMORY");
    }
    this.shrink(0);
    return this.get<{ busy: number }>("PRAGMA wal_checkpoint(TRUNCATE)")?.busy === 0;
  }

  /** Copies a table's rows into a new one that takes its place. The pages of the old one are erased. */
  #rewrite(table: string): void {
    const parts = this.all<{ type: string; sql: string | null }>(
      "SELECT type, sql FROM sqlite_schema WHERE tbl_name = ? ORDER BY type = 'table' DESC",
      table,
    );
    const create = parts[0]!.sql!.replace(/^CREATE TABLE\s+("?)\w+\1/, `CREATE TABLE "${table}_next"`);
    const place = this.get<{ seq: number }>("SELECT seq FROM sqlite_sequence WHERE name = ?", table);
    this.#db.exec(`${create};
      INSERT INTO "${table}_next" SELECT * FROM "${table}";
      DROP TABLE "${table}";
      ALTER TABLE "${table}_next" RENAME TO "${table}";`);
    // A place in the queue is never used again, also when the last that was used is empty by now.
    if (place !== undefined) {
      this.run("DELETE FROM sqlite_sequence WHERE name = ?", table);
      this.run("INSERT INTO sqlite_sequence (name, seq) VALUES (?, ?)", table, place.seq);
    }
    for (const { sql } of parts.slice(1)) if (sql !== null) this.#db.exec(sql);
  }

  [Symbol.dispose](): void {
    this.#statements.clear();
    this.#lists.clear();
    try {
      this.#db.close();
    } catch (error) {
      // Closing writes what the log holds into the file: where that fails, the log is there for the next start.
      if (!isSqliteError(error)) throw error;
    }
  }
}

/** The error for a cache that is damaged. */
export function corruption(path: string, finding: string, cause?: unknown): StoreError {
  return new StoreError(`The cache "${path}" is damaged: ${finding}`, {
    fault: "corrupt",
    hint: "Start the agent: it puts the damaged file aside and collects again what may be missing",
    cause,
  });
}

function isSqliteError(error: unknown): error is Error {
  return error instanceof Error && (error as { code?: string }).code === "ERR_SQLITE_ERROR";
}

/** By SQLite's words: its binding gives the number of an error only sometimes. */
const FAULTS: readonly [RegExp, StoreFault, hint: string][] = [
  [/disk is full/, "full", "Free some space on its disk; nothing is lost, and it goes on by itself"],
  [
    /is locked/,
    "locked",
    "Another program holds it open, such as a database browser or a backup: close that",
  ],
  [/readonly/, "other", "Check that you may write to it and to its folder"],
  [/disk I\/O error/, "disk", "Check the disk that it is on, and whether it has free space"],
];

function storeError(doing: "open" | "read" | "write", path: string, error: Error): StoreError {
  if (/malformed|not a database/.test(error.message)) return corruption(path, error.message, error);
  const [, fault, hint] = FAULTS.find(([words]) => words.test(error.message)) ?? [
    undefined,
    "other" as const,
    "Check that LOCAL_CACHE_DB_PATH names a file in a folder that you may write to, on a disk with free space",
  ];
  return new StoreError(`Cannot ${doing} the cache "${path}": ${error.message}`, {
    cause: error,
    fault,
    hint,
  });
}

/** What {@link openDatabase} may be told. */
export interface OpenDatabaseOptions {
  /** How long to wait for another process' write, in milliseconds. Default: 5000. */
  readonly busyTimeoutMs?: number;
  /** The steps of the schema. Default: {@link MIGRATIONS}. */
  readonly migrations?: readonly string[];
}

/**
 * Opens the cache, makes it where there is none, and brings an older one up to date in one transaction.
 * @throws {StoreError} when the file cannot be opened, is no cache, or is of a newer version
 */
export function openDatabase(path: string, options: OpenDatabaseOptions = {}): Database {
  const { busyTimeoutMs = 5000, migrations = MIGRATIONS } = options;
  let db: DatabaseSync | undefined;
  try {
    db = new DatabaseSync(path, { timeout: busyTimeoutMs });
    refuseForeign(db, path, migrations.length);
    // Takes effect in a new file only, before its first table.
    db.exec("PRAGMA auto_vacuum = INCREMENTAL");
    db.exec("PRAGMA journal_mode = WAL");
    db.exec("PRAGMA synchronous = NORMAL");
    db.exec("PRAGMA foreign_keys = ON");
    // Without it a row that is replaced would be counted as added and not as taken away.
    db.exec("PRAGMA recursive_triggers = ON");
    db.exec("PRAGMA journal_size_limit = 4194304");
    migrate(db, migrations);
    // A statement that changes hundreds of rows keeps the pages as they were until it is through: without this in a file
    // of its own, made, written with events and deleted in the folder for temporary files for each batch.
    db.exec("PRAGMA temp_store = MEMORY");
    const encrypted =
      db.prepare("SELECT 1 FROM meta WHERE name = 'encryption' AND value <> 'off'").get() !== undefined;
    return new Database(db, path, encrypted ? LOCKED : PLAIN);
  } catch (error) {
    try {
      db?.close();
    } catch { /* the first error is the one that matters */ }
    if (error instanceof StoreError) throw error;
    throw storeError("open", path, error instanceof Error ? error : new Error(String(error)));
  }
}

/**
 * Opens a database that another program made, to read it.
 * @throws {StoreError} when there is none or it cannot be read
 */
export function openForeign(path: string): Database {
  let db: DatabaseSync | undefined;
  try {
    db = new DatabaseSync(path, { readOnly: true, timeout: 5000 });
    db.prepare("SELECT count(*) FROM sqlite_schema").get();
    return new Database(db, path, LOCKED);
  } catch (error) {
    db?.close();
    throw new StoreError(`Cannot read "${path}": ${error instanceof Error ? error.message : error}`, {
      cause: error,
      hint: "Check that it is a SQLite database that you may read",
    });
  }
}

/**
 * Opens the cache to look at it, beside an agent that works on it or without one. Nothing is made, changed or
 * brought up to date, and no key is needed: counts and times are in the clear in an encrypted cache too.
 * @throws {StoreError} when there is none, it cannot be read, or it is of another version
 */
export function openDatabaseReadOnly(path: string, options: OpenDatabaseOptions = {}): Database {
  const { busyTimeoutMs = 1000, migrations = MIGRATIONS } = options;
  let db: DatabaseSync | undefined;
  try {
    db = new DatabaseSync(path, { readOnly: true, timeout: busyTimeoutMs });
    const version = Number(db.prepare("PRAGMA user_version").get()?.user_version ?? 0);
    if (version !== migrations.length) {
      throw new StoreError(
        `Cannot look into the cache "${path}" as it is of version ${version} and this program reads ${migrations.length}`,
        {
          hint: version < migrations.length
            ? "Start lifelog-agent once: it brings the cache up to date"
            : "Run the newer lifelog-agent that wrote it",
        },
      );
    }
    return new Database(db, path, LOCKED);
  } catch (error) {
    db?.close();
    if (error instanceof StoreError) throw error;
    throw new StoreError(
      `Cannot look into the cache "${path}": ${error instanceof Error ? error.message : error}`,
      {
        cause: error,
        hint: "Check that LOCAL_CACHE_DB_PATH names the agent's cache and that you may read it",
      },
    );
  }
}

/**
 * Refuses, before anything is written, a cache of a newer version, and a database with tables and without a version:
 * another program made it, and the two would work on one file.
 */
function refuseForeign(db: DatabaseSync, path: string, newest: number): void {
  const version = Number(db.prepare("PRAGMA user_version").get()?.user_version ?? 0);
  if (version > newest) {
    throw new StoreError(
      `Cannot open the cache "${path}" as it is of version ${version} and this agent knows up to ${newest}`,
      { hint: "Run the newer lifelog-agent that wrote it, or move the file away to begin a new one" },
    );
  }
  if (version > 0) return;
  const tables = db.prepare("SELECT name FROM sqlite_schema WHERE name NOT LIKE 'sqlite_%'").all();
  if (tables.length === 0) return;
  const daemon = tables.some(({ name }) => name === "event_cache");
  throw new StoreError(
    `Cannot open the cache "${path}" as it is ${
      daemon ? "the Python daemon's" : "another program's database"
    }`,
    {
      hint: daemon
        ? "Stop the Python daemon, then run lifelog-agent migrate: it takes over what was not sent"
        : "Name another file by LOCAL_CACHE_DB_PATH",
    },
  );
}

function migrate(db: DatabaseSync, migrations: readonly string[]): void {
  const version = () => Number(db.prepare("PRAGMA user_version").get()?.user_version ?? 0);
  if (version() === migrations.length) return;
  db.exec("BEGIN IMMEDIATE");
  try {
    const from = version();
    for (const step of migrations.slice(from)) db.exec(step);
    db.exec(`PRAGMA user_version = ${migrations.length}`);
    db.exec("COMMIT");
  } catch (error) {
    try {
      db.exec("ROLLBACK");
    } catch { /* the first error is the one that matters */ }
    throw error;
  }
}

/** The version of the SQLite library inside this program. */
export function sqliteVersion(): string {
  const db = new DatabaseSync(":memory:");
  try {
    return String(db.prepare("SELECT sqlite_version() AS version").get()?.version);
  } finally {
    db.close();
  }
}
