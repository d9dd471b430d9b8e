import assert from "node:assert/strict";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { keptRuntime, type Target } from "../../install/denort.ts";
import { COMPILER_STACK_BYTES, type Known, permissionsFor } from "../../install/build.ts";
import { makeCertificates } from "../transport/certificates.ts";
import { BINARY, inHome, run as runCompiled } from "./compiled.ts";
import { textsOf } from "../fakes/entries.ts";

const ROOT = fileURLToPath(new URL("../..", import.meta.url));
const TITLE = "canary-title";
const URL_CANARY = "https://canary-url.example/secret";
const TOKEN = "canary-token";
const API_KEY = "canary-api-key";
const CACHE_KEY = "ca9a4e".repeat(11).slice(0, 64);
const CANARIES = [TITLE, "canary-url", TOKEN, API_KEY, CACHE_KEY];
const decoder = new TextDecoder();

/** Runs the program and gives all that it printed. */
async function run(home: string, args: string[], env: Record<string, string> = {}, command = BINARY) {
  const { code, stdout, stderr } = await runCompiled(home, args, env, command);
  return { code, text: stdout + stderr };
}

/** Compiles the probe with the agent's permissions, and gives what it could do. */
async function probe(home: string, known: Known, args: string[]): Promise<Record<string, string>> {
  const output = join(home, "probe");
  const info = await new Deno.Command(Deno.execPath(), { args: ["info", "--json"] }).output();
  const kept = keptRuntime(JSON.parse(decoder.decode(info.stdout)).denoDir, Deno.build.target as Target);
  const runtime = await Deno.stat(kept).then(() => ({ DENORT_BIN: kept }), () => ({}));
  const { success, stderr } = await new Deno.Command(Deno.execPath(), {
    args: [
      "compile",
      "--quiet",
      "--no-config",
      ...permissionsFor(known),
      "--output",
      output,
      "tests/binary/probe.ts",
    ],
    cwd: ROOT,
    env: { RUST_MIN_STACK: COMPILER_STACK_BYTES, ...runtime },
    stdin: "null",
  }).output();
  assert.ok(success, decoder.decode(stderr));
  const { text } = await run(home, args, {}, output);
  return Object.fromEntries(text.trim().split("\n").map((line) => line.split(" ") as [string, string]));
}

const FORBIDDEN = {
  run: "NotCapable",
  child_process: "NotCapable",
  ffi: "NotCapable",
  napi: "NotCapable",
  sys: "NotCapable",
  env: "NotCapable",
  env_all: "NotCapable",
  import: "TypeError",
  memory: "NotCapable",
  environ: "NotCapable",
};

Deno.test("a program with the agent's permissions cannot run others, load libraries, or look around", () =>
  inHome(async (home) => {
    const served: string[] = [];
    await using server = Deno.serve({ hostname: "127.0.0.1", port: 0, onListen() {} }, (request) => {
      served.push(new URL(request.url).pathname);
      return new Response("export {}", {
        headers: { "content-type": "text/javascript", connection: "close" },
      });
    });
    const host = `127.0.0.1:${server.addr.port}`;
    const file = join(home, "file");
    Deno.writeTextFileSync(file, "");
    assert.deepEqual(await probe(home, {}, [host, file]), {
      ...FORBIDDEN,
      net: "worked",
      read: "worked",
      write: "worked",
    });
    assert.deepEqual(served, ["/"]);

    // Built for a known server and known folders, it reaches nothing else.
    const narrow = { net: "lifelog.example.org:443", files: join(home, "own") };
    assert.deepEqual(await probe(home, narrow, [host, file]), {
      ...FORBIDDEN,
      net: "NotCapable",
      read: "NotCapable",
      write: "NotCapable",
    });
    assert.deepEqual(served, ["/"]);
  }));

interface Peers extends AsyncDisposable {
  readonly env: Record<string, string>;
  answer: () => Response;
}

