/**
 * Writes what the program prints into the README, between the marks of each capture. The real program runs in a folder
 * of its own between stand-ins for the two servers; what is different at each run (addresses, times, the process'
 * number) is put in a fixed form.
 *
 * Run with `deno task captures`.
 */

import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { FakeActivityWatch } from "./fakes/activitywatch.ts";
import { FakeLifelogServer } from "./fakes/lifelog_server.ts";

const ROOT = new URL("../", import.meta.url);
const TOKEN = "capture-token";
const HOUR_MS = 3_600_000;

/** Runs the program to its end and gives what it printed, on both streams. */
async function run(args: string[], env: Record<string, string>): Promise<string> {
  const { stdout, stderr } = await command(args, env).output();
  const decoder = new TextDecoder();
  return decoder.decode(stderr) + decoder.decode(stdout);
}

function command(args: string[], env: Record<string, string>): Deno.Command {
  return new Deno.Command(Deno.execPath(), {
    args: ["run", "--no-prompt", "-A", fileURLToPath(new URL("main.ts", ROOT)), ...args],
    cwd: fileURLToPath(ROOT),
    env: { NO_COLOR: "1", ...env },
    stdin: "null",
    stdout: "piped",
    stderr: "piped",
  });
}

/** An hour of work in all three buckets, up to now. */
function makeActivity(nowMs: number): FakeActivityWatch {
  const activityWatch = new FakeActivityWatch();
  const buckets = [
    ["aw-watcher-window_laptop", "currentwindow", 40, { app: "Code", title: "main.ts" }],
    ["aw-watcher-afk_laptop", "afkstatus", 900, { status: "not-afk" }],
    ["aw-watcher-web-firefox_laptop", "web.tab.current", 90, {
      url: "https://example.org/",
      title: "A page",
    }],
  ] as const;
  for (const [id, type, seconds, data] of buckets) {
    activityWatch.addBucket(id, type, nowMs - 30 * 24 * HOUR_MS);
    for (let ms = nowMs - 6 * HOUR_MS; ms < nowMs - 1000; ms += seconds * 1000) {
      const durationSeconds = Math.min(seconds, (nowMs - 1000 - ms) / 1000);
      activityWatch.insert(id, [{ startNs: BigInt(Math.round(ms)) * 1_000_000n, durationSeconds, data }]);
    }
  }
  return activityWatch;
}

/** Waits until `status` says what it shall, and gives what it printed then. */
async function statusOnce(env: Record<string, string>, expected: RegExp): Promise<string> {
  let text = "";
  for (let tries = 0; tries < 60; tries++) {
    text = await run(["status"], env);
    if (expected.test(text)) return text;
    await new Promise((resolve) => setTimeout(resolve, 200));
  }
  throw new Error(`status never said ${expected}:\n${text}`);
}

/** Does something while an agent runs. */
async function beside<T>(env: Record<string, string>, work: () => Promise<T>): Promise<T> {
  const agent = command([], env).spawn();
  try {
    return await work();
  } finally {
    agent.kill("SIGTERM");
    await agent.output();
  }
}

/** Makes every capture, by the name of its mark. */
async function capture(): Promise<Map<string, string>> {
  const home = await Deno.makeTempDir({ prefix: "lifelog-captures-" });
  const activityWatch = makeActivity(Date.now());
  const lifelog = new FakeLifelogServer(TOKEN);
  await using awServer = Deno.serve(
    { hostname: "127.0.0.1", port: 0, onListen() {} },
    (request) => activityWatch.answer(request),
  );
  await using server = Deno.serve(
    { hostname: "127.0.0.1", port: 0, onListen() {} },
    (request) => lifelog.answer(request),
  );
  const awUrl = `http://127.0.0.1:${awServer.addr.port}`;
  const origin = `http://127.0.0.1:${server.addr.port}`;
  const env = {
    HOME: home,
    DENO_DIR: Deno.env.get("DENO_DIR") ?? `${Deno.env.get("HOME")}/.cache/deno`,
    AW_URL: awUrl,
    CENTRAL_SERVER_ENDPOINT: `${origin}/api/v1/ingest`,
    SERVER_AUTH_TOKEN: TOKEN,
    MAX_SEND_RETRIES: "0",
    BATCH_SEND_INTERVAL_SECONDS: "1",
    COLLECTION_INTERVAL_SECONDS: "1",
  };
  const tidy = (text: string) =>
    text.replaceAll(join(home, "other"), "~").replaceAll(home, "~").replaceAll(awUrl, "http://127.0.0.1:5600")
      .replaceAll(origin, "https://lifelog.example.org").replaceAll(/process \d+/g, "process 4711").trimEnd();
  const captures = new Map<string, string>();
  try {
    captures.set("once", tidy(await run(["--once"], env)));
    captures.set(
      "status",
      await beside(env, () => statusOnce(env, /^WELL[^]* runs since [^]*Waiting +nothing/)).then(tidy),
    );
    lifelog.health = "refuses";
    const other = { ...env, HOME: join(home, "other") };
    await beside(other, async () => {
      captures.set("status-failing", tidy(await statusOnce(other, /FAILING[^]*401/)));
      captures.set("doctor", tidy(await run(["doctor"], other)));
    });
    const demo = new Deno.Command(Deno.execPath(), {
      args: ["run", "--no-prompt", "-A", fileURLToPath(new URL("tests/demo.ts", ROOT))],
      env: { NO_COLOR: "1" },
      stdin: "null",
    });
    captures.set("demo", new TextDecoder().decode((await demo.output()).stdout).trimEnd());
  } finally {
    await Deno.remove(home, { recursive: true });
  }
  return captures;
}

/** Puts a capture between its marks; text without them stays as it is. */
function put(document: string, name: string, text: string): string {
  const mark = new RegExp(`(<!-- ${name} -->\n)[^]*?(<!-- /${name} -->)`);
  return document.replace(
    mark,
    (_, begin: string, end: string) => `${begin}\n\`\`\`\n${text}\n\`\`\`\n\n${end}`,
  );
}

if (import.meta.main) {
  const path = new URL("README.md", ROOT);
  let document = Deno.readTextFileSync(path);
  for (const [name, text] of await capture()) document = put(document, name, text);
  Deno.writeTextFileSync(path, document);
}
