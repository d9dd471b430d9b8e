import assert from "node:assert/strict";
import { SourceError } from "../../lib/errors.ts";
import { createCipher } from "../../lib/store/cipher.ts";
import { outboxDepth, removeFromOutbox } from "../../lib/store/outbox.ts";
import { createTimeline, localDay, type Timeline } from "../../lib/web/timeline.ts";
import { makeScene, NOW_MS, type Scene, waitingIn } from "./scene.ts";

const signal = new AbortController().signal;
const WINDOW = "aw-watcher-window_laptop";

function timelineOf(scene: Scene, now: () => number = () => NOW_MS) {
  const { look } = createTimeline({ ...scene, now });
  return async (day: string | undefined, signal: AbortSignal) => {
    const timeline = await look(day, signal);
    assert.ok(timeline);
    return timeline;
  };
}

function bucketOf(timeline: Timeline, id: string) {
  const bucket = timeline.buckets.find((bucket) => bucket.id === id);
  assert.ok(bucket);
  return bucket;
}

Deno.test("the timeline tells of each event of the day how it stands at the server", async () => {
  using scene = await makeScene();
  const timeline = await timelineOf(scene)(undefined, signal);
  assert.equal(timeline.day, "2026-03-11");
  let delivered = 0;
  for (const { id, events, gone, counts } of timeline.buckets) {
    assert.equal(events.length, scene.source.events.get(id)!.length);
    for (const { standing, durationSeconds, label, reduced } of events) {
      if (standing === "kept") assert.ok(durationSeconds < 5 || label === "Thunderbird");
      assert.equal(reduced, standing !== "kept" && label === "Slack");
    }
    const sum = Object.values(counts).reduce((a, b) => a + b, 0);
    assert.equal(sum, events.length + gone.length);
    delivered += counts.delivered ?? 0;
  }
  const all = (standing: string) =>
    timeline.buckets.reduce((sum, { counts }) => sum + (counts[standing as "waiting"] ?? 0), 0);
  assert.equal(all("waiting"), outboxDepth(scene.db));
  assert.equal(all("dead"), 3);
  assert.equal(all("gone"), 1);
  assert.equal(all("late"), 0);
  assert.ok(delivered > 50 && all("kept") > 5 && all("open") >= 1);
  const effect = (name: string) => timeline.rules.find((rule) => rule.name.includes(name))!;
  assert.deepEqual(timeline.rules.length, 3);
  const kept = effect("short events").kept + effect("mail stays here").kept;
  assert.equal(kept, all("kept"));
  assert.ok(effect("mail stays here").kept > 0 && effect("no names of channels").reduced > 0);
});

Deno.test("what waits is delivered in the next look after the outbox was sent", async () => {
  using scene = await makeScene();
  let nowMs = NOW_MS;
  const look = timelineOf(scene, () => nowMs);
  const before = bucketOf(await look(undefined, signal), WINDOW).counts;
  removeFromOutbox(scene.db, waitingIn(scene.db));
  assert.deepEqual(bucketOf(await look(undefined, signal), WINDOW).counts, before);
  nowMs += 16_000;
  const after = bucketOf(await look(undefined, signal), WINDOW).counts;
  assert.equal(after.waiting, undefined);
  assert.equal(after.delivered, before.delivered! + before.waiting!);
});

Deno.test("an event that is put or changed behind what was read shows as late, not as delivered", async () => {
  using scene = await makeScene();
  const events = scene.source.events.get(WINDOW)!;
  const at = 20;
  events[at] = { ...events[at]!, durationSeconds: events[at]!.durationSeconds + 0.001 };
  const { counts } = bucketOf(await timelineOf(scene)(undefined, signal), WINDOW);
  assert.equal(counts.late, 1);
  assert.equal(counts.gone, 2);
});

Deno.test("many pages that look at once read ActivityWatch once, and later only the day's end", async () => {
  using scene = await makeScene();
  let nowMs = NOW_MS;
  const asked: number[] = [];
  const { source } = scene;
  const { look, tidy } = createTimeline({
    ...scene,
    source: {
      ...source,
      pages(bucket, fromUs, toUs, options) {
        asked.push((toUs - fromUs) / 60e6);
        return source.pages(bucket, fromUs, toUs, options);
      },
    },
    now: () => nowMs,
  });
  await Promise.all(Array.from({ length: 10 }, () => look(undefined, signal)));
  assert.equal(asked.length, 3);
  assert.ok(asked.every((minutes) => minutes > 900));
  nowMs += 30_000;
  const events = source.events.get(WINDOW)!.length;
  const timeline = await look(undefined, signal);
  assert.equal(bucketOf(timeline!, WINDOW).events.length, events);
  assert.equal(asked.length, 6);
  // The afk watcher's newest event began hours ago; the others are read from 15 minutes before their newest on.
  assert.ok(asked.slice(3).filter((minutes) => minutes < 30).length === 2);

  // Who comes back after a while finds that nothing was kept for him.
  nowMs += 4 * 60_000;
  tidy();
  await look(undefined, signal);
  assert.equal(asked.filter((minutes) => minutes > 900).length, 3);
  nowMs += 6 * 60_000;
  tidy();
  await look(undefined, signal);
  assert.equal(asked.filter((minutes) => minutes > 900).length, 6);
});

Deno.test("while ActivityWatch is away the timeline says so and still shows what was delivered", async () => {
  using scene = await makeScene();
  scene.source.fails = new SourceError("Cannot read ActivityWatch at http://127.0.0.1:5600: no connection");
  const timeline = await timelineOf(scene)(undefined, signal);
  for (const { fault, events, gone } of timeline.buckets) {
    assert.match(fault!, /no connection/);
    assert.deepEqual([events, gone], [[], []]);
  }
  assert.equal(timeline.buckets.length, 3);
});

Deno.test("another day is asked for by its name, and one without events is empty", async () => {
  using scene = await makeScene();
  const timeline = await timelineOf(scene)("2026-03-09", signal);
  assert.equal(timeline.toMs - timeline.fromMs, new Date(2026, 2, 10).getTime() - timeline.fromMs);
  for (const { events, counts } of timeline.buckets) assert.deepEqual([events, counts], [[], {}]);
  assert.equal(localDay(timeline.fromMs), "2026-03-09");
});

Deno.test("an asker that has left does not keep the next from an answer", async () => {
  using scene = await makeScene();
  const look = timelineOf(scene);
  const left = AbortSignal.abort(new Error("left"));
  const [first, second] = await Promise.allSettled([look(undefined, left), look(undefined, signal)]);
  assert.equal(first.status, "rejected");
  assert.equal(second.status, "fulfilled");
});

Deno.test("days that the ledger may have forgotten, and those to come, are not shown", async () => {
  using scene = await makeScene();
  const { look } = createTimeline({ ...scene, now: () => NOW_MS });
  scene.source.reads = 0;
  for (const day of ["2026-03-04", "2025-03-11", "2026-03-12"]) {
    assert.equal(await look(day, signal), undefined, day);
  }
  assert.equal((await look("2026-03-05", signal))?.day, "2026-03-05");
  assert.equal(scene.source.reads, (await look("2026-03-05", signal))!.buckets.length);
});

Deno.test("an encrypted cache tells the same of a day", async () => {
  using plain = await makeScene();
  using sealed = await makeScene({ cipher: createCipher({ version: 1, bytes: new Uint8Array(32).fill(7) }) });
  const [one, other] = await Promise.all(
    [plain, sealed].map((scene) => timelineOf(scene)(undefined, signal)),
  );
  assert.deepEqual(other, one);
});
