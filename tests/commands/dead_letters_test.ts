import assert from "node:assert/strict";
import { openDatabase } from "../../lib/store/database.ts";
import { eventHoursAgo, Program } from "./program.ts";

const TITLE = "canary-title";

/** A program with as many dead letters; the server said `reason` of each. */
async function programWith(
  count: number,
  reason = "body.events.0.data: Input is not valid",
): Promise<Program> {
  const program = new Program();
  program.events = Array.from({ length: count }, (_, n) => eventHoursAgo(9 - n / 100));
  program.answer = {
    kind: "rejected",
    status: 422,
    reason: "it answered 422",
    indices: Array.from({ length: count }, (_, n) => n),
    reasons: new Map(Array.from({ length: count }, (_, n) => [n, `${reason} ${n}`])),
  };
  assert.equal((await program.run("--once")).code, 1);
  return program;
}

const idsIn = (text: string) => text.split("\n").slice(1).map((line) => Number(line.split(" ")[0]));

Deno.test("dead-letters list shows what was given up and why, and nothing of what is in it", async () => {
  await using program = await programWith(3);
  const { code, text } = await program.run("dead-letters", "list");
  assert.equal(code, 0);
  assert.equal(idsIn(text).length, 3);
  assert.match(text, /aw-watcher-window_h.*422.*Input is not valid 1/);
  assert.ok(!text.includes(TITLE));
  const json = JSON.parse((await program.run("dead-letters", "list", "--json")).text);
  assert.deepEqual(json.map(({ status }: { status: number }) => status), [422, 422, 422]);
});

Deno.test("dead-letters list finds by reason and by age", async () => {
  await using program = await programWith(3);
  const found = async (...args: string[]) => (await program.run("dead-letters", "list", ...args)).text;
  assert.equal(idsIn(await found("--reason", "NOT VALID 2")).length, 1);
  assert.equal(idsIn(await found("--reason", "422")).length, 3);
  assert.match(await found("--reason", "no such"), /^No dead letters of that kind$/);
  assert.match(await found("--older-than", "1h"), /^No dead letters of that kind$/);
  {
    using db = openDatabase(program.cachePath);
    db.run("UPDATE dead_letter SET dead_at_ms = dead_at_ms - ? WHERE reason LIKE '% 0'", 3 * 86_400_000);
  }
  assert.equal(idsIn(await found("--older-than", "2d")).length, 1);
  assert.equal(idsIn(await found("--older-than", "1w")).length, 0);
  assert.equal((await program.run("dead-letters", "list", "--older-than", "soon")).code, 2);
});

Deno.test("dead-letters show and export show the whole event", async () => {
  await using program = await programWith(2);
  const [id] = idsIn((await program.run("dead-letters", "list")).text);
  const shown = (await program.run("dead-letters", "show", String(id))).text;
  assert.match(shown, /reason {5}body\.events\.0\.data/);
  assert.ok(shown.includes(`"title": "${TITLE}"`));
  const lines = (await program.run("dead-letters", "export", "--reason", "valid")).text.split("\n");
  assert.deepEqual(lines.map((line) => JSON.parse(line).event.data.title), [TITLE, TITLE]);
  assert.equal((await program.run("dead-letters", "show", "999999")).code, 1);
  assert.equal((await program.run("dead-letters", "show", "first")).code, 2);
});

Deno.test("dead-letters retry puts them back, and they are delivered with the next turn", async () => {
  await using program = await programWith(4);
  const ids = idsIn((await program.run("dead-letters", "list")).text);
  assert.match((await program.run("dead-letters", "retry", String(ids[1]))).text, /^1 dead letter put back/);
  assert.match((await program.run("dead-letters", "retry", "--all")).text, /^3 dead letters put back/);
  program.answer = { kind: "delivered" };
  assert.equal((await program.run("--once")).code, 0);
  assert.match((await program.run("dead-letters", "list")).text, /^No dead letters$/);
  using db = openDatabase(program.cachePath);
  assert.equal(db.get<{ n: number }>("SELECT count(*) AS n FROM outbox")!.n, 0);
});

Deno.test("dead-letters retry leaves what has no form at the server", async () => {
  await using program = new Program();
  program.events = [{ ...eventHoursAgo(5), data: [1, 2] }];
  await program.run("--once");
  const { text } = await program.run("dead-letters", "retry", "--all");
  assert.match(text, /^0 dead letters put back[^]*1 left as they are/);
  assert.equal(idsIn((await program.run("dead-letters", "list")).text).length, 1);
});

Deno.test("dead-letters drop forgets those that are named, and asks for a name", async () => {
  await using program = await programWith(3);
  assert.equal((await program.run("dead-letters", "drop")).code, 2);
  assert.equal((await program.run("dead-letters", "retry")).code, 2);
  const [id] = idsIn((await program.run("dead-letters", "list")).text);
  assert.match((await program.run("dead-letters", "drop", String(id))).text, /^1 dead letter forgotten$/);
  assert.equal((await program.run("dead-letters", "drop", String(id))).code, 1);
  assert.match((await program.run("dead-letters", "drop", "--reason", "valid")).text, /^2 dead/);
  // What was dropped is not collected again.
  program.answer = { kind: "delivered" };
  assert.equal((await program.run("--once")).code, 0);
  using db = openDatabase(program.cachePath);
  assert.equal(db.get<{ n: number }>("SELECT count(*) AS n FROM outbox")!.n, 0);
});

Deno.test("dead-letters says that there is no cache yet", async () => {
  await using program = new Program();
  for (const args of [["list"], ["retry", "--all"], ["drop", "--all"]]) {
    const { code, text } = await program.run("dead-letters", ...args);
    assert.equal(code, 0);
    assert.match(text, /There is no cache/);
  }
});

Deno.test("dead-letters works while another holds the cache open and writes to it", async () => {
  await using program = await programWith(2);
  using db = openDatabase(program.cachePath);
  db.run("UPDATE bucket SET read_at_ms = 5");
  assert.equal(idsIn((await program.run("dead-letters", "list")).text).length, 2);
  assert.match((await program.run("dead-letters", "retry", "--all")).text, /^2 dead letters put back/);
  assert.equal(db.get<{ n: number }>("SELECT count(*) AS n FROM outbox")!.n, 2);
});
