/** A LifeLog server in this process: takes batches and stores them, and can be ill. */

import { createHash } from "node:crypto";
import type { StoredLifeLogEvent } from "./fidelity_table.ts";

/** What the server does with the requests that come. */
export type Health =
  /** Stores and answers. */
  | "well"
  /** Answers 503 and stores nothing. */
  | "sick"
  /** Stores, and answers nothing: the connection is cut or the answer is 504. */
  | "answers-lost";

/** Removes duplicates by content as the LifeLog server does, and so shows every other way to store one twice. */
export class Receiver {
  readonly #server: Deno.HttpServer<Deno.NetAddr>;
  readonly #events = new Map<string, StoredLifeLogEvent>();
  readonly #token: string;
  health: Health = "well";
  /** How many events came that it had already. Where no answer was lost, none should. */
  resent = 0;

  constructor(token: string) {
    this.#token = token;
    this.#server = Deno.serve(
      { hostname: "127.0.0.1", port: 0, onListen() {} },
      (request) => this.#take(request),
    );
  }

  get endpoint(): string {
    return `http://127.0.0.1:${this.#server.addr.port}/api/v1/ingest`;
  }

  get events(): StoredLifeLogEvent[] {
    return [...this.#events.values()];
  }

  async #take(request: Request): Promise<Response> {
    const text = await request.text();
    if (this.health === "sick") return new Response("<h1>Service Unavailable</h1>", { status: 503 });
    if (request.headers.get("authorization") !== `Bearer ${this.#token}`) {
      return Response.json({ detail: "Not authenticated" }, { status: 401 });
    }
    const { source_id, events } = JSON.parse(text);
    for (const [index, { timestamp, type, data }] of events.entries()) {
      const well = typeof type === "string" && typeof data === "object" && data !== null &&
        !Array.isArray(data) &&
        !Number.isNaN(Date.parse(timestamp));
      if (!well) {
        const detail = [{ loc: ["body", "events", index], msg: "Input is not valid", type: "value_error" }];
        return Response.json({ detail }, { status: 422 });
      }
    }
    for (const { timestamp, type, data } of events) {
      const key = createHash("md5").update(JSON.stringify(sorted({ timestamp, type, data }))).digest("hex");
      if (this.#events.has(key)) this.resent++;
      this.#events.set(key, { timestamp, type, data });
    }
    if (this.health === "answers-lost") return new Response("<h1>Gateway Timeout</h1>", { status: 504 });
    const ingestion_timestamp = new Date().toISOString();
    return Response.json({
      status: "success",
      source_id,
      received_events: events.length,
      ingestion_timestamp,
    });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#server.shutdown();
  }
}

function sorted(value: unknown): unknown {
  if (typeof value !== "object" || value === null) return value;
  if (Array.isArray(value)) return value.map(sorted);
  return Object.fromEntries(
    Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1)).map(([k, v]) => [k, sorted(v)]),
  );
}
