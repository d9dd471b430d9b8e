import assert from "node:assert/strict";
import { type ActivityWatchOptions, activityWatchSource } from "../../lib/sources/activitywatch.ts";
import { DAY_US, HOUR_US, MS_US } from "../../lib/time.ts";

interface Asked {
  readonly path: string;
  readonly startMs: number;
  readonly endMs: number;
}

/** A source on an ActivityWatch with three web buckets, whose answers are cut as both servers cut them. */
function sourceOf(options: ActivityWatchOptions = {}) {
  const asked: Asked[] = [];
  const events = [
    { startMs: 0, endMs: 50 * 3_600_000, data: { title: "long" } },
    { startMs: 30 * 3_600_000, endMs: 30 * 3_600_000 + 1000, data: { title: "short" } },
  ];
  const bucket = (hostname: string) => ({ type: "web.tab.current", hostname, created: "c" });
  const source = activityWatchSource({
    ...options,
    sleep: () => Promise.resolve(),
    fetch: (input) => {
      const url = new URL(String(input));
      if (url.pathname.endsWith("/info")) {
        return Promise.resolve(Response.json({ hostname: "h", version: "v0" }));
      }
      if (url.pathname.endsWith("/buckets/")) {
        return Promise.resolve(Response.json({
          "aw-watcher-web-firefox_h": bucket("h"),
          "aw-watcher-web-chrome": bucket("unknown"),
          "aw-watcher-web-firefox_other": bucket("other"),
        }));
      }
      const [startMs, endMs] = ["start", "end"].map((name) => Date.parse(url.searchParams.get(name)!));
      asked.push({ path: url.pathname, startMs: startMs!, endMs: endMs! });
      const rows = events.filter((event) => event.startMs <= endMs! && event.endMs >= startMs!).map((
        event,
        id,
      ) => ({
        id,
        timestamp: new Date(Math.max(event.startMs, startMs!)).toISOString(),
        duration: (Math.min(event.endMs, endMs!) - Math.max(event.startMs, startMs!)) / 1000,
        data: event.data,
      }));
      return Promise.resolve(Response.json(rows));
    },
  });
  return { source, asked };
}

Deno.test("during() reads days in small steps, and what began long before is there", async () => {
  const { source, asked } = sourceOf();
  const [bucket] = await source.buckets();
  const events = await source.during(bucket!, 29 * HOUR_US, 29 * HOUR_US + 2.5 * DAY_US);
  assert.deepEqual(
    new Set(events.map(({ data }) => (data as { title: string }).title)),
    new Set(["long", "short"]),
  );
  assert.ok(events.some(({ startUs }) => startUs === 29 * HOUR_US));
  assert.equal(asked.length, 3);
  for (const { startMs, endMs } of asked) assert.ok(endMs - startMs <= DAY_US / MS_US + 2);
  assert.equal(asked[0]!.startMs, 29 * 3_600_000);
  assert.ok(asked.at(-1)!.endMs >= 29 * 3_600_000 + 2.5 * 86_400_000);
});

Deno.test("beside() knows the device's buckets that are not collected, and no other device's", async () => {
  const { source } = sourceOf({ bucketIds: { web: "aw-watcher-web-firefox_{hostname}" } });
  assert.deepEqual((await source.buckets()).map(({ id }) => id), ["aw-watcher-web-firefox_h"]);
  assert.deepEqual(source.beside?.().map(({ id }) => id), [
    "aw-watcher-web-firefox_h",
    "aw-watcher-web-chrome",
  ]);
});
