/** The dashboard's day against a real aw-server: what it says of each event is what the LifeLog server has. */

import assert from "node:assert/strict";
import { hostname } from "node:os";
import { join } from "node:path";
import type { Timeline } from "../../lib/web/timeline.ts";
import { localDay } from "../../lib/web/timeline.ts";
import { Scene } from "./scene.ts";

const MINUTE_MS = 60_000;
const BUCKETS = {
  window: `aw-watcher-window_${hostname()}`,
  afk: `aw-watcher-afk_${hostname()}`,
  web: `aw-watcher-web-firefox_${hostname()}`,
};
const TYPES = { window: "currentwindow", afk: "afkstatus", web: "web.tab.current" } as const;

function freePort(): number {
  using listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  return (listener.addr as Deno.NetAddr).port;
}

Deno.test("the dashboard's day has every event of ActivityWatch, and says of each what the server has of it", async () => {
  await using scene = await Scene.open("dashboard");
  const watchers = scene.watchers();
  for (const name of ["window", "afk", "web"] as const) {
    await watchers.do({
      op: "bucket",
      bucket: BUCKETS[name],
      type: TYPES[name],
      client: `aw-watcher-${name}`,
    });
  }
  const beginMs = Date.now() - 180 * MINUTE_MS;
  const start = new Date(beginMs).toISOString();
  await watchers.do({ op: "simulate", buckets: BUCKETS, start, hours: 1, seed: 5 });
  await watchers.do({ op: "flush" });
  const port = freePort();
  const line = await scene.line({ HEALTH_PORT: String(port) });
  assert.equal((await line.agent.once()).code, 0);
  await using running = line.agent.daemon();
  const origin = `http://127.0.0.1:${port}`;
  while (!await fetch(`${origin}/healthz`).then((r) => r.body?.cancel().then(() => true), () => false)) {
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  const token = (await Deno.readTextFile(join(line.agent.home, "dashboard-token"))).trim();
  const days = new Set([localDay(beginMs), localDay(Date.now())]);
  let delivered = 0;
  const seen = new Map<string, number>();
  for (const day of days) {
    const response = await fetch(`${origin}/board/timeline?day=${day}`, {
      headers: { authorization: `Bearer ${token}` },
    });
    const { buckets }: Timeline = await response.json();
    for (const { id, type, events, gone, cut, fault } of buckets) {
      assert.deepEqual([gone, cut, fault], [[], false, undefined]);
      seen.set(id, (seen.get(id) ?? 0) + events.length);
      for (const { standing, durationSeconds, title } of events) {
        const short = type !== "afkstatus" && durationSeconds < 5;
        assert.equal(standing, short ? "kept" : "delivered");
        if (standing === "delivered") delivered++;
        if (type === "currentwindow") assert.ok(title !== "");
      }
    }
  }
  for (const { id, events } of await scene.aw.export()) assert.equal(seen.get(id), events.length, id);
  assert.equal(delivered, line.receiver.events.length);
  assert.ok(delivered > 50);
  assert.equal((await running.stop()).code, 0);
  await scene.assertLogsKeepSecrets();
});
