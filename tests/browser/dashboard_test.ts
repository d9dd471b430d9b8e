/// <reference lib="dom" />
import assert from "node:assert/strict";
import axeSource from "axe-core/source" with { type: "text" };
import type { Page } from "playwright-core";
import { deadLetterCount, outboxDepth, removeFromOutbox } from "../../lib/store/outbox.ts";
import { CANARY, waitingIn } from "../web/scene.ts";
import { type Dashboard, openDashboard } from "./dashboard.ts";

/** What axe finds wrong with a page. */
async function violations(page: Page): Promise<string[]> {
  await page.evaluate(axeSource);
  return await page.evaluate(async () => {
    // deno-lint-ignore no-explicit-any
    const { violations } = await (globalThis as any).axe.run({
      runOnly: ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"],
    });
    // deno-lint-ignore no-explicit-any
    return violations.map(({ id, nodes }: any) => `${id}: ${nodes.map(({ html }: any) => html).join(" ")}`);
  });
}

const textOf = async (page: Page, selector: string) => (await page.locator(selector).innerText()).trim();

async function inBrowser(act: (dashboard: Dashboard) => Promise<void>): Promise<void> {
  await using dashboard = await openDashboard();
  await act(dashboard);
  assert.deepEqual(dashboard.faults, []);
}

/** What a browser says of a refusal that a test provokes is no fault of the page. */
function expectFaults({ faults }: Dashboard, pattern: RegExp): void {
  assert.ok(faults.length > 0);
  for (const fault of faults.splice(0)) assert.match(fault, pattern);
}

