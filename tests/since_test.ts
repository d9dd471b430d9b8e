import assert from "node:assert/strict";
import { parseSince } from "../lib/since.ts";

const NOW_MS = Date.UTC(2026, 2, 10, 12);

Deno.test("parseSince() reads all, days back, dates as midnight here, and times", () => {
  assert.equal(parseSince("all", NOW_MS), 0);
  assert.equal(parseSince(" ALL ", NOW_MS), 0);
  assert.equal(parseSince("30d", NOW_MS), (NOW_MS - 30 * 86_400_000) * 1000);
  assert.equal(parseSince("99999d", NOW_MS), 0);
  assert.equal(parseSince("2026-03-01", NOW_MS), new Date(2026, 2, 1).getTime() * 1000);
  assert.equal(parseSince("2026-03-01T10:00Z", NOW_MS), Date.UTC(2026, 2, 1, 10) * 1000);
  assert.equal(parseSince("2026-03-01 10:00:30+02:00", NOW_MS), Date.UTC(2026, 2, 1, 8, 0, 30) * 1000);
  assert.equal(parseSince("1960-01-01", NOW_MS), 0);
});

Deno.test("parseSince() refuses what is no date, no real date or not yet past, with the value and the mend", () => {
  for (const text of ["", "yesterday", "30", "-3d", "2026-02-30", "2026-13-01", "2026-3-1", "01.03.2026"]) {
    assert.throws(() => parseSince(text, NOW_MS), (error: Error & { hint: string }) => {
      assert.equal(error.name, "SettingError");
      assert.ok(error.message.includes(`got "${text}"`), error.message);
      assert.match(error.hint, /--since 30d/);
      return true;
    });
  }
  assert.throws(() => parseSince("2026-03-12", NOW_MS), /in the past/);
});
