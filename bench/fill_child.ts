/** Fills a cache with waiting events, page by page as the collector does. Arguments: the cache's path and how many. */

import { digestOf, encodeEvent } from "../lib/encode.ts";
import { cover, ensureBucket } from "../lib/store/cursors.ts";
import { openDatabase } from "../lib/store/database.ts";
import { tagged } from "../lib/store/ledger.ts";
import { getMeta } from "../lib/store/meta.ts";
import { addAllToOutbox } from "../lib/store/outbox.ts";
import { BUCKET, endUs, eventOf, START_US } from "./corpus.ts";

const [path, count] = Deno.args;
const PAGE = 2000;
using db = openDatabase(path!);
const { id } = ensureBucket(db, BUCKET);
/** The number of the privacy rules in force, where the agent has run on this cache before. */
const { number: rules } = JSON.parse(getMeta(db, "privacy_rules") ?? '{"number":0}') as { number: number };
const beganMs = performance.now();
for (let n = 0; n < Number(count); n += PAGE) {
  const events = Array.from({ length: Math.min(PAGE, Number(count) - n) }, (_, i) => {
    const event = eventOf(n + i);
    const { startUs, durationSeconds, data } = event;
    return {
      version: tagged(db, id, { startUs, durationSeconds, digest: digestOf(data) }),
      body: encodeEvent(event, BUCKET.type)!,
    };
  });
  db.transaction(() => {
    addAllToOutbox(db, id, events, Date.now(), rules);
    cover(db, id, { fromUs: START_US, toUs: endUs(n + events.length) });
  });
}
console.log(JSON.stringify({ ms: performance.now() - beganMs }));
