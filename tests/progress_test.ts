import assert from "node:assert/strict";
import { createProgress, loadBarLibrary } from "../lib/progress.ts";

const library = await loadBarLibrary();

/** A terminal that keeps what was written, and the clock beside it. */
function terminal() {
  const writes: string[] = [];
  const clock = { ms: 0 };
  const progress = createProgress({
    terminal: { write: (text) => void writes.push(text), columns: () => 79, library },
    monotonicMs: () => clock.ms,
  });
  return { writes, clock, progress };
}

const drain = (done: number, total = 1000) => ({ task: "Delivering", done, total, noun: "events" });
const CLEAR = "\r\x1b[2K";

Deno.test("a bar tells how far, how fast and how long yet, on one line that fits", () => {
  const { writes, clock, progress } = terminal();
  for (let done = 0; done <= 500; done += 100) {
    progress.report(drain(done));
    clock.ms += 1000;
  }
  assert.equal(writes[0], `${CLEAR}Delivering ██░░░░░░░░░░░░░░░░░░ 10 %, 100 events, 100/s, 9 s left`);
  progress.end();
  assert.equal(writes.at(-2), `${CLEAR}Delivering ██████████░░░░░░░░░░ 50 %, 500 events, 100/s, 5 s left`);
  assert.equal(writes.at(-1), CLEAR);
  assert.ok(writes.every((text) => text.length <= CLEAR.length + 79));
});

Deno.test("work that takes a moment is never shown, and what was shown is taken away when it is done", () => {
  const { writes, clock, progress } = terminal();
  progress.report(drain(0));
  clock.ms += 900;
  progress.report(drain(1000));
  assert.deepEqual(writes, []);
  clock.ms += 200;
  progress.report(drain(900));
  assert.equal(writes.length, 1);
  progress.report(drain(1000));
  assert.equal(writes.at(-1), CLEAR);
  progress.clear();
  progress.end();
  assert.equal(writes.filter((text) => text === CLEAR).length, 1);
});

Deno.test("a line of the log takes the bar away, and the next report brings it back", () => {
  const { writes, clock, progress } = terminal();
  progress.report(drain(0));
  clock.ms += 2000;
  progress.report(drain(10));
  const before = writes.length;
  progress.clear();
  assert.deepEqual(writes.slice(before), [CLEAR]);
  progress.clear();
  assert.equal(writes.length, before + 1);
  progress.end();
});

Deno.test("another task, or the same after a rest, is another piece of work", () => {
  const { writes, clock, progress } = terminal();
  progress.report(drain(0));
  clock.ms += 2000;
  progress.report(drain(10));
  const before = writes.length;
  progress.report({ task: "Collecting w", done: 1, total: 10, noun: "events" });
  // The old bar is drawn a last time and taken away; the new one is quiet yet.
  assert.equal(writes.at(-1), CLEAR);
  clock.ms += 6000;
  progress.report({ task: "Collecting w", done: 2, total: 10, noun: "events" });
  assert.ok(writes.slice(before).every((text) => !text.includes("Collecting")));
  progress.end();
});

Deno.test("without a total there is no bar, no percentage and no end in sight", () => {
  const { writes, clock, progress } = terminal();
  for (const done of [0, 3000]) {
    progress.report({ task: "Collecting w", done, noun: "new events" });
    clock.ms += 1500;
  }
  progress.end();
  assert.equal(writes[0], `${CLEAR}Collecting w 3,000 new events, 2,000/s`);
});

Deno.test("what is counted for the person is not what the bar measures", () => {
  const { writes, clock, progress } = terminal();
  for (const done of [0, 1e6]) {
    progress.report({ task: "Collecting w", done, total: 4e6, count: done / 1e3, noun: "new events" });
    clock.ms += 1000;
  }
  progress.end();
  assert.match(writes[0]!, /█████░{15} 25 %, 1,000 new events, 1,000\/s, 3 s left$/);
});

Deno.test("a long line has a shorter bar, and its end is never cut off", () => {
  for (
    const [name, bar] of [["x".repeat(30), "█".repeat(7) + "░".repeat(6)], ["x".repeat(42), ""]] as const
  ) {
    const { writes, clock, progress } = terminal();
    for (const done of [0, 500]) {
      progress.report({ ...drain(done), task: name });
      clock.ms += 5000;
    }
    progress.end();
    assert.equal(
      writes[0],
      `${CLEAR}${name}${bar === "" ? "" : ` ${bar}`} 50 %, 500 events, 100/s, 5 s left`,
    );
  }
});

Deno.test("without a terminal a plain line is said now and then", () => {
  const lines: string[] = [];
  let nowMs = 0;
  const progress = createProgress({ say: (line) => void lines.push(line), monotonicMs: () => nowMs });
  for (let done = 0; done <= 700; done += 10) {
    progress.report(drain(done));
    nowMs += 1000;
  }
  progress.end();
  assert.deepEqual(lines, [
    "Delivering: 30 %, 300 events, 10/s, 1 min left",
    "Delivering: 60 %, 600 events, 10/s, 40 s left",
  ]);
  for (const line of lines) assert.doesNotMatch(line, /\p{Cc}/u);
});
