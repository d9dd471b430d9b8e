import assert from "node:assert/strict";
import fc from "fast-check";
import { digestOf, encodeEvent } from "../lib/encode.ts";

const START_US = Date.UTC(2026, 0, 2, 3) * 1000 + 123_000;
const encode = (data: unknown, type: "currentwindow" | "afkstatus" | "web.tab.current", seconds = 42.5) =>
  encodeEvent({ startUs: START_US, durationSeconds: seconds, data }, type);

Deno.test("encodeEvent() makes the three kinds as the server's contract has them, to the byte", () => {
  assert.equal(
    encode({ app: "Code", title: "main.ts" }, "currentwindow"),
    '{"timestamp":"2026-01-02T03:00:00.123000+00:00","type":"desktop_activity.window",' +
      '"data":{"app":"Code","title":"main.ts","url":null,"duration_seconds":42.5}}',
  );
  assert.equal(
    encode({ status: "not-afk" }, "afkstatus", 300),
    '{"timestamp":"2026-01-02T03:00:00.123000+00:00","type":"desktop_activity.afk",' +
      '"data":{"app":"AFK","title":"not-afk","url":null,"duration_seconds":300.0}}',
  );
  assert.equal(
    encode(
      { url: "https://example.org/ü", title: 'a "b"', audible: true, tabCount: 3 },
      "web.tab.current",
      0,
    ),
    '{"timestamp":"2026-01-02T03:00:00.123000+00:00","type":"browser_activity.web",' +
      '"data":{"app":null,"title":"a \\"b\\"","url":"https://example.org/ü","duration_seconds":0.0}}',
  );
  assert.match(
    encode({ app: "Safari", title: "t", url: "https://a/" }, "currentwindow")!,
    /"url":"https:\/\/a\/"/,
  );
});

Deno.test("encodeEvent() always has the four keys, and no form for data that is no object", () => {
  for (const data of [{}, { app: null }, { app: 5, title: ["x"] }]) {
    const keys = Object.keys(JSON.parse(encode(data, "currentwindow")!).data);
    assert.deepEqual(keys, ["app", "title", "url", "duration_seconds"]);
  }
  for (const data of [null, undefined, [1, 2], "text", 7]) {
    assert.equal(encode(data, "currentwindow"), undefined);
  }
});

Deno.test("encodeEvent() makes JSON that says what went in, whatever text and duration", () => {
  const text = fc.string({ unit: "binary", maxLength: 20 });
  fc.assert(
    fc.property(text, text, fc.double({ noNaN: true, noDefaultInfinity: true }), (app, title, seconds) => {
      const body = encode({ app, title }, "currentwindow", seconds)!;
      const { data } = JSON.parse(body);
      assert.deepEqual([data.app, data.title], [app, title]);
      assert.equal(data.duration_seconds, seconds === 0 ? 0 : seconds);
      assert.equal(body, encode({ title, app }, "currentwindow", seconds), "the order of keys shows");
    }),
  );
  assert.equal(JSON.parse(encode({ title: "\ud83d" }, "currentwindow")!).data.title, "\ud83d");
});

Deno.test("digestOf() goes by content: not by the order of keys, but by everything else", () => {
  const hex = (data: unknown) => (digestOf(data) as Uint8Array & { toHex(): string }).toHex();
  assert.equal(hex({ a: 1, b: { c: 2, d: [1, 2] } }), hex({ b: { d: [1, 2], c: 2 }, a: 1 }));
  const all = [
    {},
    [],
    null,
    "",
    0,
    "0",
    { a: 1 },
    { a: "1" },
    { a: [1, 2] },
    { a: [2, 1] },
    { a: { 0: 1, 1: 2 } },
    [["a", 1]],
    { a: 1, b: undefined },
    JSON.parse('{"__proto__":1}'),
    { constructor: 1 },
    { a: "\ud83d" },
    { a: "\ufffd" },
    { a: "é" },
    { a: "e\u0301" },
  ];
  const distinct = new Set(all.map(hex));
  // `undefined` is nothing that JSON could hold, so it counts as absent or not: it cannot come.
  assert.ok(distinct.size >= all.length - 1, `${distinct.size} of ${all.length}`);
});
