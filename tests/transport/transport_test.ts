import assert from "node:assert/strict";
import { fileURLToPath } from "node:url";
import { gzipSync } from "node:zlib";
import { readBounded } from "../../lib/bounded_body.ts";
import { SettingError } from "../../lib/errors.ts";
import { lifelogSink } from "../../lib/sinks/lifelog.ts";
import { createTransport, type TransportOptions } from "../../lib/transport.ts";
import { type Certificates, makeCertificates } from "./certificates.ts";
import { entriesOf } from "../fakes/entries.ts";

const TOKEN = "canary-token";
const BATCH = entriesOf('{"title":"canary-title"}');
/** Each answer comes over a connection of its own, so that nothing is left open when a test ends. */
const CLOSE = { connection: "close" };

let made: Promise<Certificates> | undefined;
const certificates = () => made ??= makeCertificates();
globalThis.addEventListener("unload", () => {
  made?.then(({ folder }) => Deno.removeSync(folder, { recursive: true }));
});

interface Server extends AsyncDisposable {
  readonly url: URL;
  /** The requests that came, with their bodies. */
  readonly requests: { readonly headers: Headers; readonly body: string }[];
}

function serve(
  answer: (url: URL) => Response | Promise<Response> = () => Response.json({ status: "success" }),
  tls: { cert: string; key: string } | undefined = undefined,
): Server {
  const requests: { headers: Headers; body: string }[] = [];
  const handler = async (request: Request) => {
    requests.push({ headers: request.headers, body: await request.text() });
    const response = await answer(new URL(request.url));
    response.headers.set("connection", "close");
    return response;
  };
  const options = { hostname: "127.0.0.1", port: 0, onListen() {} };
  const server = tls === undefined
    ? Deno.serve(options, handler)
    : Deno.serve({ ...options, ...tls }, handler);
  return {
    url: new URL(`${tls === undefined ? "http" : "https"}://127.0.0.1:${server.addr.port}/ingest`),
    requests,
    [Symbol.asyncDispose]: () => server.shutdown(),
  };
}

async function serveTls(name: string, answer?: Parameters<typeof serve>[0]): Promise<Server> {
  const { text } = await certificates();
  return serve(answer, { cert: text(`${name}.pem`), key: text(`${name}.key`) });
}

async function send(url: URL, options: TransportOptions = {}, timeoutMs = 5000) {
  using transport = createTransport(url, options);
  return await lifelogSink({ endpoint: url, token: TOKEN, deviceId: "d", timeoutMs, fetch: transport })
    .send(BATCH);
}

/** The ways that a request takes: by the runtime's fetch, and by the one for a pinned server. */
async function ways(): Promise<[string, TransportOptions][]> {
  const { path, pin } = await certificates();
  const caFile = path("ca.pem");
  return [["fetch", { caFile }], ["pinned", { caFile, pins: [pin("stranger.pem"), pin("server.pem")] }]];
}

Deno.test("a server whose certificate is by an unknown authority gets nothing, one by the authority that is set does", async () => {
  await using server = await serveTls("server");
  const { path, pin } = await certificates();
  for (const pins of [[], [pin("server.pem")]]) {
    const refused = await send(server.url, { pins });
    assert.deepEqual(refused, {
      kind: "retry",
      reason: "no secure connection (its certificate or TLS failed)",
    });
    assert.equal((await send(server.url, { pins, caFile: path("stranger.pem") })).kind, "retry");
    assert.equal(server.requests.length, 0);
    assert.deepEqual(await send(server.url, { pins, caFile: path("ca.pem") }), { kind: "delivered" });
    const [request] = server.requests.splice(0);
    assert.equal(request!.headers.get("authorization"), `Bearer ${TOKEN}`);
    assert.match(request!.body, /"events":\[{"title":"canary-title"}\]}$/);
  }
});

