import assert from "node:assert/strict";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { createCollector } from "../../lib/collector.ts";
import { StoreError } from "../../lib/errors.ts";
import type { ActivityEvent, Bucket, Source } from "../../lib/event.ts";
import { takenOverFilter } from "../../lib/filters/taken_over.ts";
import { createPolicy } from "../../lib/filters/privacy.ts";
import { readRules, type RuleText } from "../../lib/filters/rule.ts";
import { eventOfBody, judgeWaiting } from "../../lib/judgement.ts";
import { createRejudge } from "../../lib/rejudge.ts";
import { openDatabase } from "../../lib/store/database.ts";
import { readDaemonCache, takenOver, takeOver } from "../../lib/store/daemon_cache.ts";
import { deadLetterCount, openEntry, peekOutbox } from "../../lib/store/outbox.ts";
import { adoptRules, mayBeStale, staleEntries } from "../../lib/store/rules.ts";
import { textsOf } from "../fakes/entries.ts";

type Row = [hash: string, timestamp: string, type: string, data: string, addedAt: string];

const WINDOW: Row = [
  "h1",
  "2026-01-02T03:00:00.123000+00:00",
  "desktop_activity.window",
  '{"app": "Code", "title": "caf\\u00e9.ts", "url": null, "duration_seconds": 42.0}',
  "2026-01-02T03:01:00.500000+00:00",
];
const AFK: Row = [
  "h2",
  "2026-01-02T02:00:00+00:00",
  "desktop_activity.afk",
  '{"app": "AFK", "title": "not-afk", "url": null, "duration_seconds": 0.0}',
  "2026-01-02T03:00:30+00:00",
];

