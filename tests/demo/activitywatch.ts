/** The ActivityWatch stand-in on a real socket, at an address that it keeps when it goes down and comes back. */

import { FakeActivityWatch } from "../fakes/activitywatch.ts";

/** Joins heartbeats and cuts events at the edges of what is asked for, as aw-server does. */
export class ActivityWatch extends FakeActivityWatch implements AsyncDisposable {
  #server: Deno.HttpServer<Deno.NetAddr> | undefined;
  #port = 0;

  constructor() {
    super();
    this.start();
  }

  get url(): URL {
    return new URL(`http://127.0.0.1:${this.#port}`);
  }

  /** Comes up with all that it stored. */
  start(): void {
    this.restart();
    this.#server = Deno.serve(
      { hostname: "127.0.0.1", port: this.#port, onListen() {} },
      (request) => this.answer(request),
    );
    this.#port = this.#server.addr.port;
  }

  async stop(): Promise<void> {
    const server = this.#server;
    this.#server = undefined;
    await server?.shutdown();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop();
  }
}
