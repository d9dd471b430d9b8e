import { createHandler, type Views } from "./handler.ts";

/** What {@link startWebServer} needs. */
export interface WebServerOptions extends Views {
  readonly token: string;
  /** The port; 0 for any that is free. */
  readonly port: number;
  readonly onError: (error: unknown) => void;
}

/** A server that listens. */
export interface WebServer extends AsyncDisposable {
  readonly port: number;
}

/** How long an answer under way may still take at the end, in milliseconds. */
const GRACE_MS = 1_000;

/**
 * Listens on 127.0.0.1 and on no other address, and answers as {@link createHandler} says. Disposing of it takes no
 * more requests and lets those under way end, for a second at most.
 * @throws {Error} when the port cannot be had
 */
export function startWebServer(options: WebServerOptions): WebServer {
  const { port, onError, ...views } = options;
  const controller = new AbortController();
  const handler = createHandler({ ...views, onError, port: () => server.addr.port });
  const server = Deno.serve({
    hostname: "127.0.0.1",
    port,
    signal: controller.signal,
    onListen() {},
    onError(error) {
      onError(error);
      return new Response(null, { status: 500 });
    },
  }, handler);
  return {
    port: server.addr.port,
    async [Symbol.asyncDispose]() {
      const timer = setTimeout(() => controller.abort(), GRACE_MS);
      try {
        await server.shutdown();
        await server.finished;
      } finally {
        clearTimeout(timer);
      }
    },
  };
}
