/** The privacy rules against a real aw-server: what stands beside a page is read as the server gives it, cut at edges. */

import assert from "node:assert/strict";
import { hostname } from "node:os";
import { CANARY, type Line, Scene } from "./scene.ts";

const WINDOW = `aw-watcher-window_${hostname()}`;
const WEB = `aw-watcher-web-firefox_${hostname()}`;
const MINUTE_MS = 60_000;

/** Windows and pages of some hours: every third page is private, every fifth is the bank's. */
async function browse(scene: Scene, beginMs: number): Promise<void> {
  const watchers = scene.watchers();
  await watchers.do({ op: "bucket", bucket: WINDOW, type: "currentwindow", client: "aw-watcher-window" });
  await watchers.do({ op: "bucket", bucket: WEB, type: "web.tab.current", client: "aw-watcher-web" });
  const pages = [];
  const windows = [];
  for (let n = 0; n < 90; n++) {
    const [isPrivate, isBank] = [n % 3 === 0, n % 5 === 0];
    const at = beginMs + n * 2 * MINUTE_MS;
    // What must not leave carries the canary; the long ones reach over the edges of windows of time.
    const hidden = isPrivate || isBank;
    const title = `page ${n}${hidden ? ` ${CANARY}` : ""}`;
    const host = isBank ? "www.bank.example" : "site.example";
    pages.push({
      timestamp: new Date(at).toISOString(),
      duration: 100,
      data: {
        title,
        url: `https://${host}/${n}?q=${CANARY}#${CANARY}`,
        audible: false,
        incognito: isPrivate,
      },
    });
    windows.push({
      timestamp: new Date(at + 700).toISOString(),
      duration: 99.9,
      data: { app: "firefox", title: `${title} — Mozilla Firefox` },
    }, {
      timestamp: new Date(at + 101_000).toISOString(),
      duration: 10,
      data: { app: "Code", title: `code ${n}` },
    });
  }
  await watchers.do({ op: "insert", bucket: WEB, events: pages });
  await watchers.do({ op: "insert", bucket: WINDOW, events: windows });
}

function left(line: Line): { pages: number; browser: number; code: number } {
  const count = (fits: (data: Record<string, unknown>) => boolean) =>
    line.receiver.events.filter(({ data }) => fits(data as Record<string, unknown>)).length;
  return {
    pages: count(({ app }) => app === null),
    browser: count(({ app }) => app === "firefox"),
    code: count(({ app }) => app === "Code"),
  };
}

Deno.test("private pages, a domain and queries leave neither as pages nor in the titles of windows", async () => {
  await using scene = await Scene.open("privacy");
  await browse(scene, Math.floor(Date.now() / MINUTE_MS) * MINUTE_MS - 5 * 60 * MINUTE_MS);
  const rules = `${scene.folder}/rules.toml`;
  await Deno.writeTextFile(rules, '[[privacy.rules]]\ndomain = "bank.example"\naction = "drop"\n');
  const line = await scene.line({ PRIVACY_PRESET: "standard", PRIVACY_RULES_FILE: rules });
  const { code, stderr } = await line.agent.once();
  assert.equal(code, 0, stderr);
  // Of 90 pages 30 are private and 18 the bank's, 6 of them both.
  assert.deepEqual(left(line), { pages: 48, browser: 48, code: 90 });
  assert.ok(!JSON.stringify(line.receiver.events).includes(CANARY));
  const again = await line.agent.once();
  assert.equal(again.code, 0);
  assert.deepEqual([left(line).browser, line.receiver.resent], [48, 0]);
  await scene.assertLogsKeepSecrets();
});

Deno.test("what waits is judged again by changed rules before it leaves, with what ActivityWatch has of it", async () => {
  await using scene = await Scene.open("privacy");
  await browse(scene, Math.floor(Date.now() / MINUTE_MS) * MINUTE_MS - 5 * 60 * MINUTE_MS);
  const line = await scene.line();
  await line.agent.once([], { CENTRAL_SERVER_ENDPOINT: "", PRIVACY_PRESET: "full" });
  assert.equal(line.receiver.events.length, 0);
  const { code, stderr } = await line.agent.once([], { PRIVACY_PRESET: "standard" });
  assert.equal(code, 0, stderr);
  assert.match(stderr, /judged again: \d+ events as before, \d+ changed, 60 dropped/);
  assert.deepEqual(left(line), { pages: 60, browser: 60, code: 90 });
  assert.ok(!JSON.stringify(line.receiver.events).includes("?q="));
});
