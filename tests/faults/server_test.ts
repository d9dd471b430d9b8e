import assert from "node:assert/strict";
import type { Answer, Cut } from "./raw_server.ts";
import { RawServer } from "./raw_server.ts";
import type { Fault } from "./receiver.ts";
import { TOKEN } from "./receiver.ts";
import { faultTable } from "./table.ts";
import { complaints, until, World } from "./world.ts";

const tell = faultTable("The LifeLog server fails");
const HTML = { "content-type": "text/html" };
const EVENTS = 40;

interface Case {
  readonly name: string;
  readonly fault?: Fault;
  readonly cut?: Cut;
  /** How often it may be asked in one run, with one retry allowed. */
  readonly asked: number;
  /** What the log must say. */
  readonly says: RegExp;
  /** The server stores what it does not confirm. */
  readonly stores?: boolean;
}

const status = (
  code: number,
  asked: number,
  says = new RegExp(`it answered ${code}`),
  headers: Record<string, string> = {},
): Case => ({
  name: `${code}${headers["retry-after"] === undefined ? "" : `, Retry-After: ${headers["retry-after"]}`}`,
  fault: { status: code, headers, body: '{"detail":"ill"}' },
  asked,
  says,
});
const html = (code: number, asked: number, says: RegExp): Case => ({
  name: `${code} with an HTML page`,
  fault: { status: code, headers: HTML, body: "<html><body>Please log in</body></html>" },
  asked,
  says,
});
const answer = (name: string, fault: Fault, asked: number, says: RegExp, stores = false): Case => ({
  name,
  fault,
  asked,
  says,
  stores,
});

