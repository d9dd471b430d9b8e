import assert from "node:assert/strict";
import { createPatience } from "../lib/patience.ts";
import { DAY_US, SECOND_US } from "../lib/time.ts";

Deno.test("an event waits for its settle time, and as long again from when ActivityWatch can be read again", () => {
  let ms = 0;
  const settleUs = 300 * SECOND_US;
  const patience = createPatience({ settleUs, trustAge: false, monotonicMs: () => ms });
  const nowUs = 10 * DAY_US;
  const old = nowUs - 301 * SECOND_US;
  assert.equal(patience.mustWait("young", nowUs - 299 * SECOND_US, nowUs), true);
  assert.equal(patience.mustWait("old", old, nowUs), true);
  ms = 299_999;
  assert.equal(patience.mustWait("old", old, nowUs), true);
  ms = 300_000;
  assert.equal(patience.mustWait("old", old, nowUs), false);
  patience.startOver();
  assert.equal(patience.mustWait("old", old, nowUs), true);
  assert.equal(patience.mustWait("of last week", nowUs - DAY_US - 1, nowUs), false);
  const once = createPatience({ settleUs, trustAge: true, monotonicMs: () => ms });
  assert.equal(once.mustWait("old", old, nowUs), false);
});
