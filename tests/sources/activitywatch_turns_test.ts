import assert from "node:assert/strict";
import { SourceError } from "../../lib/errors.ts";
import { activityWatchSource } from "../../lib/sources/activitywatch.ts";

const BUCKET = { id: "b", type: "currentwindow", hostname: "h", created: "" } as const;

Deno.test("however many ask, ActivityWatch has one request at a time, and a failed one holds up no other", async () => {
  let under = 0;
  let most = 0;
  let asked = 0;
  const source = activityWatchSource({
    fetch: async () => {
      asked++;
      most = Math.max(most, ++under);
      await new Promise((resolve) => setTimeout(resolve));
      under--;
      return asked === 2 ? new Response("no", { status: 500 }) : Response.json([]);
    },
  });
  const asks = Array.from({ length: 5 }, () => source.newestStartUs(BUCKET));
  const left = source.newestStartUs(BUCKET, { signal: AbortSignal.abort(new Error("left")) });
  const results = await Promise.allSettled([...asks, left]);
  assert.deepEqual([most, asked], [1, 5]);
  assert.deepEqual(results.map(({ status }) => status), [
    "fulfilled",
    "rejected",
    "fulfilled",
    "fulfilled",
    "fulfilled",
    "rejected",
  ]);
  const [, failed, , , , gone] = results as PromiseRejectedResult[];
  assert.ok(failed!.reason instanceof SourceError);
  assert.equal(gone!.reason.message, "left");
});
