/** A LifeLog server in this process: validates, removes duplicates by content as the real one does, and can be ill. */

import type { StoredLifeLogEvent } from "../interop/fidelity_table.ts";
import { contentKey } from "./content_key.ts";

/** What the server does with the requests that come. */
export type Health =
  /** Stores and answers. */
  | "well"
  /** Answers 503 and stores nothing. */
  | "sick"
  /** Takes no connection. */
  | "down"
  /** Stores, and its answer is lost. */
  | "answers-lost"
  /** Stores nothing and asks to be left alone for two minutes. */
  | "busy"
  /** A proxy before it does not know the token. */
  | "refuses";

/** Knows events by the MD5 of their JSON with sorted keys, as the LifeLog server does. */
export class FakeLifelogServer {
  readonly #token: string;
  readonly #stored = new Map<string, { event: StoredLifeLogEvent; text: string }>();
  health: Health = "well";
  requests = 0;
  /** Events that came and were there already. */
  resent = 0;
  /** Events that came again in other bytes; none ever should. */
  resentOtherwise = 0;
  /** Events that the server could not accept. */
  rejected = 0;

  constructor(token: string) {
    this.#token = token;
  }

  get events(): StoredLifeLogEvent[] {
    return [...this.#stored.values()].map(({ event }) => event);
  }

  /**
   * Answers a request to the ingestion URL.
   * @throws {TypeError} as `fetch` does, where the connection fails
   */
  async answer(request: Request): Promise<Response> {
    this.requests++;
    const text = await request.text();
    if (this.health === "down") throw new TypeError("Connection refused");
    if (this.health === "sick") return new Response("<h1>Service Unavailable</h1>", { status: 503 });
    if (this.health === "busy") return new Response(null, { status: 429, headers: { "retry-after": "120" } });
    if (this.health === "refuses" || request.headers.get("authorization") !== `Bearer ${this.#token}`) {
      return Response.json({ detail: "Not authenticated" }, { status: 401 });
    }
    const { source_id, events } = JSON.parse(text) as { source_id: string; events: StoredLifeLogEvent[] };
    if (source_id === undefined || !Array.isArray(events)) {
      return Response.json(
        { detail: [{ loc: ["body", "source_id"], msg: "Field required", type: "missing" }] },
        { status: 422 },
      );
    }
    const texts = eventTexts(text);
    if (texts.length !== events.length) throw new Error("The texts of the events could not be told apart");
    const detail = events.flatMap(({ timestamp, type, data }, index) => {
      const valid = typeof type === "string" && typeof data === "object" && data !== null &&
        !Array.isArray(data) &&
        !Number.isNaN(Date.parse(timestamp)) && /(Z|[+-]\d\d:\d\d)$/.test(timestamp) &&
        ["app", "title", "url", "duration_seconds"].every((key) => key in data);
      return valid
        ? []
        : [{ loc: ["body", "events", index], msg: "Input is not valid", type: "value_error" }];
    });
    if (detail.length > 0) {
      this.rejected += detail.length;
      return Response.json({ detail }, { status: 422 });
    }
    events.forEach(({ timestamp, type, data }, index) => {
      const key = contentKey({ timestamp, type, data });
      const known = this.#stored.get(key);
      if (known === undefined) {
        this.#stored.set(key, { event: { timestamp, type, data }, text: texts[index]! });
      } else {
        this.resent++;
        if (known.text !== texts[index]) this.resentOtherwise++;
      }
    });
    if (this.health === "answers-lost") throw new TypeError("Connection reset by peer");
    return Response.json({
      status: "success",
      source_id,
      received_events: events.length,
      ingestion_timestamp: new Date(0).toISOString(),
    });
  }
}

/** Takes a request's body apart into the texts of its events, as they were sent. */
function eventTexts(body: string): string[] {
  const texts: string[] = [];
  let depth = 0, from = 0, inString = false;
  for (let at = body.indexOf('"events":[') + 10; at < body.length; at++) {
    const char = body[at];
    if (inString) {
      if (char === "\\") at++;
      else if (char === '"') inString = false;
    } else if (char === '"') inString = true;
    else if (char === "{" && depth++ === 0) from = at;
    else if (char === "}" && --depth === 0) texts.push(body.slice(from, at + 1));
    else if (char === "]" && depth === 0) break;
  }
  return texts;
}
