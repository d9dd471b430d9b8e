import { type Colour, paint, wrap } from "../status/words.ts";

/** What one look came to. */
export interface Check {
  /** A fixed name, for programs. */
  readonly name: string;
  readonly level: "ok" | "warn" | "fail";
  readonly message: string;
  /** How to mend it; always there where it is not `ok`. */
  readonly mend?: string;
}

export const ok = (name: string, message: string): Check => ({ name, level: "ok", message });
export const warn = (name: string, message: string, mend: string): Check => ({
  name,
  level: "warn",
  message,
  mend,
});
export const fail = (name: string, message: string, mend: string): Check => ({
  name,
  level: "fail",
  message,
  mend,
});

const COLOURS: Record<Check["level"], Colour> = { ok: "green", warn: "yellow", fail: "red" };

/** Writes a check in a line, and its mend in another. */
export function renderCheck({ level, message, mend }: Check, colors: boolean): string {
  const line = `${paint(level.padEnd(4), COLOURS[level], colors)}  ${wrap(message, 6, 6)}`;
  return mend === undefined ? line : `${line}\n        ${wrap(mend, 8, 8)}`;
}
