import assert from "node:assert/strict";
import { runProgram } from "../../lib/cli.ts";
import { ExitCode } from "../../lib/exit_codes.ts";
import { ensureBucket } from "../../lib/store/cursors.ts";
import { openDatabase } from "../../lib/store/database.ts";
import { addToOutbox } from "../../lib/store/outbox.ts";
import type { RelatedSource, Source } from "../../lib/event.ts";
import { createPolicy } from "../../lib/filters/privacy.ts";
import { adoptRules } from "../../lib/store/rules.ts";
import { textsOf } from "../fakes/entries.ts";

const POLICY = createPolicy({ preset: "full", hashKey: () => new Uint8Array(32) });
const EMPTY: Source & RelatedSource = {
  during: () => Promise.resolve([]),
  buckets: () => Promise.resolve([]),
  async *pages() {},
  newestStartUs: () => Promise.resolve(undefined),
};
const CANARY = "canary-title";

interface Stage {
  readonly folder: string;
  readonly env: Record<string, string>;
  /** Runs the program; gives its exit code and what it printed. */
  readonly run: (...args: string[]) => Promise<{ code: number; text: string }>;
  /** What the sink was given to send. */
  readonly sent: string[];
}

async function onStage(act: (stage: Stage) => Promise<void>): Promise<void> {
  const folder = await Deno.makeTempDir({ prefix: "lifelog-encryption-" });
  const env: Record<string, string> = { HOME: folder, LOCAL_CACHE_DB_PATH: `${folder}/cache.sqlite` };
  const sent: string[] = [];
  const consoleError = console.error;
  const run = async (...args: string[]) => {
    const lines: string[] = [];
    console.error = (...words: unknown[]) => void lines.push(words.join(" "));
    try {
      const code = await runProgram({
        args,
        env: (name) => env[name],
        terminate: () => {},
        print: (line) => void lines.push(line),
        source: () => EMPTY,
        filters: () => [],
        policy: () => POLICY,
        sink: ({ endpoint }) =>
          endpoint && ({
            send(batch) {
              sent.push(...textsOf(batch));
              return Promise.resolve({ kind: "delivered" });
            },
          }),
      });
      return { code, text: lines.join("\n") };
    } finally {
      console.error = consoleError;
    }
  };
  try {
    {
      using db = openDatabase(env.LOCAL_CACHE_DB_PATH!);
      const { id } = ensureBucket(db, { id: "b", type: "currentwindow", hostname: "x", created: "" });
      const version = { startUs: 1, digest: new Uint8Array(16), durationSeconds: 1 };
      const rules = adoptRules(db, POLICY.fingerprint);
      db.transaction(() => addToOutbox(db, id, version, `{"title":"${CANARY}"}`, 0, rules));
    }
    await act({ folder, env, run, sent });
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

const holdsCanary = (folder: string) =>
  [...Deno.readDirSync(folder)].some(({ name, isFile }) =>
    isFile && new TextDecoder("latin1").decode(Deno.readFileSync(`${folder}/${name}`)).includes(CANARY)
  );
const ONCE = ["--once", "--log-level", "CRITICAL"];

Deno.test("encryption: a key is made, the cache encrypted, its key changed, and it is made readable again", () =>
  onStage(async ({ folder, env, run, sent }) => {
    assert.match((await run("encryption", "status")).text, /is not encrypted/);
    assert.equal((await run("encryption", "new-key", `${folder}/a.key`)).code, ExitCode.Ok);
    assert.equal(Deno.statSync(`${folder}/a.key`).mode! & 0o777, 0o600);
    env.CACHE_KEY_FILE = `${folder}/a.key`;
    assert.ok(holdsCanary(folder));
    assert.match((await run("encryption", "enable")).text, /is encrypted: 2 rows/);
    assert.ok(!holdsCanary(folder));
    assert.match((await run("encryption", "enable")).text, /already/);
    assert.match((await run("encryption", "status")).text, /is encrypted \(key 1, since [^]*opens it/);

    await run("encryption", "new-key", `${folder}/b.key`);
    const rotated = await run("encryption", "rotate", "--new-key-file", `${folder}/b.key`);
    assert.match(rotated.text, /Set CACHE_KEY_FILE to ".*b.key"/);
    const old = await run("encryption", "status");
    assert.equal(old.code, ExitCode.Key);
    assert.match(old.text, /encrypted with another key/);
    env.CACHE_KEY_FILE = `${folder}/b.key`;
    assert.match((await run("encryption", "status")).text, /key 2, [^]*opens it/);

    assert.match((await run("encryption", "disable")).text, /made readable[^]*Remove CACHE_KEY_FILE/);
    assert.ok(holdsCanary(folder));
    // Nothing is written in the clear while a key is set, whoever turned it off.
    env.CENTRAL_SERVER_ENDPOINT = "http://127.0.0.1:9/ingest";
    const set = await run(...ONCE);
    assert.equal(set.code, ExitCode.Key);
    assert.match(set.text, /turned off though a key is set/);
    assert.deepEqual(sent, []);
    delete env.CACHE_KEY_FILE;
    assert.equal((await run(...ONCE)).code, ExitCode.Ok);
    assert.match((await run("encryption", "status")).text, /is not encrypted/);
    assert.deepEqual(sent, [`{"title":"${CANARY}"}`]);
  }));

Deno.test("encryption: a copy of a damaged cache that is readable is told of, and one that is sealed is not", () =>
  onStage(async ({ folder, env, run }) => {
    const cache = env.LOCAL_CACHE_DB_PATH!;
    const copy = `${cache}.damaged-20260101T000000Z`;
    Deno.copyFileSync(cache, copy);
    await run("encryption", "new-key", `${folder}/a.key`);
    env.CACHE_KEY_FILE = `${folder}/a.key`;
    const { text } = await run("encryption", "enable");
    assert.ok(text.includes(`Events may still be readable in "${copy}"`), text);
    Deno.removeSync(copy);
    await run("encryption", "disable");
    await run("encryption", "enable");
    Deno.copyFileSync(cache, copy);
    await run("encryption", "disable");
    // The sealed copy is of the time before.
    assert.doesNotMatch((await run("encryption", "enable")).text, /readable in/);
  }));

Deno.test("encryption: new-key makes the folder that it is told to write to", () =>
  onStage(async ({ folder, run }) => {
    assert.equal((await run("encryption", "new-key", "~/new/folder/a.key")).code, ExitCode.Ok);
    assert.equal(Deno.statSync(`${folder}/new/folder`).mode! & 0o777, 0o700);
    assert.equal(Deno.statSync(`${folder}/new/folder/a.key`).mode! & 0o777, 0o600);
  }));

Deno.test("encryption: new-key never writes over a file", () =>
  onStage(async ({ folder, run }) => {
    await run("encryption", "new-key", `${folder}/a.key`);
    const key = Deno.readTextFileSync(`${folder}/a.key`);
    assert.equal((await run("encryption", "new-key", `${folder}/a.key`)).code, ExitCode.Key);
    assert.equal(Deno.readTextFileSync(`${folder}/a.key`), key);
  }));

Deno.test("the agent encrypts its cache where a key is set, and sends the same bytes", () =>
  onStage(async ({ folder, env, run, sent }) => {
    await run("encryption", "new-key", `${folder}/a.key`);
    env.CACHE_KEY_FILE = `${folder}/a.key`;
    assert.equal((await run(...ONCE)).code, ExitCode.Ok);
    assert.ok(!holdsCanary(folder));
    // Without an endpoint nothing is sent in this first run; what waits is sealed.
    assert.match((await run("encryption", "status")).text, /is encrypted/);
    assert.deepEqual(sent, []);
    env.CENTRAL_SERVER_ENDPOINT = "http://127.0.0.1:9/ingest";
    assert.equal((await run(...ONCE)).code, ExitCode.Ok);
    assert.deepEqual(sent, [`{"title":"${CANARY}"}`]);
  }));

Deno.test("without its key, with a wrong one, or with one that others may read, the agent ends with 5 and touches nothing", () =>
  onStage(async ({ folder, env, run, sent }) => {
    const file = `${folder}/a.key`;
    await run("encryption", "new-key", file);
    env.CACHE_KEY_FILE = file;
    await run("encryption", "enable");
    delete env.CACHE_KEY_FILE;
    const refused = async (words: RegExp) => {
      for (const args of [ONCE, ["encryption", "disable"]]) {
        const { code, text } = await run(...args);
        assert.equal(code, ExitCode.Key, text);
        assert.match(text, words);
      }
    };
    await refused(/no key is set/);
    env.CACHE_KEY = "ab".repeat(32);
    await refused(/another key/);
    env.CACHE_KEY = "canary-secret";
    await refused(/32 random bytes/);
    assert.ok(!(await run(...ONCE)).text.includes("canary-secret"));
    delete env.CACHE_KEY;
    env.CACHE_KEY_FILE = `${folder}/none.key`;
    await refused(/Cannot read the key file/);
    env.CACHE_KEY_FILE = file;
    Deno.chmodSync(file, 0o640);
    await refused(/other users may read/);
    Deno.chmodSync(file, 0o400);
    env.CENTRAL_SERVER_ENDPOINT = "http://127.0.0.1:9/ingest";
    assert.equal((await run(...ONCE)).code, ExitCode.Ok);
    assert.deepEqual(sent, [`{"title":"${CANARY}"}`]);
  }));

Deno.test("the key and the token are taken from the service manager's credentials", () =>
  onStage(async ({ folder, env, run }) => {
    env.CREDENTIALS_DIRECTORY = `${folder}/credentials`;
    Deno.mkdirSync(env.CREDENTIALS_DIRECTORY);
    Deno.writeTextFileSync(`${env.CREDENTIALS_DIRECTORY}/cache_key`, "cd".repeat(32));
    assert.match((await run("encryption", "enable")).text, /is encrypted/);
    assert.match((await run("encryption", "status")).text, /opens it/);
    Deno.removeSync(`${env.CREDENTIALS_DIRECTORY}/cache_key`);
    assert.equal((await run("encryption", "status")).code, ExitCode.Key);
  }));
