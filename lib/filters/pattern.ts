import type { RE2JS } from "re2js";

/** A program of more instructions than this is refused: it and the text's length bound the time of a match. */
const MAX_PROGRAM = 1000;
const MAX_PATTERN_LENGTH = 1000;
/** Regular expressions look no further than this into a text, in UTF-16 units; a longer one counts as matched. */
const MAX_TEXT_LENGTH = 64 * 1024;

/** The engine of regular expressions. */
export type Expressions = typeof RE2JS;

/** Loads the engine, which is as large as all else that reads rules, and which few rules need. */
export async function loadExpressions(): Promise<Expressions> {
  return (await import("re2js")).RE2JS;
}

/** A pattern is a regular expression, and there is no engine to read it by. */
export class NoExpressionsError extends Error {
  override readonly name = "NoExpressionsError";

  constructor() {
    super("Cannot read a regular expression as its engine is not loaded");
  }
}

/** Tells whether a text fits. Pure, never throws, and takes time linear in the text. */
export type Pattern = (text: string) => boolean;

/**
 * Reads a pattern of a privacy rule. `/…/` is a regular expression in RE2's syntax and found anywhere in the text;
 * anything else is a glob that the whole text must fit, in which `*` stands for any text and `?` for one character.
 * Neither minds upper and lower case.
 *
 * JavaScript's own expressions may take time exponential in the text, so that one bad rule would stop the agent for
 * good; RE2's take linear time whatever is written, and know neither look-around nor back-references.
 *
 * @throws {SyntaxError} when it cannot be read, or would be too slow
 * @throws {NoExpressionsError} when it is an expression and no engine is given
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * import { loadExpressions, readPattern } from "./pattern.ts";
 *
 * assert.equal(readPattern("*invoice*")("My Invoices - Writer"), true);
 * assert.equal(readPattern("/\\bbank\\b/", await loadExpressions())("river banks"), false);
 * ```
 */
export function readPattern(source: string, expressions?: Expressions): Pattern {
  if (source.trim() === "") throw new SyntaxError("it is empty");
  if (source.length > MAX_PATTERN_LENGTH) {
    throw new SyntaxError(`it is longer than ${MAX_PATTERN_LENGTH} characters`);
  }
  return source.length > 2 && source.startsWith("/") && source.endsWith("/")
    ? expression(source.slice(1, -1), expressions)
    : glob(source);
}

function expression(source: string, expressions: Expressions | undefined): Pattern {
  if (expressions === undefined) throw new NoExpressionsError();
  let compiled: RE2JS;
  try {
    compiled = expressions.compile(source, expressions.CASE_INSENSITIVE | expressions.DOTALL);
  } catch (error) {
    const reason = error instanceof Error
      ? error.message.replace(/^error parsing regexp: |\(\?s\)\(\?i\)|\(\?i\)\(\?s\)/g, "")
      : error;
    throw new SyntaxError(`its regular expression is not RE2's: ${reason}`, { cause: error });
  }
  const size = compiled.programSize();
  if (size > MAX_PROGRAM) {
    throw new SyntaxError("its regular expression is too large: use smaller numbers of repetition");
  }
  return (text) => {
    // What cannot be looked through in good time may hold what must not leave.
    if (text.length > MAX_TEXT_LENGTH) return true;
    return compiled.matcher(text).find();
  };
}

/** Finds each piece between two stars at its first place: that is enough, and never goes back. */
function glob(source: string): Pattern {
  const pieces = fold(source).split(/\*+/);
  const [first, ...rest] = pieces;
  const last = rest.pop();
  if (last === undefined) {
    return first!.includes("?")
      ? (text) => [...fold(text)].length === [...first!].length && fits(fold(text), 0, first!) !== -1
      : (text) => fold(text) === first;
  }
  return (text) => {
    const folded = fold(text);
    let at = fits(folded, 0, first!);
    if (at === -1) return false;
    for (const piece of rest) {
      at = find(folded, at, piece);
      if (at === -1) return false;
    }
    return endsWith(folded, at, last);
  };
}

/** One form for upper and lower case, without regard to how accents are encoded. */
function fold(text: string): string {
  return text.normalize("NFC").toLowerCase();
}

/** Where `piece` ends when it begins at `at`, or -1. `?` stands for one character of any plane. */
function fits(text: string, at: number, piece: string): number {
  if (!piece.includes("?")) return text.startsWith(piece, at) ? at + piece.length : -1;
  for (const wanted of piece) {
    const code = text.codePointAt(at);
    if (code === undefined) return -1;
    const got = String.fromCodePoint(code);
    if (wanted !== "?" && wanted !== got) return -1;
    at += got.length;
  }
  return at;
}

/** Where the first `piece` at or after `at` ends, or -1. */
function find(text: string, at: number, piece: string): number {
  if (!piece.includes("?")) {
    const found = text.indexOf(piece, at);
    return found === -1 ? -1 : found + piece.length;
  }
  for (let start = at; start <= text.length; start++) {
    const end = fits(text, start, piece);
    if (end !== -1) return end;
  }
  return -1;
}

function endsWith(text: string, at: number, piece: string): boolean {
  if (!piece.includes("?")) return text.length - piece.length >= at && text.endsWith(piece);
  const characters = [...text.slice(at)];
  const wanted = [...piece];
  return characters.length >= wanted.length &&
    fits(characters.slice(-wanted.length).join(""), 0, piece) !== -1;
}
