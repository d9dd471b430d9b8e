import { Buffer } from "node:buffer";
import { createHash, X509Certificate } from "node:crypto";
import { connect, type ConnectionOptions, type TLSSocket } from "node:tls";

const MAX_HEAD_BYTES = 64 * 1024;

/** What {@link createPinnedFetch} needs. */
export interface PinnedFetchOptions {
  /** SHA-256 hashes of public keys (SPKI) in base64. */
  readonly pins: readonly string[];
  /** Certificate authorities beside the usual ones, as PEM. */
  readonly ca?: string | undefined;
  readonly cert?: string;
  readonly key?: string;
}

/**
 * Makes a `fetch` for requests whose server must have one of the pinned public keys, beside a certificate that is
 * trusted. Not a byte of a request leaves before that is seen, which is why it is not the runtime's own `fetch`: that
 * one shows no certificates. One connection a request, in HTTP/1.0, so that an answer ends where its connection does.
 *
 * Takes what the sink gives: method, headers, a text or bytes, and a signal. Redirects are never followed.
 */
export function createPinnedFetch(options: PinnedFetchOptions): typeof fetch {
  return (input, init) =>
    request(new URL(input instanceof Request ? input.url : input), (init ?? {}) as PinnedRequest, options);
}

/** What of a request is understood. */
interface PinnedRequest {
  readonly method?: string;
  readonly headers?: HeadersInit;
  readonly body?: unknown;
  readonly signal?: AbortSignal | null;
}

async function request(url: URL, init: PinnedRequest, options: PinnedFetchOptions): Promise<Response> {
  const { method = "GET", headers, body } = init;
  const signal = init.signal ?? undefined;
  signal?.throwIfAborted();
  if (url.protocol !== "https:") throw new TypeError("A pinned server is reached by https only");
  const bytes = requestOf(method, url, new Headers(headers), bytesOf(body));
  const socket = await open(url, options, signal);
  socket.write(bytes);
  return await readResponse(socket, signal);
}

/** Connects, and looks at the key that the server's certificate is for. */
async function open(
  url: URL,
  options: PinnedFetchOptions,
  signal: AbortSignal | undefined,
): Promise<TLSSocket> {
  const host = url.hostname.replace(/^\[|\]$/g, "");
  const settings: ConnectionOptions = {
    host,
    port: Number(url.port || 443),
    ALPNProtocols: ["http/1.1"],
    rejectUnauthorized: true,
    // An address is no name that could be asked for.
    ...(/^[\d.]+$|:/.test(host) ? {} : { servername: host }),
    ...(options.ca === undefined ? {} : { ca: options.ca }),
    ...(options.cert === undefined || options.key === undefined
      ? {}
      : { cert: options.cert, key: options.key }),
  };
  const socket = connect(settings);
  const abort = () => socket.destroy(new Error("aborted"));
  signal?.addEventListener("abort", abort, { once: true });
  try {
    await new Promise<void>((resolve, reject) => {
      socket.once("secureConnect", resolve);
      socket.once("error", reject);
      socket.once("close", () => reject(new Error("The TLS connection was closed before it stood")));
    });
    // A certificate is only told of once it was verified; the event and `authorized` alone come before that.
    const certificate = socket.authorized ? socket.getPeerCertificate()?.raw : undefined;
    if (certificate === undefined) throw new Error("The server's certificate is not trusted");
    const pin = pinOf(new X509Certificate(certificate));
    if (!options.pins.includes(pin)) throw new PinError(pin);
    return socket;
  } catch (error) {
    socket.on("error", () => {});
    socket.destroy();
    signal?.throwIfAborted();
    throw error;
  } finally {
    signal?.removeEventListener("abort", abort);
  }
}

/** The server's certificate is trusted and for another key than the pinned ones. */
class PinError extends Error {
  override readonly name = "PinError";
  constructor(pin: string) {
    super(`The server's key is not the pinned one: it is sha256/${pin}`);
  }
}

