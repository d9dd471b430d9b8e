import assert from "node:assert/strict";
import { listenForStop } from "../lib/signals.ts";

/** A process that is sent signals by hand. */
function fakeProcess(os: typeof Deno.build.os) {
  const listeners = new Map<string, () => void>();
  const told: unknown[] = [];
  const stop = listenForStop({
    os,
    add: (name, listener) => listeners.set(name, listener as () => void),
    remove: (name) => listeners.delete(name),
    onStop: (name) => told.push(name),
    terminate: (code) => told.push(code),
  });
  return { listeners, told, stop };
}

Deno.test("listenForStop() asks to end at the first signal and ends at once at the second, by the shell's codes", () => {
  for (const [first, second, code] of [["SIGINT", "SIGINT", 130], ["SIGINT", "SIGTERM", 143]] as const) {
    const { listeners, told, stop } = fakeProcess("linux");
    assert.equal(stop.signal.aborted, false);
    listeners.get(first)!();
    assert.equal(stop.signal.aborted, true);
    assert.equal(stop.signal.reason.name, "AbortError");
    assert.deepEqual(told, [first]);
    listeners.get(second)!();
    assert.deepEqual(told, [first, code]);
    stop[Symbol.dispose]();
    assert.equal(listeners.size, 0);
  }
});

Deno.test("listenForStop() listens for Ctrl+C and Ctrl+Break on Windows, which knows no SIGTERM", () => {
  const { listeners, told } = fakeProcess("windows");
  assert.deepEqual([...listeners.keys()], ["SIGINT", "SIGBREAK"]);
  listeners.get("SIGBREAK")!();
  listeners.get("SIGBREAK")!();
  assert.deepEqual(told, ["SIGBREAK", 149]);
});
