import { sleep } from "../time.ts";
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
  const handle = createHandler({ ...views, onError, port: () => server.addr.port });
  const underWay = new Set<Promise<Response>>();
  let ending = false;
  const server = Deno.serve({
    hostname: "127.0.0.1",
    port,
    signal: controller.signal,
    onListen() {},
    onError(error) {
      onError(error);
      return new Response(null, { status: 500 });
    },
  }, (request) => {
    if (ending) return new Response(null, { status: 503, headers: { connection: "close" } });
    const answer = handle(request);
    underWay.add(answer);
    void answer.finally(() => underWay.delete(answer));
    return answer;
  });
  return {
    port: server.addr.port,
    async [Symbol.asyncDispose]() {
      ending = true;
      // Not `server.shutdown()`: it has no end while an answer hangs, and to abort it then throws past everybody.
      const grace = new AbortController();
      await Promise.race([
        Promise.allSettled(underWay),
        sleep(GRACE_MS, { signal: grace.signal }).catch(() => {}),
      ]);
      grace.abort();
      controller.abort();
      await server.finished;
    },
  };
}