/** An ActivityWatch with one event in it, and a server, that both speak of canaries. */
function peers(home: string): Peers {
  const startMs = Date.now() - 3_600_000;
  const data = { app: "App", title: TITLE, url: URL_CANARY };
  const event = { id: 1, timestamp: new Date(startMs).toISOString(), duration: 60, data };
  const self = { answer: () => Response.json({ status: "success" }) };
  const server = Deno.serve({ hostname: "127.0.0.1", port: 0, onListen() {} }, async (request) => {
    const { pathname, searchParams } = new URL(request.url);
    if (pathname === "/ingest") {
      await request.text();
      return self.answer();
    }
    if (pathname === "/api/0/info") return Response.json({ hostname: "h", version: "v0.13.2" });
    if (pathname === "/api/0/buckets/") {
      const bucket = { id: "w", type: "currentwindow", hostname: "h", created: "2026-01-01T00:00:00Z" };
      return Response.json({ w: bucket });
    }
    const asked = Date.parse(searchParams.get("start") ?? "1970") <= startMs + 60_000 &&
      Date.parse(searchParams.get("end") ?? "2999") >= startMs;
    return Response.json(pathname.endsWith("/events/1") ? event : asked ? [event] : []);
  });
  const origin = `http://127.0.0.1:${server.addr.port}`;
  return Object.assign(self, {
    env: {
      AW_URL: origin,
      AW_API_KEY: API_KEY,
      CENTRAL_SERVER_ENDPOINT: `${origin}/ingest`,
      SERVER_AUTH_TOKEN: TOKEN,
      LOCAL_CACHE_DB_PATH: join(home, "state", "cache.sqlite"),
      LOG_LEVEL: "DEBUG",
      LOG_FILE: join(home, "log", "agent.log"),
      MAX_SEND_RETRIES: "0",
    },
    [Symbol.asyncDispose]: () => server.shutdown(),
  });
}

/** Every file below a folder. */
function* filesOf(folder: string): Iterable<string> {
  for (const entry of Deno.readDirSync(folder)) {
    const path = join(folder, entry.name);
    if (entry.isDirectory) yield* filesOf(path);
    else yield path;
  }
}

Deno.test("no canary comes out of any command, and none stands in any file of an encrypted agent", () =>
  inHome(async (home) => {
    await using around = peers(home);
    const env = { ...around.env, CACHE_KEY };
    const answers: [string, () => Response][] = [
      ["422 that quotes", () =>
        Response.json({
          detail: [{
            loc: ["body", "events", 0, "data"],
            msg: `bad ${TITLE}`,
            type: "value_error",
            input: URL_CANARY,
          }],
        }, { status: 422 })],
      ["HTML that quotes", () => new Response(`<p>${TITLE} ${TOKEN}`, { status: 500 })],
      ["401", () => new Response(TOKEN, { status: 401, headers: { "www-authenticate": TOKEN } })],
      ["200 that is none", () => new Response(TITLE)],
      [
        "redirect",
        () => new Response(null, { status: 302, headers: { location: `http://127.0.0.1:1/${TITLE}` } }),
      ],
    ];
    const say = async (what: string, args: string[], more: Record<string, string> = {}) => {
      const { text } = await run(home, args, { ...env, ...more });
      for (const canary of CANARIES) assert.ok(!text.includes(canary), `${what} prints ${canary}:\n${text}`);
      return text;
    };
    for (const [name, answer] of answers) {
      around.answer = answer;
      await say(name, ["--once"]);
    }
    const help = (await run(home, ["--help"])).text;
    const commands = [...help.slice(help.indexOf("Commands:")).matchAll(/^ {2}([a-z][a-z-]+)/gm)].map((m) =>
      m[1]!
    );
    assert.ok(commands.includes("status") && commands.includes("config") && commands.includes("encryption"));
    for (
      const [args, more] of [
        [["status"]],
        [["status", "--json"]],
        [["doctor"]],
        [["config"]],
        [["config", "--json"]],
        [["config", "check"]],
        [["encryption", "status"]],
        [["man"]],
        [["--once", "--log-format", "json"]],
        [["--version"]],
        [["--once"], { SERVER_AUTH_TOKEN: `${TOKEN}\u0007` }],
        [["--once"], { CENTRAL_SERVER_ENDPOINT: `https://user:${TOKEN}@host/` }],
        [["--once"], { CACHE_KEY: `${TOKEN}` }],
        [["--once"], { AW_URL: "http://127.0.0.1:1" }],
      ] as [string[], Record<string, string>?][]
    ) {
      await say(args.join(" "), args, more);
    }
    let files = 0;
    for (const path of filesOf(home)) {
      files++;
      const bytes = decoder.decode(Deno.readFileSync(path));
      for (const canary of CANARIES) assert.ok(!bytes.includes(canary), `${path} holds ${canary}`);
      if (Deno.build.os !== "windows") assert.equal(Deno.statSync(path).mode! & 0o077, 0, path);
    }
    assert.ok(files >= 4);
  }));

