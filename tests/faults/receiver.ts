/** A LifeLog server that stores each event once, and can be ill in every way. */

import { type Answer, type Cut, type RawRequest, RawServer } from "./raw_server.ts";
import { contentKey } from "../fakes/content_key.ts";

/** An event as it came. */
export interface ReceivedEvent {
  readonly timestamp: string;
  readonly type: string;
  readonly data: { readonly title: unknown; readonly duration_seconds: number };
}

/** What the receiver does with one request: a number is a status, "lost" that it stores and then does not answer. */
export type Fault = number | "lost" | Answer | ((events: ReceivedEvent[]) => Answer | undefined);

export const TOKEN = "faults-token";

export class Receiver implements AsyncDisposable {
  readonly #events = new Map<string, ReceivedEvent>();
  #server: RawServer | undefined;
  #port = 0;
  readonly #tls: { cert: string; key: string } | undefined;
  /** What it does with each request while this is set; otherwise it stores and confirms. */
  fault: Fault | (() => Fault | undefined) | undefined;
  cut: () => Cut | undefined = () => undefined;
  /** Waited for before each answer. */
  rest: (() => Promise<unknown>) | undefined;
  /** When requests came in, and how many events each had. */
  readonly requests: { readonly atMs: number; readonly events: number }[] = [];
  /** Tokens that came with requests. */
  readonly tokens = new Set<string | null>();
  /** Events that came though they were stored already. */
  resent = 0;

  constructor(tls?: { cert: string; key: string }) {
    this.#tls = tls;
    this.start();
  }

  get endpoint(): string {
    return `${this.#tls === undefined ? "http" : "https"}://127.0.0.1:${this.#port}/api/v1/ingest`;
  }

  get events(): ReceivedEvent[] {
    return [...this.#events.values()];
  }

  start(): void {
    this.#server = new RawServer({
      port: this.#port,
      ...(this.#tls === undefined ? {} : { tls: this.#tls }),
      cut: () => this.cut(),
      answer: async (request) => {
        const answer = this.#answer(request);
        await this.rest?.();
        return answer;
      },
    });
    this.#port = this.#server.port;
  }

  async stop(): Promise<void> {
    await this.#server?.[Symbol.asyncDispose]();
    this.#server = undefined;
  }

  #answer(request: RawRequest): Answer {
    this.tokens.add(request.headers.get("authorization"));
    const { source_id, events } = JSON.parse(request.body) as { source_id: string; events: ReceivedEvent[] };
    this.requests.push({ atMs: performance.now(), events: events.length });
    let fault = typeof this.fault === "function" && this.fault.length === 0
      ? (this.fault as () => Fault | undefined)()
      : this.fault as Fault | undefined;
    if (typeof fault === "function") fault = fault(events);
    if (typeof fault === "number") return { status: fault, body: JSON.stringify({ detail: "ill" }) };
    if (typeof fault === "object" && fault !== null) return fault;
    if (request.headers.get("authorization") !== `Bearer ${TOKEN}`) {
      return { status: 401, body: JSON.stringify({ detail: "Not authenticated" }) };
    }
    for (const event of events) {
      const key = contentKey(event);
      if (this.#events.has(key)) this.resent++;
      this.#events.set(key, event);
    }
    if (fault === "lost") return { wire: "no-answer" };
    return {
      status: 200,
      body: JSON.stringify({ status: "success", source_id, received_events: events.length }),
    };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop();
  }
}
