import assert from "node:assert/strict";
import { createCollector } from "../lib/collector.ts";
import { createDeliverer } from "../lib/deliverer.ts";
import { SourceError } from "../lib/errors.ts";
import type { ActivityEvent, Bucket, RelatedSource, SendResult, Source } from "../lib/event.ts";
import { createPolicy } from "../lib/filters/privacy.ts";
import type { PresetName } from "../lib/filters/presets.ts";
import { readRules, type RuleText } from "../lib/filters/rule.ts";
import { createRejudge } from "../lib/rejudge.ts";
import { openDatabase } from "../lib/store/database.ts";
import { listDeadLetters, retryDeadLetters } from "../lib/store/dead_letters.ts";
import { deadLetterCount, outboxDepth } from "../lib/store/outbox.ts";
import { adoptRules, isHeldByRules } from "../lib/store/rules.ts";
import { textsOf } from "./fakes/entries.ts";

const S = 1_000_000;
const NOW_MS = 1_800_000_000_000;
const WINDOW: Bucket = { id: "aw-watcher-window_h", type: "currentwindow", hostname: "h", created: "1" };
const WEB: Bucket = { id: "aw-watcher-web-firefox_h", type: "web.tab.current", hostname: "h", created: "1" };

/** An event so many seconds before now. */
function ago(seconds: number, durationSeconds: number, data: unknown): ActivityEvent {
  return { startUs: (NOW_MS / 1000 - seconds) * S, durationSeconds, data };
}

/** A device with the agent's own parts on a real cache, whose ActivityWatch and server do as they are told. */
class Device implements Disposable {
  readonly db = openDatabase(":memory:");
  readonly buckets = new Map<Bucket, ActivityEvent[]>([[WINDOW, []], [WEB, []]]);
  readonly sent: string[] = [];
  readonly has = new Set<string>();
  answer: (bodies: string[]) => SendResult = () => ({ kind: "delivered" });
  down = false;
  #rules: { preset: PresetName; own: RuleText[] } = { preset: "full", own: [] };

