/** A working day in a cache of its own, in every state that the dashboard shows. The clock stands still at 15:40. */

import assert from "node:assert/strict";
import { join } from "node:path";
import { createCollector } from "../../lib/collector.ts";
import type {
  ActivityEvent,
  Bucket,
  BucketType,
  Filter,
  OutboxEntry,
  Policy,
  RelatedSource,
  Source,
} from "../../lib/event.ts";
import { createLook } from "../../lib/status/look.ts";
import { createMetrics } from "../../lib/metrics.ts";
import { openWeb } from "../../lib/web/open.ts";
import { createPolicy } from "../../lib/filters/privacy.ts";
import { readRules } from "../../lib/filters/rule.ts";
import { minDuration } from "../../lib/filters/min_duration.ts";
import type { Cipher } from "../../lib/store/cipher.ts";
import { type Database, openDatabase } from "../../lib/store/database.ts";
import { noteDelivered, noteFailure, noteOk, noteRead } from "../../lib/store/health.ts";
import { setMeta } from "../../lib/store/meta.ts";
import { moveToDeadLetters, peekOutbox, removeFromOutbox } from "../../lib/store/outbox.ts";
import { adoptRules } from "../../lib/store/rules.ts";
import { addSamples, type Sample } from "../../lib/store/samples.ts";
import { MS_US } from "../../lib/time.ts";

export const NOW_MS = new Date(2026, 2, 11, 15, 40).getTime();
/** In titles and addresses alone: where it comes to stand in a log or in metrics, something leaks. */
/** The number of the first rules of a new cache. */
const RULES = 1;
export const CANARY = "Heron";

const WORK: readonly [app: string, title: string, url: string][] = [
  ["Code", `timeline.ts — ${CANARY} project`, ""],
  ["Firefox", `MDN: Canvas ${CANARY}`, "https://developer.example.org/canvas"],
  ["Slack", `#team ${CANARY}`, ""],
  ["Firefox", `Issue 12 ${CANARY}`, "https://git.example.com/issues/12"],
  ["Terminal", `deno task test ${CANARY}`, ""],
  ["Thunderbird", `Inbox ${CANARY}`, ""],
];

/** The day's events by bucket: the same each time. */
function makeDay(fromMs: number, toMs: number): Map<string, ActivityEvent[]> {
  let seed = 11;
  const random = () => (seed = (seed * 1_103_515_245 + 12_345) % 2 ** 31) / 2 ** 31;
  const windows: ActivityEvent[] = [];
  const web: ActivityEvent[] = [];
  const afk: ActivityEvent[] = [];
  let afkFromMs = fromMs;
  let at = fromMs;
  let lunch = false;
  while (at < toMs) {
    if (!lunch && at > fromMs + 3.5 * 3_600_000) {
      lunch = true;
      afk.push(event(afkFromMs, at, { status: "not-afk" }), event(at, at + 45 * 60_000, { status: "afk" }));
      afkFromMs = at = at + 45 * 60_000;
    }
    const [app, title, url] = WORK[Math.floor(random() ** 1.6 * WORK.length)]!;
    const lengthMs = Math.round(2_000 + random() ** 3 * 900_000);
    const end = Math.min(toMs, at + lengthMs);
    windows.push(event(at, end, { app, title }));
    if (url !== "") web.push(event(at, end, { url, title, audible: false, incognito: false, tabCount: 7 }));
    at = end;
  }
  afk.push(event(afkFromMs, toMs, { status: "not-afk" }));
  return new Map([["window", windows], ["web", web], ["afk", afk]]);
}

function event(fromMs: number, toMs: number, data: Record<string, unknown>): ActivityEvent {
  return { startUs: fromMs * MS_US, durationSeconds: (toMs - fromMs) / 1000, data };
}

/** A source that holds its events in memory, and shows those that have begun by `now`. */
export interface MemorySource extends Source, RelatedSource {
  readonly events: Map<string, ActivityEvent[]>;
  /** How often pages were asked for. */
  reads: number;
  fails: Error | undefined;
}

export function memorySource(
  buckets: readonly Bucket[],
  events: Map<string, ActivityEvent[]>,
  now: () => number = () => Infinity,
): MemorySource {
  return {
    events,
    reads: 0,
    fails: undefined,
    buckets: () => Promise.resolve([...buckets]),
    async *pages({ id }, fromUs, toUs) {
      this.reads++;
      if (this.fails !== undefined) throw this.fails;
      await Promise.resolve();
      const inside = (events.get(id) ?? []).filter(({ startUs }) =>
        startUs >= fromUs && startUs < Math.min(toUs, now() * MS_US)
      );
      yield { fromUs, toUs, events: inside };
    },
    during({ id }, fromUs, toUs) {
      const touches = ({ startUs, durationSeconds }: ActivityEvent) =>
        startUs <= toUs && startUs + durationSeconds * 1e6 >= fromUs;
      return Promise.resolve((events.get(id) ?? []).filter(touches));
    },
    newestStartUs: ({ id }) => Promise.resolve(events.get(id)?.at(-1)?.startUs),
  };
}

/** The cache and what it was collected from. */
export interface Scene extends Disposable {
  readonly db: Database;
  readonly source: MemorySource;
  readonly filters: readonly Filter[];
  readonly policy: Policy;
  readonly folder: string;
}

