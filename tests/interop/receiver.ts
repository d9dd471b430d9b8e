/** A LifeLog server in this process: validates batches and stores them in SQLite, each event once, and can be ill. */

import { DatabaseSync } from "node:sqlite";
import type { StoredLifeLogEvent } from "./fidelity_table.ts";
import { contentKey } from "../fakes/content_key.ts";

/** What the server does with the requests that come. */
export type Health =
  /** Stores and answers. */
  | "well"
  /** Answers 503 and stores nothing. */
  | "sick"
  /** Stores, and answers nothing: the connection is cut or the answer is 504. */
  | "answers-lost";

const SCHEMA = `CREATE TABLE event (
  md5 TEXT PRIMARY KEY,
  source_id TEXT NOT NULL,
  timestamp TEXT NOT NULL,
  type TEXT NOT NULL,
  data TEXT NOT NULL CHECK (json_type(data) = 'object')
) STRICT`;
const TIME = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,6})?(Z|[+-]\d\d:\d\d)$/;

/** Removes duplicates by content as the LifeLog server does, and so shows every other way to store one twice. */
export class Receiver {
  readonly #server: Deno.HttpServer<Deno.NetAddr>;
  readonly #db: DatabaseSync;
  readonly #token: string;
  health: Health = "well";
  /** How many events came that it had already. Where no answer was lost, none should. */
  resent = 0;
  /** How many events and envelopes it could not accept. */
  invalid = 0;

  /** @param path where the events are stored. Default: in memory. */
  constructor(token: string, path = ":memory:") {
    this.#token = token;
    this.#db = new DatabaseSync(path);
    this.#db.exec(SCHEMA);
    this.#server = Deno.serve(
      { hostname: "127.0.0.1", port: 0, onListen() {} },
      (request) => this.#take(request),
    );
  }

  get endpoint(): string {
    return `http://127.0.0.1:${this.#server.addr.port}/api/v1/ingest`;
  }

  get events(): StoredLifeLogEvent[] {
    const rows = this.#db.prepare("SELECT timestamp, type, data FROM event").all();
    return rows.map(({ timestamp, type, data }) => ({
      timestamp: String(timestamp),
      type: String(type),
      data: JSON.parse(String(data)),
    }));
  }

  async #take(request: Request): Promise<Response> {
    const text = await request.text();
    if (this.health === "sick") return new Response("<h1>Service Unavailable</h1>", { status: 503 });
    if (request.headers.get("authorization") !== `Bearer ${this.#token}`) {
      return Response.json({ detail: "Not authenticated" }, { status: 401 });
    }
    const body = JSON.parse(text);
    const detail = faults(body);
    if (request.headers.get("content-type") !== "application/json") {
      detail.push(fault(["header", "content-type"]));
    }
    if (detail.length > 0) {
      this.invalid += detail.length;
      return Response.json({ detail }, { status: 422 });
    }
    const insert = this.#db.prepare("INSERT OR IGNORE INTO event VALUES (?, ?, ?, ?, ?)");
    this.#db.exec("BEGIN");
    for (const { timestamp, type, data } of body.events) {
      const md5 = contentKey({ timestamp, type, data });
      const { changes } = insert.run(md5, body.source_id, timestamp, type, JSON.stringify(data));
      if (changes === 0) this.resent++;
    }
    this.#db.exec("COMMIT");
    if (this.health === "answers-lost") return new Response("<h1>Gateway Timeout</h1>", { status: 504 });
    return Response.json({
      status: "success",
      source_id: body.source_id,
      received_events: body.events.length,
      ingestion_timestamp: new Date().toISOString(),
    });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#server.shutdown();
    this.#db.close();
  }
}

/** What does not validate, as the real server names it. */
function faults(body: Record<string, unknown>) {
  const found: ReturnType<typeof fault>[] = [];
  if (typeof body.source_id !== "string" || body.source_id === "") found.push(fault(["body", "source_id"]));
  if (!TIME.test(String(body.sent_at_timestamp_utc))) found.push(fault(["body", "sent_at_timestamp_utc"]));
  if (!Array.isArray(body.events)) return [...found, fault(["body", "events"])];
  for (const [index, { timestamp, type, data }] of body.events.entries()) {
    const at = (name: string) => found.push(fault(["body", "events", index, name]));
    if (!TIME.test(String(timestamp))) at("timestamp");
    if (typeof type !== "string") at("type");
    const isObject = typeof data === "object" && data !== null && !Array.isArray(data);
    // What the server's timeline reads.
    if (
      !isObject || !["app", "title", "url"].every((key) => key in data) ||
      typeof data.duration_seconds !== "number"
    ) {
      at("data");
    }
  }
  return found;
}

function fault(loc: (string | number)[]) {
  return { loc, msg: "Input is not valid", type: "value_error" };
}
