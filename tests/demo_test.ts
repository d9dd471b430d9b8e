import assert from "node:assert/strict";
import { runDemo } from "./demo.ts";

Deno.test("the demo's day arrives exactly, through an outage, a lost answer, a killed agent and a restart", async () => {
  const lines: string[] = [];
  const { counts, resent, exact } = await runDemo({ print: (line) => lines.push(line) });
  const text = lines.join("\n");
  for (const [kind, count] of Object.entries(counts)) {
    assert.ok(count.received > 0, kind);
    assert.equal(count.received, count.inActivityWatch - count.tooShort, kind);
    const { lost, repeated, wrongDuration, unknown } = count;
    assert.deepEqual({ lost, repeated, wrongDuration, unknown }, {
      lost: 0,
      repeated: 0,
      wrongDuration: 0,
      unknown: 0,
    });
  }
  assert.ok(exact);
  assert.ok(counts.window.tooShort > 0, "No event was short, so the filter was not shown");
  assert.ok(resent > 0, "No answer was lost, so nothing was sent again");
  assert.match(text, /lost +0 +0 +0 +0\n/);
  assert.match(text, /12:10 .*503/);
  assert.match(text, /13:40 .*killed .*[1-9]\d* events wait/);
  assert.match(text, /13:55 .*started again; [1-9]\d* events wait/);
  assert.match(text, /18:20 .* 0 events wait/);
  assert.ok(!text.includes("\x1b"), "There is colour in plain text");
  for (const line of text.split("\n")) assert.ok(line.length <= 110, `Wider than 110 columns: ${line}`);
});

Deno.test("the demo sees an event that the server forgot", async () => {
  const lines: string[] = [];
  const { counts, exact } = await runDemo({ print: (line) => lines.push(line), forget: 30 });
  assert.equal(exact, false);
  assert.equal(Object.values(counts).reduce((lost, count) => lost + count.lost, 0), 1);
  assert.match(lines.join("\n"), /Not exact/);
});