  readonly #source: Source & RelatedSource = {
    buckets: () => Promise.resolve([...this.buckets.keys()]),
    newestStartUs: (bucket) => Promise.resolve(this.#events(bucket).at(-1)?.startUs),
    pages: (bucket, fromUs, toUs) => this.#pages(bucket, fromUs, toUs),
    during: (bucket, fromUs, toUs) =>
      Promise.resolve().then(() =>
        this.#events(bucket).filter((event) =>
          event.startUs <= toUs && event.startUs + event.durationSeconds * S >= fromUs
        )
      ),
  };

  #events({ id }: Bucket): ActivityEvent[] {
    if (this.down) throw new SourceError("down");
    const [, events] = [...this.buckets].find(([bucket]) => bucket.id === id)!;
    return events.toSorted((a, b) => a.startUs - b.startUs);
  }

  async *#pages(bucket: Bucket, fromUs: number, toUs: number) {
    const within = this.#events(bucket).filter(({ startUs }) => startUs >= fromUs && startUs < toUs);
    yield await Promise.resolve({ fromUs, toUs, events: within });
  }

  rules(preset: PresetName, own: RuleText[] = []): void {
    this.#rules = { preset, own };
  }

  /** The parts as they are made at a start with the rules of now. */
  #parts() {
    const { preset, own } = this.#rules;
    const policy = createPolicy({ preset, own: readRules(own, "test"), hashKey: () => new Uint8Array(32) });
    const rules = adoptRules(this.db, policy.fingerprint);
    const privacy = { policy, rules, related: this.#source };
    const now = () => NOW_MS;
    const { db } = this;
    const collector = createCollector({
      db,
      source: this.#source,
      filters: [],
      privacy,
      collectFromUs: (NOW_MS / 1000 - 86_400) * S,
      trustAge: true,
      now,
    });
    const deliverer = createDeliverer({
      db,
      rules,
      maxRetries: 0,
      sink: {
        send: (batch) => {
          const bodies = textsOf(batch);
          this.sent.push(...bodies);
          const result = this.answer(bodies);
          if (result.kind === "delivered") bodies.forEach((body) => this.has.add(body));
          return Promise.resolve(result);
        },
      },
    });
    return { collector, deliverer, rejudge: createRejudge({ db, source: this.#source, privacy, now }) };
  }

  async collect() {
    const { collector } = this.#parts();
    let cached = 0;
    for (const bucket of this.buckets.keys()) {
      cached += (await collector.collect(bucket, { buckets: [...this.buckets.keys()] })).cached;
    }
    return cached;
  }

  rejudge(signal?: AbortSignal) {
    return this.#parts().rejudge([...this.buckets.keys()], signal ? { signal } : {});
  }

  deliver() {
    return this.#parts().deliverer.drain();
  }

  /** The titles that the server has. */
  titles(): unknown[] {
    return [...this.has].map((body) => JSON.parse(body).data.title).sort();
  }

  [Symbol.dispose](): void {
    this.db[Symbol.dispose]();
  }
}

const page = (title: string, more = {}) => ({ title, url: `https://a.example/${title}?q=1`, ...more });
const firefox = (title: string) => ({ app: "Firefox", title: `${title} — Mozilla Firefox` });

Deno.test("collect() drops a private page and the window that shows it, and never takes them for new again", async () => {
  using device = new Device();
  device.rules("standard");
  device.buckets.get(WEB)!.push(
    ago(900, 60, page("private", { incognito: true })),
    ago(840, 60, page("open")),
  );
  device.buckets.get(WINDOW)!.push(ago(899, 60, firefox("private")), ago(839, 60, firefox("open")));
  assert.equal(await device.collect(), 2);
  assert.equal(await device.collect(), 0);
  // Loosened rules do not bring back what was dropped.
  device.rules("full");
  assert.equal(await device.collect(), 0);
  await device.rejudge();
  await device.deliver();
  assert.deepEqual(device.titles(), ["open", "open — Mozilla Firefox"]);
  assert.ok(!device.sent.join().includes("private"));
});

Deno.test("collect() lets a browser's window wait until its web bucket is known up to its end, but not for ever", async () => {
  using device = new Device();
  device.rules("standard");
  const windows = device.buckets.get(WINDOW)!;
  windows.push(ago(200, 20, { app: "Code", title: "before" }), ago(180, 60, firefox("page")));
  windows.push(ago(120, 60, { app: "Code", title: "after" }), ago(60, 60, { app: "Code", title: "newest" }));
  device.buckets.get(WEB)!.push(ago(400, 10, page("old")));
  assert.equal(await device.collect(), 2);
  // The page's heartbeat arrives, and it is private.
  device.buckets.get(WEB)!.push(ago(180, 70, page("page", { incognito: true })));
  await device.collect();
  await device.deliver();
  assert.deepEqual(device.titles(), ["after", "before", "old"]);
  // Five minutes after its end the window no longer waits.
  using other = new Device();
  other.rules("standard");
  other.buckets.get(WINDOW)!.push(ago(400, 60, firefox("page")), ago(340, 10, { app: "Code", title: "t" }));
  other.buckets.get(WEB)!.push(ago(4000, 10, page("old")));
  assert.equal(await other.collect(), 3);
});

Deno.test("collect() takes back what waits when the page beside it arrives late", async () => {
  using device = new Device();
  device.rules("standard");
  device.buckets.get(WINDOW)!.push(ago(500, 60, firefox("page")), ago(440, 60, { app: "Code", title: "t" }));
  await device.collect();
  assert.equal(outboxDepth(device.db), 2);
  device.buckets.get(WEB)!.push(ago(500, 60, page("page", { incognito: true })));
  await device.collect();
  await device.deliver();
  assert.deepEqual(device.titles(), ["t"]);
});

Deno.test("collect() keeps nothing of a page of events when what stands beside them cannot be read", async () => {
  using device = new Device();
  device.rules("standard");
  device.buckets.get(WINDOW)!.push(ago(900, 60, firefox("x")), ago(800, 60, firefox("y")));
  const web = device.buckets.get(WEB)!;
  Object.defineProperty(web, "toSorted", {
    value: () => {
      throw new SourceError("down");
    },
  });
  await assert.rejects(device.collect(), SourceError);
  assert.equal(outboxDepth(device.db), 0);
});

Deno.test("what waits when the rules change is judged again before it leaves, and is not taken for new", async () => {
  using device = new Device();
  device.buckets.get(WEB)!.push(
    ago(900, 60, page("one")),
    ago(840, 60, page("secret")),
    ago(780, 60, page("two")),
  );
  device.buckets.get(WINDOW)!.push(
    ago(839, 58, firefox("secret")),
    ago(700, 60, { app: "Code", title: "c" }),
  );
  assert.equal(await device.collect(), 5);
  device.rules("standard", [{ url: "*secret*", action: "drop" }]);
  // Until then nothing leaves.
  assert.equal((await device.deliver()).requests, 0);
  assert.deepEqual(await device.rejudge(), {
    same: 1,
    changed: 2,
    dropped: 2,
    withheld: 0,
    gone: 0,
    undecided: 0,
  });
  assert.equal(await device.rejudge(), undefined);
  assert.equal(await device.collect(), 0);
  await device.deliver();
  assert.deepEqual(device.titles(), ["c", "one", "two"]);
  assert.ok(!device.sent.join().includes("secret") && !device.sent.join().includes("?q"));
});

Deno.test("loosened rules give what waits its full form back", async () => {
  using device = new Device();
  device.rules("full", [{ action: "redact" }]);
  device.buckets.get(WEB)!.push(ago(900, 60, page("one")));
  await device.collect();
  device.rules("full");
  assert.equal((await device.rejudge())?.changed, 1);
  await device.deliver();
  assert.deepEqual(device.titles(), ["one"]);
});

Deno.test("what may have been sent is sent again the same to the byte, or not at all", async () => {
  using device = new Device();
  device.buckets.get(WEB)!.push(ago(900, 60, page("one")), ago(840, 60, page("two")));
  device.buckets.get(WINDOW)!.push(ago(900, 60, { app: "Code", title: "c" }));
  await device.collect();
  device.answer = (bodies) => {
    // The server takes it, and the answer is lost.
    bodies.forEach((body) => device.has.add(body));
    return { kind: "retry", reason: "the connection broke off" };
  };
  await device.deliver();
  const before = [...device.has];
  assert.equal(before.length, 3);
  device.rules("standard", [{ title: "two", action: "drop" }]);
  assert.deepEqual(await device.rejudge(), {
    same: 1,
    changed: 0,
    dropped: 0,
    withheld: 2,
    gone: 0,
    undecided: 0,
  });
  device.answer = () => ({ kind: "delivered" });
  await device.deliver();
  await device.collect();
  await device.deliver();
  assert.deepEqual([...device.has], before);
  assert.equal(outboxDepth(device.db), 0);
});

Deno.test("what was sent in a redacted form is sent again in it when the rules are loosened", async () => {
  using device = new Device();
  device.rules("full", [{ action: "redact" }]);
  device.buckets.get(WEB)!.push(ago(900, 60, page("one")));
  await device.collect();
  device.answer = () => ({ kind: "retry", reason: "no answer", status: 504 });
  await device.deliver();
  device.rules("full");
  assert.equal((await device.rejudge())?.same, 1);
  device.answer = () => ({ kind: "delivered" });
  await device.deliver();
  assert.deepEqual(device.titles(), ["[redacted]"]);
  assert.equal(new Set(device.sent).size, 1);
});

for (
  const [name, answer] of [
    ["the server refused", { kind: "refused", reason: "it answered 401", status: 401, hint: "" }],
    ["the server asked to wait", { kind: "retry", reason: "it answered 429", status: 429 }],
    ["the connection was refused", { kind: "retry", reason: "refused", unreached: true }],
  ] as [string, SendResult][]
) {
  Deno.test(`what was tried while ${name} may still leave in another form`, async () => {
    using device = new Device();
    device.buckets.get(WEB)!.push(ago(900, 60, page("one")));
    await device.collect();
    device.answer = () => answer;
    await device.deliver();
    device.rules("standard");
    assert.equal((await device.rejudge())?.changed, 1);
  });
}

Deno.test("rejudge() may be broken off and goes on, and what it has not come to is not sent", async () => {
  using device = new Device();
  const pages = device.buckets.get(WEB)!;
  for (let i = 0; i < 1200; i++) pages.push(ago(80_000 - i * 60, 50, page(`p${i}`)));
  assert.equal(await device.collect(), 1200);
  device.rules("standard");
  const controller = new AbortController();
  const during = pages.toSorted.bind(pages);
  let reads = 0;
  Object.defineProperty(pages, "toSorted", {
    configurable: true,
    value: (compare: (a: ActivityEvent, b: ActivityEvent) => number) => {
      if (++reads === 2) controller.abort();
      return during(compare);
    },
  });
  await assert.rejects(device.rejudge(controller.signal));
  await device.deliver();
  const first = device.sent.length;
  assert.ok(first > 0 && first < 1200 && first % 500 === 0, `${first} were sent`);
  device.down = true;
  await assert.rejects(device.rejudge(), SourceError);
  device.down = false;
  assert.equal((await device.rejudge())?.changed, 1200 - first);
  await device.deliver();
  assert.equal(device.has.size, 1200);
  assert.ok(!device.sent.join().includes("?q"));
});

Deno.test("rejudge() follows ActivityWatch where an event was deleted, and asks nobody where its bucket is gone", async () => {
  using device = new Device();
  device.buckets.get(WEB)!.push(ago(900, 60, page("one")), ago(840, 60, page("two")));
  device.buckets.get(WINDOW)!.push(ago(900, 60, { app: "Code", title: "c" }));
  await device.collect();
  device.buckets.get(WEB)!.shift();
  device.buckets.delete(WINDOW);
  device.rules("standard");
  assert.deepEqual(await device.rejudge(), {
    same: 0,
    changed: 1,
    dropped: 0,
    withheld: 0,
    gone: 1,
    undecided: 1,
  });
  assert.equal(deadLetterCount(device.db), 1);
  await device.deliver();
  assert.deepEqual(device.titles(), ["two"]);
});

Deno.test("where a bucket is gone, rules that go by nothing else are applied to what is left of an event", async () => {
  using device = new Device();
  const codes = ["keep", "drop", "redact"].map((title, i) => ago(900 - i * 60, 50, { app: "Code", title }));
  device.buckets.get(WINDOW)!.push(...codes);
  await device.collect();
  device.buckets.delete(WINDOW);
  device.rules("full", [{ app: "c*", time: "00:00-24:00", action: "redact" }]);
  const judged = await device.rejudge();
  assert.deepEqual([judged?.changed, judged?.undecided], [3, 0]);
  await device.deliver();
  assert.deepEqual(device.titles(), ["[redacted]", "[redacted]", "[redacted]"]);
});

Deno.test("a dead letter that is tried again is judged by the rules in force", async () => {
  using device = new Device();
  device.buckets.get(WEB)!.push(ago(900, 60, page("one")), ago(840, 60, page("two")));
  await device.collect();
  device.answer = () => ({ kind: "rejected", reason: "it answered 422", status: 422, indices: [0, 1] });
  await device.deliver();
  assert.equal(deadLetterCount(device.db), 2);
  device.rules("standard", [{ title: "two", action: "drop" }]);
  await device.rejudge();
  device.answer = () => ({ kind: "delivered" });
  device.sent.length = 0;
  retryDeadLetters(device.db, listDeadLetters(device.db).map(({ seq }) => seq));
  assert.equal((await device.deliver()).requests, 0);
  const judged = await device.rejudge();
  assert.deepEqual([judged?.changed, judged?.dropped], [1, 1]);
  await device.deliver();
  assert.deepEqual(device.titles(), ["one"]);
  assert.ok(!device.sent.join().includes("?q"));
});

Deno.test("what could not be judged may be tried again, as when its bucket is back", async () => {
  using device = new Device();
  const windows = device.buckets.get(WINDOW)!;
  windows.push(ago(900, 60, { app: "Code", title: "c" }));
  await device.collect();
  device.buckets.delete(WINDOW);
  device.rules("standard");
  assert.equal((await device.rejudge())?.undecided, 1);
  device.buckets.set(WINDOW, windows);
  assert.equal(retryDeadLetters(device.db, listDeadLetters(device.db).map(({ seq }) => seq)), 1);
  assert.equal((await device.rejudge())?.same, 1);
  await device.deliver();
  assert.deepEqual(device.titles(), ["c"]);
});

Deno.test("a queue that stands still at an entry of other rules is seen to do so", async () => {
  using device = new Device();
  device.buckets.get(WEB)!.push(ago(900, 60, page("one")));
  await device.collect();
  assert.equal(isHeldByRules(device.db), false);
  device.db.run("UPDATE outbox SET rules = 0");
  assert.equal(await device.rejudge(), undefined);
  assert.equal(isHeldByRules(device.db), true);
  assert.equal((await device.rejudge())?.same, 1);
  assert.equal(isHeldByRules(device.db), false);
});
