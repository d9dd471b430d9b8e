/** A LifeLog server in this process: stores what it is sent, once, and can be ill. */

import type { ReceivedEvent } from "./report.ts";
import { contentKey } from "../fakes/content_key.ts";

/** What the server may be told. */
export interface LifelogServerOptions {
  readonly token: string;
  readonly now: () => number;
  /** Confirms the event of this number, from 1, without storing it: a loss that the table must show. */
  readonly forget?: number | undefined;
}

/** Knows events by the MD5 of their JSON with sorted keys, as the LifeLog server does. */
export class LifelogServer implements AsyncDisposable {
  readonly #options: LifelogServerOptions;
  readonly #stored = new Map<string, ReceivedEvent>();
  #server: Deno.HttpServer<Deno.NetAddr> | undefined;
  #port = 0;
  #count = 0;
  /** Answers 503 and stores nothing. */
  sick = false;
  /** Stores the next batch, and breaks the connection off instead of answering. */
  losesNextAnswer = false;
  /** Events that came and were there already. */
  resent = 0;
  requests = 0;

  constructor(options: LifelogServerOptions) {
    this.#options = options;
    this.start();
  }

  get endpoint(): URL {
    return new URL(`http://127.0.0.1:${this.#port}/api/v1/ingest`);
  }

  get events(): ReceivedEvent[] {
    return [...this.#stored.values()];
  }

  start(): void {
    this.#server = Deno.serve(
      // A connection that is broken off on purpose is no fault to tell of.
      {
        hostname: "127.0.0.1",
        port: this.#port,
        onListen() {},
        onError: () => new Response(null, { status: 500 }),
      },
      (request) => this.#take(request),
    );
    this.#port = this.#server.addr.port;
  }

  async stop(): Promise<void> {
    const server = this.#server;
    this.#server = undefined;
    await server?.shutdown();
  }

  async #take(request: Request): Promise<Response> {
    this.requests++;
    const text = await request.text();
    if (this.sick) return new Response("<h1>Service Unavailable</h1>", { status: 503 });
    if (request.headers.get("authorization") !== `Bearer ${this.#options.token}`) {
      return Response.json({ detail: "Not authenticated" }, { status: 401 });
    }
    const { source_id, events } = JSON.parse(text) as { source_id: string; events: ReceivedEvent[] };
    for (const { timestamp, type, data } of events) {
      const key = contentKey({ timestamp, type, data });
      if (this.#stored.has(key)) {
        this.resent++;
        continue;
      }
      this.#count++;
      if (this.#count !== this.#options.forget) this.#stored.set(key, { timestamp, type, data });
    }
    if (this.losesNextAnswer) {
      this.losesNextAnswer = false;
      const broken = new ReadableStream({ pull: (controller) => controller.error(new Error("Broken off")) });
      return new Response(broken, { headers: { "content-type": "application/json" } });
    }
    const ingestion_timestamp = new Date(this.#options.now()).toISOString();
    return Response.json({
      status: "success",
      source_id,
      received_events: events.length,
      ingestion_timestamp,
    });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop();
  }
}
