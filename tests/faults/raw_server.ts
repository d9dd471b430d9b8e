/** An HTTP server on bare sockets, so that it can break off wherever it likes. */

/** A request that has come in as far as it was read. */
export interface RawRequest {
  readonly method: string;
  readonly path: string;
  readonly url: URL;
  readonly headers: Headers;
  readonly body: string;
}

/** What the server does with a request. */
export type Answer =
  /** Answers in good order. */
  | { readonly status: number; readonly headers?: Record<string, string>; readonly body?: string }
  /** Answers with less than it announced, and breaks off. */
  | { readonly wire: "half-answer"; readonly body: string }
  /** Closes without an answer. */
  | { readonly wire: "no-answer" }
  /** Sends the head of an answer, and then a byte now and then, for ever. */
  | { readonly wire: "slow-answer" }
  /** Takes the request and says nothing, for ever. */
  | { readonly wire: "silence" }
  /** Sends what is no HTTP. */
  | { readonly wire: "rubbish" };

/** Where a request is cut off before it can be answered. */
export type Cut = "at-connect" | "before-body" | "in-body";

/** What the server is made of. */
export interface RawServerOptions {
  readonly answer: (request: RawRequest) => Answer | Promise<Answer>;
  /** Tells whether the next request is cut off, and where. */
  readonly cut?: () => Cut | undefined;
  readonly port?: number;
  readonly tls?: { readonly cert: string; readonly key: string };
}

const CRLF2 = "\r\n\r\n";

/** Listens on 127.0.0.1 until it is disposed of. */
export class RawServer implements AsyncDisposable {
  readonly #options: RawServerOptions;
  readonly #listener: Deno.Listener;
  readonly #connections = new Set<Deno.Conn>();
  readonly #running: Promise<void>;
  #stopped = false;

  constructor(options: RawServerOptions) {
    this.#options = options;
    const address = { hostname: "127.0.0.1", port: options.port ?? 0 };
    this.#listener = options.tls === undefined
      ? Deno.listen(address)
      : Deno.listenTls({ ...address, ...options.tls });
    this.#running = this.#accept();
  }

  get port(): number {
    return (this.#listener.addr as Deno.NetAddr).port;
  }

  async #accept(): Promise<void> {
    const tasks: Promise<void>[] = [];
    while (!this.#stopped) {
      let connection: Deno.Conn;
      try {
        connection = await this.#listener.accept();
      } catch (error) {
        // A client that breaks a TLS handshake off makes accept() throw.
        if (this.#stopped || error instanceof Deno.errors.BadResource) break;
        continue;
      }
      this.#connections.add(connection);
      tasks.push(this.#serve(connection).catch(() => {}).finally(() => this.#close(connection)));
    }
    await Promise.all(tasks);
  }

  #close(connection: Deno.Conn): void {
    if (!this.#connections.delete(connection)) return;
    try {
      connection.close();
    } catch { /* the other side was quicker */ }
  }

  async #serve(connection: Deno.Conn): Promise<void> {
    let buffer = new Uint8Array(0);
    const decoder = new TextDecoder();
    const more = async () => {
      const chunk = new Uint8Array(64 * 1024);
      const read = await connection.read(chunk);
      if (read === null) return false;
      const joined = new Uint8Array(buffer.length + read);
      joined.set(buffer);
      joined.set(chunk.subarray(0, read), buffer.length);
      buffer = joined;
      return true;
    };
    for (;;) {
      const cut = this.#options.cut?.();
      if (cut === "at-connect") return;
      let end: number;
      while ((end = decoder.decode(buffer).indexOf(CRLF2)) === -1) {
        if (!await more()) return;
        // A TLS client says hello to a server that speaks none.
        if (buffer[0] === 0x16) return void await this.#send(connection, { status: 400 });
      }
      const [first = "", ...lines] = decoder.decode(buffer.subarray(0, end)).split("\r\n");
      const [method = "", path = ""] = first.split(" ");
      const headers = new Headers(
        lines.map((line): [string, string] => {
          const colon = line.indexOf(":");
          return [line.slice(0, colon), line.slice(colon + 1).trim()];
        }),
      );
      buffer = buffer.subarray(end + CRLF2.length);
      const length = Number(headers.get("content-length") ?? 0);
      // Closing what was not read to its end sends a reset.
      if (cut === "before-body") return;
      while (buffer.length < (cut === "in-body" ? length / 2 : length)) if (!await more()) return;
      if (cut === "in-body") return;
      const body = decoder.decode(buffer.subarray(0, length));
      buffer = buffer.subarray(length);
      const url = new URL(path, "http://127.0.0.1");
      const answer = await this.#options.answer({ method, path, url, headers, body });
      if (!await this.#send(connection, answer)) return;
    }
  }

  /** Returns whether the connection can be used on. */
  async #send(connection: Deno.Conn, answer: Answer): Promise<boolean> {
    const encoder = new TextEncoder();
    const write = async (text: string) => {
      const bytes = encoder.encode(text);
      for (let at = 0; at < bytes.length;) at += await connection.write(bytes.subarray(at));
    };
    if (!("wire" in answer)) {
      const { status, headers = {}, body = "" } = answer;
      const lines = Object.entries({
        "content-type": "application/json",
        ...headers,
        "content-length": encoder.encode(body).length,
      }).map(([name, value]) => `${name}: ${value}\r\n`).join("");
      await write(`HTTP/1.1 ${status} X\r\n${lines}\r\n${body}`);
      return true;
    }
    switch (answer.wire) {
      case "no-answer":
        return false;
      case "rubbish":
        await write("I speak another language\r\n\r\n");
        return false;
      case "half-answer":
        await write(
          `HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: ${
            answer.body.length + 100
          }\r\n\r\n${answer.body}`,
        );
        return false;
      case "silence":
        // Until the client goes.
        while (await connection.read(new Uint8Array(1024)) !== null);
        return false;
      case "slow-answer":
        await write("HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 100000\r\n\r\n");
        while (!this.#stopped) {
          await write(" ");
          await new Promise((resolve) => setTimeout(resolve, 50));
        }
        return false;
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stopped = true;
    this.#listener.close();
    for (const connection of [...this.#connections]) this.#close(connection);
    await this.#running;
  }
}
