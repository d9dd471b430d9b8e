import type { Database } from "../store/database.ts";
import { makeReport, type Report } from "./report.ts";
import { judge, type Verdict, type VerdictOptions } from "./verdict.ts";

/** How long one look is good for, in milliseconds, however many ask. */
const FRESH_MS = 1_000;

/** A report and what it comes to. */
export interface Look {
  readonly report: Report;
  readonly verdict: Verdict;
}

/** What {@link createLook} needs. */
export interface LookOptions extends VerdictOptions {
  readonly db: Database;
  readonly now?: () => number;
}

/**
 * Makes the function by which the running agent looks at itself, once a second at most, or as often as `maxAgeMs`
 * wants it.
 */
export function createLook(options: LookOptions): (maxAgeMs?: number) => Look {
  const { db, now = Date.now } = options;
  let look: Look | undefined;
  return (maxAgeMs = FRESH_MS) => {
    if (look === undefined || Math.abs(now() - look.report.atMs) >= maxAgeMs) {
      const report = makeReport({ cachePath: db.path, db, running: true, now });
      look = { report, verdict: judge(report, options) };
    }
    return look;
  };
}