Deno.test("a certificate that is for another name, or has expired, is refused on every way", async () => {
  const { path, pin } = await certificates();
  for (const name of ["misnamed", "expired"]) {
    await using server = await serveTls(name);
    for (const pins of [[], [pin(`${name}.pem`)]]) {
      const { kind } = await send(server.url, { caFile: path("ca.pem"), pins });
      assert.equal(kind, "retry", name);
    }
    assert.deepEqual(server.requests, [], name);
  }
});

Deno.test("a server with another key than the pinned ones gets not a byte of a request", async () => {
  await using server = await serveTls("server");
  const { path, pin } = await certificates();
  const answer = await send(server.url, { caFile: path("ca.pem"), pins: [pin("stranger.pem")] });
  assert.deepEqual(answer, {
    kind: "retry",
    reason: "its certificate is for another key than the pinned ones",
  });
  assert.deepEqual(server.requests, []);
});

Deno.test("a redirect is not followed and the token not sent on", async () => {
  await using other = serve();
  for (const [way, options] of await ways()) {
    await using server = await serveTls(
      "server",
      () => new Response(null, { status: 307, headers: { location: other.url.href } }),
    );
    const answer = await send(server.url, options);
    assert.equal(answer.kind, "refused", way);
    assert.deepEqual(other.requests, [], way);
  }
});

Deno.test("an answer that is too long, or is after it is unpacked, ends the request with its memory bounded", async () => {
  const bomb = new Uint8Array(gzipSync(new Uint8Array(256 * 1024 * 1024)));
  const packed = () => new Response(bomb, { headers: { "content-encoding": "gzip" } });
  const long = () =>
    new Response(
      new ReadableStream({ pull: (controller) => controller.enqueue(new Uint8Array(65536).fill(32)) }),
    );
  for (const [way, options] of await ways()) {
    for (const [name, answer] of Object.entries({ packed, long })) {
      await using server = await serveTls("server", answer);
      const before = Deno.memoryUsage().rss;
      const result = await send(server.url, options);
      assert.equal(result.kind, "retry", `${way}, ${name}`);
      assert.ok(Deno.memoryUsage().rss - before < 150e6, `${way}, ${name}`);
    }
  }
});

Deno.test("a large batch and a large answer pass whole on every way", async () => {
  const text = "é€😀".repeat(60_000);
  for (const [way, options] of await ways()) {
    await using server = await serveTls("server", () => new Response(text));
    using request = createTransport(server.url, options);
    const body = "x€".repeat(700_000);
    const response = await request(server.url, { method: "POST", body, headers: CLOSE });
    assert.equal(await readBounded(response, 2e6), text, way);
    assert.equal(server.requests[0]!.body, body, way);
  }
});

Deno.test("a server that is silent is given up at the time-out, and a request that is aborted ends", async () => {
  for (const [way, options] of await ways()) {
    let answer = (_: Response) => {};
    await using server = await serveTls("server", () => new Promise((resolve) => answer = resolve));
    const result = await send(server.url, options, 300);
    assert.equal(result.kind === "retry" && result.reason, "no answer within 0.3 s", way);
    answer(new Response());
  }
});

