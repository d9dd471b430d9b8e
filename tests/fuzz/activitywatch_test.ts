import assert from "node:assert/strict";
import fc from "fast-check";
import { createCollector } from "../../lib/collector.ts";
import { SourceError } from "../../lib/errors.ts";
import { activityWatchSource } from "../../lib/sources/activitywatch.ts";
import { openDatabase } from "../../lib/store/database.ts";
import { anyText, CANARY, mutated } from "./hostile.ts";

const NOW_MS = Date.UTC(2026, 0, 2);
const HOUR_US = 3_600_000_000;
const event = (id: number, minute: number, duration: number) => ({
  id,
  timestamp: new Date(NOW_MS - 3_600_000 + minute * 60_000).toISOString(),
  duration,
  data: { app: "App", title: CANARY },
});
const GOOD: Record<string, unknown> = {
  info: { hostname: "h", version: "v0.13.2", testing: false, device_id: "d" },
  buckets: {
    w: { id: "w", type: "currentwindow", hostname: "h", created: "2026-01-01T00:00:00Z", data: {} },
  },
  events: [event(2, 10, 60), event(1, 5, 30)],
  event: event(1, 5, 30),
};
const kindOf = (url: URL) =>
  /\/info$/.test(url.pathname)
    ? "info"
    : /\/buckets\/$/.test(url.pathname)
    ? "buckets"
    : /\/events$/.test(url.pathname)
    ? "events"
    : "event";

/** What ActivityWatch answers to each kind of question: now and then as it should, else as it should not. */
const answers = fc.record(
  Object.fromEntries(
    Object.entries(GOOD).map(([kind, good]) => {
      const text = fc.oneof(
        { weight: 3, arbitrary: mutated(good).map((value) => JSON.stringify(value) ?? "") },
        { weight: 12, arbitrary: fc.constant(JSON.stringify(good)) },
        { weight: 1, arbitrary: anyText },
      );
      return [kind, fc.tuple(fc.constantFrom(...Array<number>(30).fill(200), 301, 404, 500), text)];
    }),
  ),
);

Deno.test("whatever ActivityWatch answers, a pass ends with events taken or with a SourceError, and quotes nothing", async () => {
  let taken = 0;
  let refused = 0;
  await fc.assert(
    fc.asyncProperty(answers, async (answer) => {
      let requests = 0;
      const source = activityWatchSource({
        fetch: (input) => {
          if (++requests > 300) throw new RangeError("It asks without an end");
          const [status, text] = answer[kindOf(new URL(String(input)))]!;
          return Promise.resolve(new Response(text, { status }));
        },
        sleep: () => Promise.resolve(),
        monotonicMs: () => 0,
      });
      using db = openDatabase(":memory:");
      const collector = createCollector({
        db,
        source,
        filters: [],
        collectFromUs: NOW_MS * 1000 - 2 * HOUR_US,
        trustAge: true,
        now: () => NOW_MS,
        monotonicMs: () => 0,
      });
      try {
        for (const bucket of await source.buckets()) taken += (await collector.collect(bucket)).cached;
      } catch (error) {
        assert.ok(error instanceof SourceError, `${error}`);
        assert.ok(!error.message.includes(CANARY), error.message);
        refused++;
      }
      assert.ok(requests <= 300);
    }),
    { numRuns: 400 },
  );
  // Otherwise this would have seen only one side.
  assert.ok(taken > 20 && refused > 20, `${taken} taken, ${refused} refused`);
});