Deno.test({
  name:
    "a secret stands in no command line that other users see, and a running agent's files are its user's alone",
  ignore: Deno.build.os !== "linux",
}, () =>
  inHome(async (home) => {
    await using around = peers(home);
    around.answer = () => new Response(null, { status: 503 });
    // A careless umask, as a login or a service manager may give it.
    const child = new Deno.Command("sh", {
      args: ["-c", `umask 000; exec "$0" "$@"`, BINARY, "--collection-interval", "1", "--settle", "0"],
      clearEnv: true,
      env: { HOME: home, ...around.env },
      stdin: "null",
      stdout: "null",
      stderr: "piped",
    }).spawn();
    try {
      const cache = around.env.LOCAL_CACHE_DB_PATH!;
      const lines = child.stderr.pipeThrough(new TextDecoderStream()).getReader();
      for (let text = ""; !/Collected 1 event /.test(text);) {
        const { done, value } = await lines.read();
        assert.ok(!done, text);
        text += value;
      }
      const commandLine = Deno.readTextFileSync(`/proc/${child.pid}/cmdline`);
      for (const canary of CANARIES) assert.ok(!commandLine.includes(canary));
      const seen: string[] = [];
      for (const folder of [join(home, "state"), join(home, "log")]) {
        assert.equal(Deno.statSync(folder).mode! & 0o777, 0o700, folder);
        for (const path of filesOf(folder)) {
          seen.push(path);
          assert.equal(Deno.statSync(path).mode! & 0o777, 0o600, path);
        }
      }
      for (
        const path of [cache, `${cache}-wal`, `${cache}-shm`, `${cache}.lock`, join(home, "log", "agent.log")]
      ) {
        assert.ok(seen.includes(path), path);
      }
      await lines.cancel();
    } finally {
      child.kill("SIGKILL");
      await child.status;
    }
  }));

Deno.test({
  name:
    "a link in place of the cache, its logs, the lock, the device's id or the log is refused, and its end untouched",
  ignore: Deno.build.os === "windows",
}, () =>
  inHome(async (home) => {
    await using around = peers(home);
    const { LOCAL_CACHE_DB_PATH: cache, LOG_FILE: log } = around.env as {
      LOCAL_CACHE_DB_PATH: string;
      LOG_FILE: string;
    };
    const victim = join(home, "victim");
    Deno.mkdirSync(join(home, "state"), { mode: 0o700 });
    Deno.mkdirSync(join(home, "log"), { mode: 0o700 });
    const links = [cache, `${cache}-wal`, `${cache}-shm`, `${cache}.lock`, `${cache}.mark`, log];
    for (const link of [...links, join(home, "state", "device-id")]) {
      for (const dangling of [false, true]) {
        if (!dangling) Deno.writeTextFileSync(victim, "mine", { mode: 0o644 });
        // Of an agent that came further before it was refused.
        await Deno.remove(link).catch(() => {});
        Deno.symlinkSync(victim, link);
        const { code, text } = await run(home, ["--once"], around.env);
        assert.ok(code === 2 || code === 3, `${link}: ${text}`);
        assert.match(text, /is a link/, link);
        if (dangling) assert.throws(() => Deno.lstatSync(victim), Deno.errors.NotFound);
        else {
          assert.equal(Deno.readTextFileSync(victim), "mine");
          assert.equal(Deno.statSync(victim).mode! & 0o777, 0o644);
          Deno.removeSync(victim);
        }
        Deno.removeSync(link);
      }
    }
    const { code, text } = await run(home, ["--once"], around.env);
    assert.equal(code, 0, text);
  }));

Deno.test("proxies of the environment are used for the server, in capitals and small letters, and not for ActivityWatch", () =>
  inHome(async (home) => {
    await using around = peers(home);
    const asked: string[] = [];
    using listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
    const serving = (async () => {
      for await (const connection of listener) {
        using held = connection;
        const bytes = new Uint8Array(4096);
        asked.push(decoder.decode(bytes.subarray(0, await held.read(bytes) ?? 0)).split("\r\n")[0]!);
        await held.write(new TextEncoder().encode("HTTP/1.1 502 Bad Gateway\r\n\r\n")).catch(() => 0);
      }
    })();
    const proxy = `http://127.0.0.1:${listener.addr.port}`;
    const env = { ...around.env, CENTRAL_SERVER_ENDPOINT: "https://lifelog.invalid/ingest" };
    for (const name of ["HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"]) {
      const { code, text } = await run(home, ["--once"], {
        ...env,
        [name]: proxy,
        HTTP_PROXY: proxy,
        http_proxy: proxy,
      });
      assert.equal(code, 1, text);
      assert.deepEqual(asked.splice(0), ["CONNECT lifelog.invalid:443 HTTP/1.1"], name);
      assert.doesNotMatch(text, /Cannot read ActivityWatch/);
    }
    for (const name of ["NO_PROXY", "no_proxy"]) {
      await run(home, ["--once"], { ...env, HTTPS_PROXY: proxy, [name]: "lifelog.invalid" });
      assert.deepEqual(asked, [], name);
    }
    listener.close();
    await serving.catch(() => {});
  }));

