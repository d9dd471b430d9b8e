/** The dashboard of the scene, in a real browser. */

import { type Browser, type BrowserContextOptions, chromium, type Page } from "playwright-core";
import type { Web } from "../../lib/web/open.ts";
import { readOrCreateWebToken, webTokenFile } from "../../lib/web/token.ts";
import { makeScene, NOW_MS, type Scene, serveScene } from "../web/scene.ts";

/** What a browser shows, and what goes wrong in it. */
export interface Dashboard extends AsyncDisposable {
  readonly scene: Scene;
  readonly web: Web;
  readonly token: string;
  readonly origin: string;
  readonly browser: Browser;
  /** The agent's clock, in milliseconds since 1970. */
  nowMs: number;
  /** Errors of the page's scripts and its console, and requests to anywhere but the agent. */
  readonly faults: string[];
  /** Opens an address of the agent in a window of its own. */
  open(path: string, options?: BrowserContextOptions): Promise<Page>;
  /** Opens the dashboard and waits until all of it is there. */
  logIn(options?: BrowserContextOptions): Promise<Page>;
}

export async function openDashboard(): Promise<Dashboard> {
  const scene = await makeScene();
  let nowMs = NOW_MS;
  const { web } = serveScene(scene, { now: () => nowMs });
  const origin = `http://127.0.0.1:${web.port}`;
  const token = readOrCreateWebToken(webTokenFile(scene.db.path));
  const browser = await chromium.launch({
    executablePath: Deno.env.get("CHROMIUM") ?? "/usr/bin/chromium",
    // Chromium's own sandbox refuses to run as root, as which containers of tests do.
    args: ["--no-sandbox"],
  });
  const faults: string[] = [];

  async function open(path: string, options: BrowserContextOptions = {}): Promise<Page> {
    const context = await browser.newContext({
      locale: "en-GB",
      viewport: { width: 1100, height: 900 },
      ...options,
    });
    const page = await context.newPage();
    page.on("pageerror", (error) => faults.push(`error: ${error.message}`));
    page.on("console", (message) => {
      if (message.type() === "error" || message.type() === "warning") faults.push(message.text());
    });
    page.on("request", (request) => {
      if (!request.url().startsWith(`${origin}/`)) faults.push(`request to ${request.url()}`);
    });
    await page.goto(`${origin}${path}`);
    return page;
  }

  return {
    scene,
    web,
    token,
    origin,
    browser,
    faults,
    open,
    get nowMs() {
      return nowMs;
    },
    set nowMs(ms) {
      nowMs = ms;
    },
    async logIn(options = {}) {
      const page = await open(`/#token=${token}`, options);
      await page.locator(".lane canvas").nth(2).waitFor();
      await page.locator("#lag .u-wrap").waitFor();
      return page;
    },
    async [Symbol.asyncDispose]() {
      await browser.close();
      await web[Symbol.asyncDispose]();
      scene[Symbol.dispose]();
    },
  };
}