/** The SHA-256 hash of a certificate's public key, as pins are written. */
function pinOf(certificate: X509Certificate): string {
  const key = certificate.publicKey.export({ type: "spki", format: "der" });
  return createHash("sha256").update(key).digest("base64");
}

function bytesOf(body: unknown): Uint8Array {
  if (body === null || body === undefined) return new Uint8Array(0);
  if (typeof body === "string") return Buffer.from(body, "utf8");
  if (body instanceof Uint8Array) return body;
  if (body instanceof ArrayBuffer) return new Uint8Array(body);
  throw new TypeError("A pinned server takes a text or bytes only");
}

function requestOf(method: string, url: URL, headers: Headers, body: Uint8Array): Uint8Array {
  headers.set("host", url.host);
  headers.set("connection", "close");
  headers.set("accept-encoding", "identity");
  if (method !== "GET" && method !== "HEAD") headers.set("content-length", String(body.length));
  const lines = [...headers].map(([name, value]) => `${name}: ${value}\r\n`).join("");
  const head = `${method} ${url.pathname}${url.search} HTTP/1.0\r\n${lines}\r\n`;
  return Buffer.concat([Buffer.from(head, "latin1"), body]);
}

/** Reads the head of an answer; its body is read from the connection as it is asked for. */
async function readResponse(socket: TLSSocket, signal: AbortSignal | undefined): Promise<Response> {
  const abort = () => socket.destroy(new Error("aborted"));
  signal?.addEventListener("abort", abort, { once: true });
  const chunks = socket[Symbol.asyncIterator]() as AsyncIterator<Uint8Array>;
  try {
    let text = Buffer.alloc(0);
    let end = -1;
    while (end === -1) {
      const { done, value } = await chunks.next();
      if (done) throw new Error("The connection was closed before the answer came");
      text = Buffer.concat([text, value]);
      end = text.indexOf("\r\n\r\n");
      if (end === -1 && text.length > MAX_HEAD_BYTES) throw new RangeError("The answer's head is too long");
    }
    const [statusLine, ...lines] = text.toString("latin1", 0, end).split("\r\n");
    const status = Number(/^HTTP\/1\.[01] ([2-5]\d\d)(?: |$)/.exec(statusLine!)?.[1]);
    if (Number.isNaN(status)) throw new Error("The answer is no HTTP");
    const headers = new Headers();
    for (const line of lines) {
      const colon = line.indexOf(":");
      if (colon > 0) headers.append(line.slice(0, colon), line.slice(colon + 1).trim());
    }
    const bodiless = status === 204 || status === 205 || status === 304;
    const stream = bodiless ? null : bodyOf(text.subarray(end + 4), chunks, headers, socket);
    if (bodiless) socket.destroy();
    return new Response(stream, { status, headers });
  } catch (error) {
    socket.destroy();
    signal?.throwIfAborted();
    throw error;
  }
}

/** The rest of the connection; an answer that breaks off is an error and no short answer. */
function bodyOf(
  first: Uint8Array,
  chunks: AsyncIterator<Uint8Array>,
  headers: Headers,
  socket: TLSSocket,
): ReadableStream<Uint8Array<ArrayBuffer>> {
  const length = headers.get("content-length");
  let left = length === null ? undefined : Number(length);
  if (headers.has("transfer-encoding")) left = NaN;
  const take = (controller: ReadableStreamDefaultController, bytes: Uint8Array) => {
    const part = left === undefined ? bytes : bytes.subarray(0, left);
    if (left !== undefined) left -= part.length;
    if (part.length > 0) controller.enqueue(new Uint8Array(part));
    if (left !== 0) return;
    controller.close();
    socket.destroy();
  };
  return new ReadableStream({
    start(controller) {
      if (left !== undefined && !(left >= 0)) {
        socket.destroy();
        controller.error(new Error("The answer has a form that HTTP/1.0 does not know"));
      } else take(controller, first);
    },
    async pull(controller) {
      const { done, value } = await chunks.next();
      if (!done) return take(controller, value);
      if (left === undefined) controller.close();
      else controller.error(new Error("The answer broke off"));
    },
    cancel() {
      socket.destroy();
    },
  });
}