/** Makes a cache as the Python daemon has it. */
async function withDaemonCache(
  rows: readonly Row[],
  act: (path: string, folder: string) => void | Promise<void>,
) {
  const folder = await Deno.makeTempDir({ prefix: "lifelog-daemon-" });
  const path = join(folder, "local_daemon_cache.sqlite");
  try {
    const db = new DatabaseSync(path);
    db.exec(`CREATE TABLE event_cache (id INTEGER PRIMARY KEY AUTOINCREMENT, event_hash TEXT UNIQUE NOT NULL,
      timestamp TEXT NOT NULL, event_type TEXT NOT NULL, source TEXT NOT NULL, device_id TEXT NOT NULL,
      data TEXT NOT NULL, added_at TEXT NOT NULL, send_attempts INTEGER DEFAULT 0, last_send_attempt_at TEXT)`);
    const add = db.prepare(
      `INSERT INTO event_cache (event_hash, timestamp, event_type, source, device_id, data, added_at)
      VALUES (?, ?, ?, 'activitywatch', 'laptop', ?, ?)`,
    );
    for (const row of rows) add.run(...row);
    db.close();
    await act(path, folder);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

Deno.test("takeOver() queues the daemon's events in its order and in its form, to the character", () =>
  withDaemonCache([WINDOW, AFK], (path, folder) => {
    using db = openDatabase(join(folder, "cache.sqlite"));
    assert.deepEqual(takeOver(db, readDaemonCache(path), 0), { taken: 2, known: 0, dead: 0 });
    assert.deepEqual(textsOf(peekOutbox(db, 0, 10, 10_000)), [
      '{"timestamp":"2026-01-02T02:00:00+00:00","type":"desktop_activity.afk",' +
      '"data":{"app": "AFK", "title": "not-afk", "url": null, "duration_seconds": 0.0}}',
      '{"timestamp":"2026-01-02T03:00:00.123000+00:00","type":"desktop_activity.window",' +
      '"data":{"app": "Code", "title": "caf\\u00e9.ts", "url": null, "duration_seconds": 42.0}}',
    ]);
  }));

Deno.test("takeOver() takes each event once, also when it is run again", () =>
  withDaemonCache([WINDOW, AFK], (path, folder) => {
    using db = openDatabase(join(folder, "cache.sqlite"));
    const left = readDaemonCache(path);
    takeOver(db, left, 0);
    assert.deepEqual(takeOver(db, left, 0), { taken: 0, known: 2, dead: 0 });
    assert.equal(peekOutbox(db, 0, 10, 10_000).length, 2);
  }));

Deno.test("takeOver() moves an event whose data is no JSON object to the dead letters", () =>
  withDaemonCache(
    [["h3", WINDOW[1], WINDOW[2], '{"duration_seconds": NaN}', WINDOW[4]], AFK],
    (path, folder) => {
      using db = openDatabase(join(folder, "cache.sqlite"));
      assert.deepEqual(takeOver(db, readDaemonCache(path), 0), { taken: 1, known: 0, dead: 1 });
      assert.equal(deadLetterCount(db), 1);
      assert.equal(peekOutbox(db, 0, 10, 10_000).length, 1);
    },
  ));

Deno.test("readDaemonCache() tells how far the daemon had come: by its newest event, else by its last write", () =>
  withDaemonCache([WINDOW, AFK], (path) => {
    const { hadUs, deviceId } = readDaemonCache(path);
    assert.deepEqual(hadUs, {
      "currentwindow": Date.parse("2026-01-02T03:00:00.123Z") * 1000 + 999,
      "afkstatus": Date.parse("2026-01-02T02:00:00Z") * 1000 + 999,
      "web.tab.current": Date.parse("2026-01-02T03:01:00.500Z") * 1000,
    });
    assert.equal(deviceId, "laptop");
  }));

Deno.test("readDaemonCache() of a daemon that had sent all goes by when its file was last written", () =>
  withDaemonCache([], (path) => {
    Deno.utimeSync(path, 1_767_000_000, 1_767_000_000);
    assert.equal(readDaemonCache(path).hadUs.currentwindow, 1_767_000_000_000_000);
  }));

Deno.test("readDaemonCache() refuses a file that it does not understand, and says what is missing", () =>
  withDaemonCache([WINDOW], (path, folder) => {
    const refused = (file: string, message: RegExp) =>
      assert.throws(() => readDaemonCache(file), (error) => {
        assert.ok(error instanceof StoreError);
        assert.match(error.message, message);
        return true;
      });
    const old = new DatabaseSync(path);
    old.exec("ALTER TABLE event_cache RENAME COLUMN event_type TO kind");
    old.close();
    refused(path, /its table event_cache has no column event_type/);
    openDatabase(join(folder, "cache.sqlite"))[Symbol.dispose]();
    refused(join(folder, "cache.sqlite"), /no cache of the Python daemon/);
    Deno.writeTextFileSync(join(folder, "text"), "not a database".repeat(100));
    refused(join(folder, "text"), /Cannot read .*text/);
    refused(join(folder, "none"), /Cannot read .*none/);
  }));

Deno.test("openDatabase() refuses the Python daemon's cache and leaves it as it was", () =>
  withDaemonCache([WINDOW], (path) => {
    const before = Deno.readFileSync(path);
    assert.throws(() => openDatabase(path), /as it is the Python daemon's/);
    assert.deepEqual(Deno.readFileSync(path), before);
  }));

Deno.test("after a take-over every event is queued once: by the daemon's hand up to its newest, then by the agent", () =>
  withDaemonCache([WINDOW, AFK], async (path, folder) => {
    using db = openDatabase(join(folder, "cache.sqlite"));
    takeOver(db, readDaemonCache(path), 0);
    const endUs = Date.parse("2026-01-02T04:00:00Z") * 1000;
    const startUs = Date.parse(WINDOW[1]) * 1000;
    // The event that the daemon has, longer by now, one that it missed between its passes, and one since.
    const events: ActivityEvent[] = [startUs, startUs + 20_000_000, startUs + 600_000_000].map((us, n) => ({
      startUs: us,
      durationSeconds: 300 + n,
      data: { app: "Code", title: `event ${n}` },
    }));
    const bucket: Bucket = { id: "w", type: "currentwindow", hostname: "h", created: "" };
    const source: Source = {
      buckets: () => Promise.resolve([bucket]),
      async *pages(_bucket, fromUs, toUs) {
        await Promise.resolve();
        yield {
          fromUs,
          toUs,
          events: events.filter((event) => event.startUs >= fromUs && event.startUs < toUs),
        };
      },
      newestStartUs: () => Promise.resolve(events.at(-1)!.startUs),
    };
    const collector = createCollector({
      db,
      source,
      filters: [takenOverFilter(takenOver(db)!)],
      collectFromUs: endUs - 86_400_000_000,
      trustAge: true,
      now: () => endUs / 1000,
    });
    await collector.collect(bucket);
    const starts = textsOf(peekOutbox(db, 0, 10, 10_000)).map((text) =>
      Date.parse(JSON.parse(text).timestamp) * 1000
    );
    assert.deepEqual(starts, [
      Date.parse(AFK[1]) * 1000,
      startUs,
      startUs + 20_000_000,
      startUs + 600_000_000,
    ]);
  }));

Deno.test("the privacy rules judge what was taken over: it keeps the daemon's text unless a rule changes it", () =>
  withDaemonCache([WINDOW], (path, folder) => {
    using db = openDatabase(join(folder, "cache.sqlite"));
    const rules = adoptRules(db, "none");
    takeOver(db, readDaemonCache(path), 0);
    assert.ok(mayBeStale(db));
    const [entry] = staleEntries(db, rules, 0, 10);
    const body = openEntry(db, entry!);
    const bucket: Bucket = { id: "local_daemon_window", type: "currentwindow", hostname: "", created: "" };
    const judge = (rules: readonly RuleText[]) => {
      const own = readRules(rules, "test");
      const policy = createPolicy({ preset: "full", own, hashKey: () => new Uint8Array(32) });
      return judgeWaiting(
        policy,
        { body, attempted: false },
        eventOfBody(body)!,
        bucket,
        policy.surround([]),
      );
    };
    assert.deepEqual(judge([]), { kind: "same" });
    assert.equal(judge([{ action: "drop", app: "Code" }]).kind, "dropped");
  }));

Deno.test("where a rule looks at what the daemon did not keep, ActivityWatch is asked for it", async () => {
  const page = (hash: string, ms: string): Row => [
    hash,
    `2026-01-02T03:00:00.${ms}000+00:00`,
    "browser_activity.web",
    `{"app": null, "title": "${hash}", "url": "https://a.example/", "duration_seconds": 9.0}`,
    "2026-01-02T03:01:00+00:00",
  ];
  await withDaemonCache(
    [page("open", "100"), page("private", "200"), page("gone", "300")],
    async (path, folder) => {
      using db = openDatabase(join(folder, "cache.sqlite"));
      const own = readRules([{ action: "drop", incognito: true }], "test");
      const policy = createPolicy({ preset: "full", own, hashKey: () => new Uint8Array(32) });
      const rules = adoptRules(db, policy.fingerprint);
      takeOver(db, readDaemonCache(path), 0);
      const at = (ms: number) => Date.parse("2026-01-02T03:00:00Z") * 1000 + ms * 1000;
      const events: ActivityEvent[] = [["open", 100, false], ["private", 200, true]].map((
        [title, ms, incognito],
      ) => ({
        startUs: at(Number(ms)) + 7,
        durationSeconds: 300,
        data: { title, url: "https://a.example/", incognito },
      }));
      const bucket: Bucket = { id: "web", type: "web.tab.current", hostname: "h", created: "" };
      const source: Source = {
        buckets: () => Promise.resolve([bucket]),
        async *pages(_bucket, fromUs, toUs) {
          await Promise.resolve();
          yield { fromUs, toUs, events: events.filter(({ startUs }) => startUs >= fromUs && startUs < toUs) };
        },
        newestStartUs: () => Promise.resolve(undefined),
      };
      const related = { during: () => Promise.resolve([]) };
      const rejudge = createRejudge({ db, source, privacy: { policy, rules, related } });
      const result = await rejudge([bucket]);
      assert.deepEqual([result?.same, result?.dropped, result?.undecided], [1, 1, 1]);
      assert.deepEqual(textsOf(peekOutbox(db, 0, 10, 10_000, rules)).map((text) => JSON.parse(text).data), [
        { app: null, title: "open", url: "https://a.example/", duration_seconds: 9 },
      ]);
      assert.equal(deadLetterCount(db), 1);
    },
  );
});