/** All that waits, by whatever rules. */
export function waitingIn(db: Database): OutboxEntry[] {
  return peekOutbox(db, -1, 10_000, 1e9, RULES);
}

/**
 * Makes the scene: most of the day is delivered, the last hour waits because the server is away, some events are dead
 * letters, one was deleted in ActivityWatch after its delivery, and the newest still grow.
 */
export async function makeScene(options: { cipher?: Cipher } = {}): Promise<Scene> {
  const folder = Deno.makeTempDirSync({ prefix: "lifelog-web-" });
  const db = openDatabase(join(folder, "cache.sqlite"));
  if (options.cipher !== undefined) db.cipher = options.cipher;
  const dayMs = new Date(NOW_MS).setHours(0, 0, 0, 0);
  const day = makeDay(dayMs + 8.6 * 3_600_000, NOW_MS - 4_000);
  const bucket = (id: string, type: BucketType): Bucket => ({
    id,
    type,
    hostname: "laptop",
    created: "2026-01-01T00:00:00Z",
  });
  const buckets = [
    bucket("aw-watcher-afk_laptop", "afkstatus"),
    bucket("aw-watcher-web-firefox_laptop", "web.tab.current"),
    bucket("aw-watcher-window_laptop", "currentwindow"),
  ];
  const events = new Map([
    [buckets[0]!.id, day.get("afk")!],
    [buckets[1]!.id, day.get("web")!],
    [buckets[2]!.id, day.get("window")!],
  ]);
  let clockMs = NOW_MS - 3_600_000;
  const source = memorySource(buckets, events, () => clockMs);
  const filters = [minDuration(5)];
  const policy = createPolicy({
    preset: "full",
    own: readRules([
      { name: "mail stays here", app: "Thunderbird", action: "drop" },
      { name: "no names of channels", app: "Slack", action: "redact" },
    ], "scene"),
    hashKey: () => new Uint8Array(32),
  });
  assert.equal(adoptRules(db, policy.fingerprint), RULES);
  setMeta(db, "collect_from_us", String(dayMs * MS_US));
  const collector = createCollector({
    db,
    source,
    filters,
    privacy: { policy, rules: RULES, related: source },
    collectFromUs: dayMs * MS_US,
    now: () => clockMs,
    trustAge: true,
  });
  for (const one of buckets) await collector.collect(one, { buckets });
  const entries = waitingIn(db);
  const bad = entries.filter((_, i) => [15, 35, 55].includes(i)).map(({ seq }) => ({
    seq,
    status: 422,
    reason: "data.title: String should have at most 512 characters",
  }));
  moveToDeadLetters(db, bad, clockMs);
  removeFromOutbox(db, waitingIn(db));
  // One that was delivered is deleted in ActivityWatch, and is found gone at the next turn.
  const windows = events.get(buckets[2]!.id)!;
  windows.splice(
    windows.findLastIndex(({ startUs, durationSeconds }) =>
      startUs < (NOW_MS - 120 * 60_000) * MS_US && durationSeconds > 60
    ),
    1,
  );
  for (; clockMs <= NOW_MS; clockMs += 600_000) {
    for (const one of buckets) await collector.collect(one, { buckets });
  }
  db.transaction(() => {
    for (const { id } of buckets) noteRead(db, id, NOW_MS - 20_000);
    noteOk(db, "collection", NOW_MS - 20_000);
    noteDelivered(db, NOW_MS - 3_600_000);
    noteFailure(
      db,
      "delivery",
      { reason: "it answered 503", status: 503 },
      NOW_MS - 3_000_000,
      NOW_MS + 90_000,
    );
  });
  const samples: Sample[] = [];
  for (let minutes = 47 * 60; minutes >= 0; minutes--) {
    const away = minutes < 60 ? 60 - minutes : minutes > 1500 && minutes < 1900 ? (1900 - minutes) : 0;
    const awake = new Date(NOW_MS - minutes * 60_000).getHours();
    samples.push({
      atMs: NOW_MS - minutes * 60_000,
      waiting: awake < 8 ? 0 : Math.round(away * 0.7),
      dead: minutes < 60 ? bad.length : 0,
      lagMs: 20_000 + (minutes * 7919) % 45_000 +
        (minutes > 900 && minutes < 960 ? (960 - minutes) * 60_000 : 0),
    });
  }
  addSamples(db, samples);
  return {
    db,
    source,
    filters,
    policy,
    folder,
    [Symbol.dispose]() {
      db[Symbol.dispose]();
      Deno.removeSync(folder, { recursive: true });
    },
  };
}

/** Serves the scene on any port that is free. */
export function serveScene(scene: Scene, options: { port?: number; now?: () => number } = {}) {
  const { port = 0, now = () => NOW_MS } = options;
  const look = createLook({
    db: scene.db,
    delivers: true,
    collectionIntervalSeconds: 60,
    sendIntervalSeconds: 300,
    now,
  });
  const metrics = createMetrics({ version: "1.2.3", look });
  return {
    web: openWeb({ ...scene, port, deviceId: "laptop", delivers: true, look, metrics, now }),
    metrics,
  };
}