Deno.test("the address with the token logs in, and the token is nowhere in the page afterwards", () =>
  inBrowser(async (dashboard) => {
    const page = await dashboard.logIn();
    assert.equal(page.url(), `${dashboard.origin}/`);
    assert.ok(!(await page.content()).includes(dashboard.token));
    assert.equal(await page.evaluate(() => document.cookie), "");
    assert.equal(await page.evaluate(() => localStorage.length + sessionStorage.length), 0);
    assert.match(
      await textOf(page, "#verdict"),
      /^! The LifeLog server does not take events: it answered 503/,
    );
    const waiting = outboxDepth(dashboard.scene.db);
    assert.match(
      await textOf(page, "#figures"),
      new RegExp(`Waiting\\s+${waiting}\\s+the oldest for 50 min`),
    );
    assert.match(await textOf(page, "#privacy"), /mail stays here"\s+9\s+0/);
    assert.match(await textOf(page, "#buckets"), /aw-watcher-window_laptop/);
    await page.reload();
    await page.locator("#board").waitFor();
    assert.ok(await page.locator("#login").isHidden());
  }));

Deno.test("without the token there is a form for it, and nothing else", () =>
  inBrowser(async (dashboard) => {
    const page = await dashboard.open("/");
    await page.locator("#login").waitFor();
    assert.ok(await page.locator("#board").isHidden());
    assert.equal(await page.evaluate(() => document.activeElement?.id), "token");
    assert.deepEqual(await violations(page), []);
    await page.keyboard.type(dashboard.token);
    await page.keyboard.press("Enter");
    await page.locator(".lane canvas").nth(2).waitFor();
    expectFaults(dashboard, /401/);
  }));

Deno.test("axe finds nothing wrong, in light and dark, wide and narrow, with tables opened and logged out", () =>
  inBrowser(async (dashboard) => {
    for (const colorScheme of ["light", "dark"] as const) {
      for (const width of [1100, 390]) {
        const page = await dashboard.logIn({ colorScheme, viewport: { width, height: 900 } });
        for (const summary of await page.locator("summary").all()) await summary.click();
        assert.deepEqual(await violations(page), [], `${colorScheme} ${width}`);
        const overflow = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
        assert.ok(overflow <= 0, `${overflow} px too wide at ${width}`);
        await page.locator("#logout").click();
        await page.locator("#login").waitFor();
        assert.deepEqual(await violations(page), [], `login ${colorScheme} ${width}`);
        await page.context().close();
      }
    }
  }));

Deno.test("everything is reached by the keyboard, and arrow keys go through the events of a day", () =>
  inBrowser(async (dashboard) => {
    const page = await dashboard.logIn();
    await page.reload();
    await page.locator(".lane canvas").nth(2).waitFor();
    await page.keyboard.press("Tab");
    assert.equal(await page.evaluate(() => document.activeElement?.className), "skip");
    await page.keyboard.press("Enter");
    assert.equal(await page.evaluate(() => document.activeElement?.id), "content");
    const reached = new Set<string>();
    for (let i = 0; i < 30; i++) {
      await page.keyboard.press("Tab");
      reached.add(
        await page.evaluate(() => {
          const at = document.activeElement;
          return at?.id || at?.getAttribute("role") || at?.getAttribute("data-seq") || at?.tagName || "";
        }),
      );
    }
    for (const id of ["day-before", "slider", "SUMMARY", "retry-all", "logout"]) {
      assert.ok(reached.has(id), id);
    }
    const lane = page.locator(".lane canvas").first();
    await lane.focus();
    await page.keyboard.press("Home");
    const first = await lane.getAttribute("aria-valuetext");
    assert.match(first!, /^08:36:00, .+ \((delivered|kept here by your rules)\)$/);
    await page.keyboard.press("ArrowRight");
    assert.notEqual(await lane.getAttribute("aria-valuetext"), first);
    assert.equal(await lane.getAttribute("aria-valuenow"), "1");
    await page.keyboard.press("End");
    assert.match((await lane.getAttribute("aria-valuetext"))!, /^15:3/);
    assert.ok((await page.locator(".lane output").first().innerText()).includes(CANARY));
    const outline = await lane.evaluate((element) => getComputedStyle(element).outlineWidth);
    assert.equal(outline, "3px");
  }));

Deno.test("a title that is markup is shown as the text that it is", () =>
  inBrowser(async (dashboard) => {
    const { events } = dashboard.scene.source;
    const markup = '<img src="/x" onerror="document.title=1"><b>bold</b>';
    for (const list of events.values()) {
      const { startUs, durationSeconds } = list.at(-1)!;
      list.push({ startUs: startUs + 1, durationSeconds, data: { app: markup, title: markup, url: markup } });
    }
    const page = await dashboard.logIn();
    await page.locator(".lane canvas").first().focus();
    await page.keyboard.press("End");
    await page.locator("summary").first().click();
    assert.ok((await textOf(page, ".lane >> nth=0")).includes(markup));
    assert.equal(await page.locator("main img, main b").count(), 0);
    assert.match(await page.title(), /LifeLog agent/);
  }));

Deno.test("what changes is shown without a reload", () =>
  inBrowser(async (dashboard) => {
    const page = await dashboard.logIn();
    const before = await page.evaluate(() => performance.timeOrigin);
    removeFromOutbox(dashboard.scene.db, waitingIn(dashboard.scene.db));
    dashboard.nowMs += 60_000;
    await page.locator("#figures", { hasText: /Waiting\s*0/ }).waitFor({ timeout: 20_000 });
    assert.equal(await page.evaluate(() => performance.timeOrigin), before);
  }));

Deno.test("the day before is shown on demand, and today again", () =>
  inBrowser(async (dashboard) => {
    const page = await dashboard.logIn();
    const today = await textOf(page, "#day");
    await page.locator("#day-before").click();
    await page.locator("#day", { hasText: "Tuesday 10 March" }).waitFor();
    await page.locator(".lane h3", { hasText: "0 events" }).first().waitFor();
    for (let i = 0; i < 5; i++) await page.locator("#day-before").click();
    assert.ok(await page.locator("#day-before").isDisabled());
    for (let i = 0; i < 6; i++) await page.locator("#day-after").click();
    assert.equal(await textOf(page, "#day"), today);
    assert.ok(await page.locator("#day-after").isDisabled());
  }));

Deno.test("a dead letter is put back in the queue by its button, and all of them by theirs", () =>
  inBrowser(async (dashboard) => {
    const { db } = dashboard.scene;
    const waiting = outboxDepth(db);
    const page = await dashboard.logIn();
    assert.equal(await page.locator("#dead tbody tr").count(), 3);
    assert.match(await textOf(page, "#dead"), /422\s+data\.title: String should have at most 512 characters/);
    await page.locator("#dead button").first().click();
    await page.locator("#dead-text", { hasText: "1 put back" }).waitFor();
    assert.deepEqual([deadLetterCount(db), outboxDepth(db)], [2, waiting + 1]);
    await page.locator("#retry-all").click();
    await page.locator("#dead-text", { hasText: "None" }).waitFor();
    assert.deepEqual([deadLetterCount(db), outboxDepth(db)], [0, waiting + 3]);
  }));

Deno.test("who logs out takes all that was recorded off the page, and a wrong token brings nothing back", () =>
  inBrowser(async (dashboard) => {
    const page = await dashboard.logIn();
    await page.locator("#logout").click();
    await page.locator("#login").waitFor();
    const content = await page.content();
    for (const word of [CANARY, "Thunderbird", "aw-watcher", "laptop"]) {
      assert.ok(!content.includes(word), word);
    }
    await page.locator("#token").fill("x".repeat(43));
    await page.keyboard.press("Enter");
    await page.locator("#login-fault", { hasText: "This is not the token" }).waitFor();
    assert.equal((await page.context().cookies()).length, 0);
    await page.locator("#token").fill(dashboard.token);
    await page.keyboard.press("Enter");
    await page.locator(".lane canvas").first().waitFor();
    expectFaults(dashboard, /401/);
  }));

Deno.test("a page of another port of this device gets nothing and changes nothing", () =>
  inBrowser(async (dashboard) => {
    const page = await dashboard.logIn();
    const { db } = dashboard.scene;
    await using other = Deno.serve({ hostname: "127.0.0.1", port: 0, onListen() {} }, (request) => {
      assert.equal(request.headers.get("cookie"), null);
      return new Response("<!DOCTYPE html><title>other</title>", {
        headers: { "content-type": "text/html" },
      });
    });
    const evil = await page.context().newPage();
    await evil.goto(`http://127.0.0.1:${other.addr.port}/`);
    const got = await evil.evaluate(async (origin) => {
      const tries: [string, RequestInit][] = [
        ["/board/state", {}],
        ["/board/state", { mode: "no-cors" }],
        ["/board/dead-letters/retry", { method: "POST", body: '{"seqs":"all"}', mode: "no-cors" }],
        ["/board/dead-letters/retry", {
          method: "POST",
          body: '{"seqs":"all"}',
          headers: { "content-type": "application/json" },
        }],
      ];
      const texts: string[] = [];
      for (const [path, init] of tries) {
        try {
          const response = await fetch(`${origin}${path}`, { credentials: "include", ...init });
          texts.push(await response.text());
        } catch {
          texts.push("");
        }
      }
      return texts;
    }, dashboard.origin);
    assert.deepEqual(got, ["", "", "", ""]);
    assert.equal(deadLetterCount(db), 3);
  }));

Deno.test("a page that the agent no longer answers says so, and recovers by itself", () =>
  inBrowser(async (dashboard) => {
    const page = await dashboard.logIn();
    await page.route("**/board/**", (route) => route.abort());
    await page.locator("#verdict", { hasText: "The agent does not answer" }).waitFor({ timeout: 30_000 });
    await page.unroute("**/board/**");
    await page.locator("#verdict", { hasText: "it answered 503" }).waitFor({ timeout: 30_000 });
    expectFaults(dashboard, /ERR_FAILED/);
  }));

Deno.test("with reduced motion nothing moves", () =>
  inBrowser(async (dashboard) => {
    const page = await dashboard.logIn({ reducedMotion: "reduce" });
    const moving = await page.evaluate(() =>
      [...document.querySelectorAll("*")].filter((element) => {
        const { transitionDuration, animationName } = getComputedStyle(element);
        return transitionDuration !== "0s" || animationName !== "none";
      }).length
    );
    assert.equal(moving, 0);
  }));