const CASES: readonly Case[] = [
  status(400, 3, /it answered 400 to every event.*CENTRAL_SERVER_ENDPOINT/),
  status(401, 1, /it answered 401.*SERVER_AUTH_TOKEN/),
  status(403, 3, /it answered 403.*SERVER_AUTH_TOKEN/),
  status(404, 1, /it answered 404.*CENTRAL_SERVER_ENDPOINT/),
  status(408, 2),
  status(409, 3, /it answered 409 to every event/),
  status(413, 9, /it answered 413.*Raise the limit/),
  {
    ...status(422, 1, /it answered 422.*DEVICE_ID/),
    name: "422 that names the envelope",
    fault: {
      status: 422,
      body: '{"detail":[{"loc":["body","source_id"],"msg":"missing","type":"missing"}]}',
    },
  },
  status(425, 2),
  status(429, 2),
  status(429, 1, /it answered 429/, { "retry-after": "3600" }),
  status(500, 2),
  status(502, 2),
  status(503, 2),
  status(503, 1, /it answered 503/, { "retry-after": new Date(Date.now() + 7_200_000).toUTCString() }),
  status(504, 2),
  html(200, 2, /it answered 200 without a LifeLog server's confirmation/),
  html(400, 3, /it answered 400 to every event/),
  html(403, 3, /it answered 403/),
  html(502, 2, /it answered 502/),
  answer("200 with an empty body", { status: 200 }, 2, /without a LifeLog server's confirmation/),
  answer("204", { status: 204 }, 2, /it answered 204 without/),
  answer(
    "200 that took one of them",
    { status: 200, body: '{"status":"success","received_events":1}' },
    2,
    /took 1 of 40 events/,
  ),
  {
    name: "the answer is lost, the events are stored",
    fault: "lost",
    // The HTTP client itself sends once more where a connection closes before an answer.
    asked: 4,
    says: /broke off/,
    stores: true,
  },
  { name: "reset at connect", cut: "at-connect", asked: 0, says: /broke off/ },
  { name: "reset before the body", cut: "before-body", asked: 0, says: /broke off/ },
  { name: "reset within the body", cut: "in-body", asked: 0, says: /broke off/ },
  answer("half an answer", { wire: "half-answer", body: '{"status":"succ' }, 2, /broke off/),
  answer("no HTTP", { wire: "rubbish" }, 2, /is no HTTP/),
  answer("an answer byte by byte (slow loris)", { wire: "slow-answer" }, 2, /no answer within 1 s/),
  answer("silence (half-open)", { wire: "silence" }, 2, /no answer within 1 s/),
];

for (const { name, fault, cut, asked, says, stores = false } of CASES) {
  Deno.test(`the server fails: ${name}`, async () => {
    await using world = new World({ events: EVENTS });
    world.receiver.fault = fault;
    world.receiver.cut = () => cut;
    const failed = await world.once();
    const said = complaints(failed);
    assert.equal(failed.code, 1, failed.stderr);
    assert.ok(said.some((line) => says.test(line)), said.join("\n"));
    assert.ok(!failed.stderr.includes("Title "), "no title in the log");
    assert.ok(!failed.stderr.includes(TOKEN), "no token in the log");
    const found = await world.status();
    assert.ok(found.some((finding) => says.test(finding)), found.join("\n"));
    const requests = world.receiver.requests.length;
    assert.ok(requests <= asked, `${requests} requests`);
    assert.deepEqual([world.waiting(), world.dead()], [EVENTS, 0], "all is kept");
    assert.equal(world.received().length, stores ? EVENTS : 0);

    world.receiver.fault = undefined;
    world.receiver.cut = () => undefined;
    world.record(5);
    const well = await world.once();
    assert.equal(well.code, 0, well.stderr);
    world.assertExact();
    assert.equal(world.waiting(), 0);
    assert.deepEqual(await world.status(), []);
    if (!stores) assert.equal(world.receiver.resent, 0);
    tell(name, { kept: "all", asked: requests, afterwards: "exact", "log and status say": said.at(-1)! });
  });
}

Deno.test("the server fails: connection refused", async () => {
  await using world = new World({ events: EVENTS });
  await world.receiver.stop();
  const failed = await world.once();
  assert.equal(failed.code, 1);
  const said = complaints(failed);
  assert.ok(said.some((line) => /the connection was refused/.test(line)), said.join("\n"));
  assert.match((await world.status()).join("\n"), /the connection was refused/);
  assert.equal(world.waiting(), EVENTS);
  world.receiver.start();
  assert.equal((await world.once()).code, 0);
  world.assertExact();
  tell("connection refused", {
    kept: "all",
    asked: 0,
    afterwards: "exact",
    "log and status say": said.at(-1)!,
  });
});

Deno.test("the server fails: its name cannot be resolved", async () => {
  await using world = new World({ events: EVENTS });
  const failed = await world.once([], { CENTRAL_SERVER_ENDPOINT: "https://lifelog.invalid/api/v1/ingest" });
  assert.equal(failed.code, 1);
  const said = complaints(failed);
  assert.ok(said.some((line) => /its name cannot be resolved/.test(line)), said.join("\n"));
  assert.match((await world.status()).join("\n"), /its name cannot be resolved/);
  assert.equal((await world.once()).code, 0);
  world.assertExact();
  tell("DNS failure", { kept: "all", asked: 0, afterwards: "exact", "log and status say": said.at(-1)! });
});

Deno.test("the server fails: it speaks no TLS", async () => {
  await using world = new World({ events: EVENTS });
  const failed = await world.once([], {
    CENTRAL_SERVER_ENDPOINT: world.receiver.endpoint.replace("http:", "https:"),
  });
  assert.equal(failed.code, 1);
  const said = complaints(failed);
  assert.ok(said.some((line) => /no secure connection/.test(line)), said.join("\n"));
  assert.match((await world.status()).join("\n"), /no secure connection/);
  assert.equal(world.receiver.tokens.size, 0);
  assert.equal((await world.once()).code, 0);
  world.assertExact();
  tell("TLS failure", { kept: "all", asked: 0, afterwards: "exact", "log and status say": said.at(-1)! });
});

Deno.test("the server fails: nobody vouches for its certificate, or it is of another name", async (t) => {
  for (const name of ["127.0.0.1", "another.example"]) {
    const tls = await certificateFor(name);
    if (tls === undefined) {
      console.log("Left out, as there is no openssl to make a certificate with");
      return;
    }
    await t.step(name, async () => {
      await using world = new World({ events: EVENTS, tls });
      const failed = await world.once();
      assert.equal(failed.code, 1);
      const said = complaints(failed);
      assert.ok(said.some((line) => /certificate/.test(line)), said.join("\n"));
      assert.match((await world.status()).join("\n"), /certificate/);
      assert.equal(world.receiver.tokens.size, 0, "no token to a server that cannot prove who it is");
      assert.equal(world.waiting(), EVENTS);
      tell(`wrong certificate (${name})`, {
        kept: "all",
        asked: 0,
        afterwards: "kept",
        "log and status say": said.at(-1)!,
      });
    });
  }
});

/** A certificate that nobody vouches for; `undefined` where none can be made. */
async function certificateFor(name: string): Promise<{ cert: string; key: string } | undefined> {
  const folder = await Deno.makeTempDir();
  const file = (name: string) => `${folder}/${name}.pem`;
  const subject = /^[\d.]+$/.test(name) ? `IP:${name}` : `DNS:${name}`;
  try {
    const { success } = await new Deno.Command("openssl", {
      args: [
        ...[
          "req",
          "-x509",
          "-newkey",
          "ec",
          "-pkeyopt",
          "ec_paramgen_curve:prime256v1",
          "-nodes",
          "-days",
          "2",
        ],
        ...["-subj", `/CN=${name}`, "-addext", `subjectAltName=${subject}`],
        ...["-keyout", file("key"), "-out", file("cert")],
      ],
      stdout: "null",
      stderr: "null",
    }).output();
    if (!success) return undefined;
    return { cert: await Deno.readTextFile(file("cert")), key: await Deno.readTextFile(file("key")) };
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return undefined;
    throw error;
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

for (const code of [301, 302, 303, 307, 308]) {
  Deno.test(`the server fails: redirect with ${code}`, async () => {
    await using world = new World({ events: EVENTS });
    let visits = 0;
    await using elsewhere = new RawServer({
      answer: (): Answer => {
        visits++;
        return { status: 200, body: '{"status":"success"}' };
      },
    });
    world.receiver.fault = {
      status: code,
      headers: { location: `http://127.0.0.1:${elsewhere.port}/api/v1/ingest` },
    };
    const failed = await world.once();
    assert.equal(failed.code, 1);
    const said = complaints(failed);
    assert.ok(said.some((line) => line.includes(`it answered ${code}`)), said.join("\n"));
    assert.equal(visits, 0, "neither token nor events go elsewhere");
    assert.equal(world.waiting(), EVENTS);
    world.receiver.fault = undefined;
    assert.equal((await world.once()).code, 0);
    world.assertExact();
    tell(`redirect with ${code}`, {
      kept: "all",
      asked: 1,
      afterwards: "exact",
      "log and status say": said.at(-1)!,
    });
  });
}

Deno.test("the server asks to wait, in seconds and by a date of its own clock, and is left alone so long", async () => {
  await using world = new World({ events: EVENTS });
  const aheadMs = 5 * 3_600_000;
  const answers: Fault[] = [
    { status: 429, headers: { "retry-after": "1" } },
    {
      status: 503,
      headers: {
        // Its clock is five hours ahead of this one.
        date: new Date(Date.now() + aheadMs).toUTCString(),
        "retry-after": new Date(Date.now() + aheadMs + 3_000).toUTCString(),
      },
    },
  ];
  world.receiver.fault = () => answers.shift();
  const run = await world.once([], { MAX_SEND_RETRIES: "3" });
  assert.equal(run.code, 0, run.stderr);
  world.assertExact();
  const [first, second, third] = world.receiver.requests.map(({ atMs }) => atMs);
  assert.ok(second! - first! >= 1000, `${second! - first!} ms`);
  // Whole seconds in both dates make up to one less.
  assert.ok(third! - second! >= 2000, `${third! - second!} ms`);
  assert.equal(world.receiver.requests.length, 3);
  tell("Retry-After: 1, then a date by a clock 5 h ahead", {
    kept: "all",
    asked: 3,
    afterwards: "exact",
    "log and status say": complaints(run).at(-1)!,
  });
});

Deno.test("the server hangs, and collection goes on meanwhile", async () => {
  await using world = new World({
    events: EVENTS,
    settings: {
      COLLECTION_INTERVAL_SECONDS: "1",
      BATCH_SEND_INTERVAL_SECONDS: "1",
      REQUEST_TIMEOUT_SECONDS: "60",
    },
  });
  world.receiver.fault = { wire: "silence" };
  const daemon = world.agent.daemon();
  await until(() => world.receiver.requests.length > 0, "a request hangs");
  const before = world.waiting();
  world.record(100);
  await until(() => world.waiting() > before + 90, "the later events are in the cache", 30_000);
  assert.equal(world.receiver.requests.length, 1, "the request still hangs");
  world.receiver.fault = undefined;
  await daemon.stop("SIGKILL");
  assert.equal((await world.once()).code, 0);
  world.assertExact();
  tell("silence, while more is recorded", {
    kept: "all",
    asked: 1,
    afterwards: "exact",
    "log and status say": "collection goes on while the request hangs",
  });
});
