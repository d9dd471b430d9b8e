/** An ActivityWatch that holds what it is given, cuts events as aw-server does, and can be ill in every way. */

import { type Answer, type Cut, type RawRequest, RawServer } from "./raw_server.ts";

/** An event as ActivityWatch stores it. */
export interface StoredEvent {
  readonly id: number;
  readonly startMs: number;
  durationSeconds: number;
  readonly data: unknown;
}

export interface StoredBucket {
  readonly type: string;
  created: string;
  events: StoredEvent[];
}

const HOST = "laptop";

export class ActivityWatch implements AsyncDisposable {
  readonly buckets = new Map<string, StoredBucket>();
  /** Answers in place of the server, where it returns something. */
  instead: (request: RawRequest) => Answer | undefined | Promise<Answer | undefined | void> = () => undefined;
  cut: () => Cut | undefined = () => undefined;
  requests = 0;
  #server: RawServer | undefined;
  #port = 0;
  #nextId = 1;

  constructor() {
    this.start();
  }

  get url(): string {
    return `http://127.0.0.1:${this.#port}`;
  }

  start(): void {
    this.#server = new RawServer({
      port: this.#port,
      cut: () => this.cut(),
      answer: async (request) => {
        this.requests++;
        return await this.instead(request) ?? this.#answer(request);
      },
    });
    this.#port = this.#server.port;
  }

  async stop(): Promise<void> {
    await this.#server?.[Symbol.asyncDispose]();
    this.#server = undefined;
  }

  addBucket(id: string, type: string): StoredBucket {
    const bucket = { type, created: new Date().toISOString(), events: [] };
    this.buckets.set(id, bucket);
    return bucket;
  }

  add(bucketId: string, startMs: number, durationSeconds: number, data: unknown): StoredEvent {
    const event = { id: this.#nextId++, startMs, durationSeconds, data };
    this.buckets.get(bucketId)!.events.push(event);
    return event;
  }

  /** Gives ids out anew from 1, as aw-server does after its database was made anew. */
  forgetIds(): void {
    this.#nextId = 1;
  }

  #answer({ url: { pathname, searchParams } }: RawRequest): Answer {
    const json = (value: unknown, status = 200): Answer => ({ status, body: JSON.stringify(value) });
    if (pathname === "/api/0/info") return json({ hostname: HOST, version: "v0.13.2", testing: false });
    if (pathname === "/api/0/buckets/") {
      return json(Object.fromEntries(
        [...this.buckets].map(([id, { type, created }]) => [id, { id, type, created, hostname: HOST }]),
      ));
    }
    const [, id = "", item] = /^\/api\/0\/buckets\/([^/]+)\/events(?:\/(\d+))?$/.exec(pathname) ?? [];
    const bucket = this.buckets.get(decodeURIComponent(id));
    if (bucket === undefined) return json({ message: "There is no such bucket" }, 404);
    const render = ({ id, data }: StoredEvent, startMs: number, duration: number) => ({
      id,
      timestamp: new Date(startMs).toISOString().replace("Z", "000+00:00"),
      duration,
      data,
    });
    if (item !== undefined) {
      const event = bucket.events.find((event) => event.id === Number(item));
      return event === undefined
        ? json(null, 404)
        : json(render(event, event.startMs, event.durationSeconds));
    }
    const startMs = Date.parse(searchParams.get("start") ?? "1970-01-01T00:00:00Z");
    const endMs = Date.parse(searchParams.get("end") ?? "9999-01-01T00:00:00Z");
    const endOf = (event: StoredEvent) => event.startMs + event.durationSeconds * 1000;
    const rows = bucket.events.filter((event) => event.startMs <= endMs && endOf(event) >= startMs);
    rows.sort((a, b) => b.startMs - a.startMs);
    const limit = Number(searchParams.get("limit") ?? rows.length);
    return json(
      rows.slice(0, limit).map((event) => {
        const fromMs = Math.max(event.startMs, startMs);
        const whole = fromMs === event.startMs && endOf(event) <= endMs;
        const cutMs = Math.max(1, Math.min(endOf(event), endMs) - fromMs);
        return render(event, fromMs, whole ? event.durationSeconds : cutMs / 1000);
      }),
    );
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop();
  }
}
