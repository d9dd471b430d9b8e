/**
 * Watchers that record a day as ActivityWatch's own do: window once a second, afk every 5 s, web at each change of the
 * page and once a minute. The first two have aw-client's queue, which joins heartbeats for up to 10 s before it
 * sends them and keeps them while the server is down; a browser has none and loses them.
 */

import { DAY, type Stretch } from "./day.ts";

/** A heartbeat as it is sent to the server. */
export interface Heartbeat {
  readonly bucketId: string;
  readonly startMs: number;
  readonly durationSeconds: number;
  readonly data: Record<string, unknown>;
  readonly pulsetimeSeconds: number;
}

/** Sends one heartbeat; `false` when the server is down. */
export type SendHeartbeat = (heartbeat: Heartbeat) => Promise<boolean>;

/** The buckets that the watchers write to. */
export interface WatchedBuckets {
  readonly window: string;
  readonly afk: string;
  readonly web: string;
}

const COMMIT_MS = 10_000;
/** How many heartbeats a client sends in a second when many wait: the agent reads while they still come in. */
const AT_ONCE = 2;
const AFK_TIMEOUT_S = 180;

/** All three watchers. */
export class Watchers {
  readonly #day: readonly Stretch[];
  readonly #midnightMs: number;
  readonly #buckets: WatchedBuckets;
  readonly #send: SendHeartbeat;
  readonly #queues: { window: ClientQueue; afk: ClientQueue };
  #at = 0;
  #lastInputMs = 0;
  #afk = false;
  #lastPage: string | undefined;
  #lastPageMs = 0;
  /** Heartbeats that the browser could not send, and that nobody kept. */
  droppedByBrowser = 0;

  constructor(day: readonly Stretch[], midnightMs: number, buckets: WatchedBuckets, send: SendHeartbeat) {
    this.#day = day;
    this.#midnightMs = midnightMs;
    this.#buckets = buckets;
    this.#send = send;
    this.#queues = { window: new ClientQueue(send), afk: new ClientQueue(send) };
  }

  /** How many heartbeats wait for the server to come back. */
  get queued(): number {
    return this.#queues.window.length + this.#queues.afk.length;
  }

  /** Lives through one second of the day. */
  async second(nowMs: number): Promise<void> {
    const s = (nowMs - this.#midnightMs) / 1000;
    if (s < DAY.fromS || s >= DAY.toS) return;
    while (this.#day[this.#at]!.toS <= s) this.#at++;
    const { screen, away = false } = this.#day[this.#at]!;
    // The watcher's poll is never quite on the second.
    const pollMs = nowMs + (s * 37) % 90;

    await this.#queues.window.add({
      bucketId: this.#buckets.window,
      startMs: pollMs,
      durationSeconds: 0,
      data: { app: screen.app, title: screen.title },
      pulsetimeSeconds: 2,
    });
    if (!away) this.#lastInputMs = nowMs;
    if (s % 5 === 0) await this.#watchAfk(nowMs);
    await this.#watchWeb(nowMs, away ? undefined : screen);
  }

  /** Sends all that waits, as when the watchers end. */
  async flush(): Promise<void> {
    await this.#queues.window.flush();
    await this.#queues.afk.flush();
  }

  async #watchAfk(nowMs: number): Promise<void> {
    const sinceS = (nowMs - this.#lastInputMs) / 1000;
    const ping = (startMs: number, durationSeconds: number) =>
      this.#queues.afk.add({
        bucketId: this.#buckets.afk,
        startMs,
        durationSeconds,
        data: { status: this.#afk ? "afk" : "not-afk" },
        pulsetimeSeconds: AFK_TIMEOUT_S + 5,
      });
    if (this.#afk && sinceS < AFK_TIMEOUT_S) {
      await ping(this.#lastInputMs, 0);
      this.#afk = false;
      await ping(this.#lastInputMs + 1, 0);
    } else if (!this.#afk && sinceS >= AFK_TIMEOUT_S) {
      await ping(this.#lastInputMs, 0);
      this.#afk = true;
      await ping(this.#lastInputMs + 1, sinceS);
    } else {
      await ping(this.#afk ? this.#lastInputMs + 1 : this.#lastInputMs, this.#afk ? sinceS : 0);
    }
  }

  async #watchWeb(nowMs: number, screen: Stretch["screen"] | undefined): Promise<void> {
    if (screen?.url === undefined) {
      this.#lastPage = undefined;
      return;
    }
    if (this.#lastPage === screen.url && nowMs - this.#lastPageMs < 60_000) return;
    const sent = await this.#send({
      bucketId: this.#buckets.web,
      startMs: nowMs + 211,
      durationSeconds: 0,
      data: {
        url: screen.url,
        title: screen.title.replace(" — Mozilla Firefox", ""),
        audible: false,
        incognito: false,
        tabCount: 7,
      },
      pulsetimeSeconds: 80,
    });
    if (!sent) this.droppedByBrowser++;
    this.#lastPage = screen.url;
    this.#lastPageMs = nowMs;
  }
}

/** aw-client's queue: joins equal heartbeats, and sends in order. */
class ClientQueue {
  readonly #send: SendHeartbeat;
  readonly #waiting: Heartbeat[] = [];
  #joined: Heartbeat | undefined;

  constructor(send: SendHeartbeat) {
    this.#send = send;
  }

  get length(): number {
    return this.#waiting.length;
  }

  async add(beat: Heartbeat): Promise<void> {
    const joined = this.#joined === undefined ? undefined : join(this.#joined, beat);
    if (joined === undefined) {
      if (this.#joined !== undefined) this.#waiting.push(this.#joined);
      this.#joined = beat;
    } else if (joined.durationSeconds * 1000 >= COMMIT_MS) {
      this.#waiting.push(joined);
      this.#joined = beat;
    } else {
      this.#joined = joined;
    }
    await this.#drain(AT_ONCE);
  }

  async flush(): Promise<void> {
    if (this.#joined !== undefined) this.#waiting.push(this.#joined);
    this.#joined = undefined;
    await this.#drain(Infinity);
  }

  async #drain(most: number): Promise<void> {
    for (let sent = 0; sent < most && this.#waiting.length > 0; sent++) {
      if (!await this.#send(this.#waiting[0]!)) return;
      this.#waiting.shift();
    }
  }
}

function join(last: Heartbeat, beat: Heartbeat): Heartbeat | undefined {
  if (JSON.stringify(last.data) !== JSON.stringify(beat.data)) return undefined;
  const lastEndMs = last.startMs + last.durationSeconds * 1000;
  if (beat.startMs > lastEndMs + last.pulsetimeSeconds * 1000 || beat.startMs < last.startMs) {
    return undefined;
  }
  const endMs = Math.max(lastEndMs, beat.startMs + beat.durationSeconds * 1000);
  return { ...last, durationSeconds: (endMs - last.startMs) / 1000 };
}