Deno.test("the compiled agent trusts an authority that is set, knows the pinned key, and else sends nothing", () =>
  inHome(async (home) => {
    await using around = peers(home);
    const { folder, text, path, pin } = await makeCertificates();
    const requests: string[] = [];
    await using server = Deno.serve({
      hostname: "127.0.0.1",
      port: 0,
      onListen() {},
      cert: text("server.pem"),
      key: text("server.key"),
    }, async (request) => {
      requests.push(await request.text());
      return Response.json({ status: "success" }, { headers: { connection: "close" } });
    });
    try {
      const env = {
        ...around.env,
        CENTRAL_SERVER_ENDPOINT: `https://127.0.0.1:${server.addr.port}/ingest`,
      };
      const unknown = await run(home, ["--once"], env);
      assert.equal(unknown.code, 1);
      assert.match(unknown.text, /certificate/);
      const SERVER_CA_FILE = path("ca.pem");
      const other = await run(home, ["--once"], {
        ...env,
        SERVER_CA_FILE,
        SERVER_PINS: `sha256/${pin("stranger.pem")}`,
      });
      assert.match(other.text, /another key than the pinned/);
      assert.deepEqual(requests, []);
      const good = await run(home, ["--once"], {
        ...env,
        SERVER_CA_FILE,
        SERVER_PINS: `sha256/${pin("server.pem")}`,
      });
      assert.equal(good.code, 0, good.text);
      assert.equal(requests.length, 1);
      // What the system trusts counts where that is asked for.
      const system = { ...env, SSL_CERT_FILE: path("ca.pem"), AW_MIN_DURATION_SECONDS: "0" };
      const untrusted = await run(home, ["doctor"], system);
      assert.match(untrusted.text, /certificate or TLS failed/);
      const trusted = await run(home, ["doctor"], { ...system, DENO_TLS_CA_STORE: "system" });
      assert.doesNotMatch(trusted.text, /certificate or TLS failed/);
    } finally {
      await Deno.remove(folder, { recursive: true });
    }
  }));

Deno.test({
  name:
    "encrypting a cache, killed again and again in the middle, ends with every event sealed and none lost",
  ignore: Deno.build.os === "windows",
}, () =>
  inHome(async (home) => {
    const { openDatabase } = await import("../../lib/store/database.ts");
    const { ensureBucket } = await import("../../lib/store/cursors.ts");
    const { addToOutbox, outboxDepth, peekOutbox } = await import("../../lib/store/outbox.ts");
    const { encryptionOf, unlock } = await import("../../lib/store/encryption.ts");
    const { digestOf } = await import("../../lib/encode.ts");
    const cache = join(home, "cache.sqlite");
    const count = 30_000;
    {
      using db = openDatabase(cache);
      const { id } = ensureBucket(db, { id: "b", type: "currentwindow", hostname: "x", created: "" });
      db.transaction(() => {
        for (let n = 0; n < count; n++) {
          const version = { startUs: n, digest: digestOf(n), durationSeconds: 1 };
          addToOutbox(db, id, version, `{"title":"${TITLE}-${n}"}`, 0);
        }
      });
    }
    const env = { LOCAL_CACHE_DB_PATH: cache, CACHE_KEY };
    let killed = 0;
    for (let delayMs = 100;; delayMs = Math.round(delayMs * 1.5)) {
      const child = new Deno.Command(BINARY, {
        args: ["encryption", "enable"],
        clearEnv: true,
        env: { HOME: home, ...env },
        stdin: "null",
        stdout: "null",
        stderr: "null",
      }).spawn();
      const timer = setTimeout(() => child.kill("SIGKILL"), delayMs);
      const { success } = await child.status;
      clearTimeout(timer);
      if (success) break;
      killed++;
    }
    assert.ok(killed >= 3, `killed ${killed} times`);
    using db = openDatabase(cache);
    assert.equal(encryptionOf(db).state, "on");
    unlock(db, Uint8Array.from(CACHE_KEY.match(/../g)!, (byte) => parseInt(byte, 16)));
    assert.equal(outboxDepth(db), count);
    const bodies = textsOf(peekOutbox(db, -1, count, 1e9));
    assert.deepEqual(bodies, Array.from({ length: count }, (_, n) => `{"title":"${TITLE}-${n}"}`));
    for (const path of filesOf(home)) {
      assert.equal(decoder.decode(Deno.readFileSync(path)).indexOf(TITLE), -1, path);
    }
  }));