Deno.test("a pinned server's answers are read as what they are, and broken ones as broken", async () => {
  const { path, pin, text } = await certificates();
  const request = (url: URL) =>
    createTransport(url, { caFile: path("ca.pem"), pins: [pin("server.pem")] })(url, {
      method: "POST",
      body: "a",
    });
  const raw: [string, string | number | undefined][] = [
    ["HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok and more", "ok"],
    ["HTTP/1.0 503 \r\nRetry-After: 7\r\n\r\nbusy", "busy"],
    ["HTTP/1.1 204 No Content\r\n\r\n", ""],
    ["HTTP/1.1 200 OK\r\ncontent-length: 20\r\n\r\ncut", undefined],
    ["HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n", undefined],
    ["HTTP/1.1 200 OK\r\ncontent-length: many\r\n\r\n", undefined],
    ["HTTP/1.1 99 OK\r\n\r\n", undefined],
    ["SSH-2.0-OpenSSH\r\n\r\n", undefined],
    [`HTTP/1.1 200 OK\r\nx: ${"y".repeat(200_000)}\r\n\r\n`, undefined],
    ["HTTP/1.1 200 OK\r\n", undefined],
    ["", undefined],
  ];
  using listener = Deno.listenTls({
    hostname: "127.0.0.1",
    port: 0,
    cert: text("server.pem"),
    key: text("server.key"),
  });
  const url = new URL(`https://127.0.0.1:${listener.addr.port}/`);
  for (const [answer, body] of raw) {
    const serving = (async () => {
      using connection = await listener.accept();
      try {
        await connection.read(new Uint8Array(4096));
        const bytes = new TextEncoder().encode(answer);
        for (let at = 0; at < bytes.length;) at += await connection.write(bytes.subarray(at));
        await connection.closeWrite();
      } catch { /* the client has seen enough */ }
    })();
    const got = await request(url).then((response) => readBounded(response, 1e6)).catch(() => undefined);
    await serving;
    assert.equal(got, body, answer.slice(0, 60));
  }
});

Deno.test("a proxy of the environment never sees what is said to this device itself", async () => {
  await using proxy = serve(() => new Response("proxy"));
  await using server = serve();
  const before = Deno.env.get("HTTP_PROXY");
  Deno.env.set("HTTP_PROXY", proxy.url.origin);
  try {
    for (const host of ["127.0.0.1", "localhost"]) {
      const url = new URL(server.url);
      url.hostname = host;
      using request = createTransport(url);
      const response = await request(url, { headers: CLOSE });
      assert.deepEqual(await response.json(), { status: "success" });
    }
    assert.deepEqual(proxy.requests, []);
  } finally {
    if (before === undefined) Deno.env.delete("HTTP_PROXY");
    else Deno.env.set("HTTP_PROXY", before);
  }
});

Deno.test("files of certificates that cannot be read or used are told of with their setting", async () => {
  const { path } = await certificates();
  const url = new URL("https://lifelog.invalid/");
  const wrong: [TransportOptions, RegExp][] = [
    [{ caFile: path("none.pem") }, /"SERVER_CA_FILE".*none\.pem/],
    [{ caFile: path("server.key") }, /"SERVER_CA_FILE".*no CERTIFICATE/],
    [
      { clientCertFile: path("client.pem"), clientKeyFile: path("client.pem") },
      /"SERVER_CLIENT_KEY_FILE".*no PRIVATE KEY/,
    ],
  ];
  for (const [options, words] of wrong) {
    assert.throws(
      () => createTransport(url, options),
      (error) => error instanceof SettingError && words.test(error.message),
    );
  }
});

Deno.test("a server that asks for a client certificate gets it on every way, and serves nobody without", async () => {
  const { path } = await certificates();
  const script = fileURLToPath(new URL("mtls_server.py", import.meta.url));
  const child = new Deno.Command("python3", {
    args: [script, path("server.pem"), path("server.key"), path("ca.pem")],
    stdin: "piped",
    stdout: "piped",
    stderr: "null",
  }).spawn();
  try {
    const reader = child.stdout.getReader();
    const port = new TextDecoder().decode((await reader.read()).value).trim();
    reader.releaseLock();
    const url = new URL(`https://127.0.0.1:${port}/ingest`);
    const identity = { clientCertFile: path("client.pem"), clientKeyFile: path("client.key") };
    for (const [way, options] of await ways()) {
      using request = createTransport(url, { ...options, ...identity });
      const response = await request(url, { method: "POST", body: "12345", headers: CLOSE });
      assert.deepEqual(await response.json(), { client: "client", bytes: 5 }, way);
      assert.equal((await send(url, options)).kind, "retry", way);
    }
  } finally {
    await child.stdin.close();
    await child.stdout.cancel();
    await child.status;
  }
});
