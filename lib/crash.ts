const MAX_FRAMES = 12;

/**
 * Says where the program went wrong, for a report: the kind of error and the places in the code. Not its message: those
 * of the runtime and of libraries quote what they stumbled over, which may be a title, a URL or a token.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * import { describeCrash } from "./crash.ts";
 *
 * const text = describeCrash(new TypeError("a title"));
 * assert.match(text, /^TypeError\n {2}at /);
 * assert.ok(!text.includes("a title"));
 * ```
 */
export function describeCrash(error: unknown): string {
  if (!(error instanceof Error)) return `a thrown ${error === null ? "null" : typeof error}`;
  const name = /^\w{1,60}$/.test(error.name) ? error.name : "Error";
  const stack = error.stack ?? "";
  // The message stands at the head of the stack, and may look like a part of it.
  const after = stack.indexOf(error.message) + error.message.length;
  const places = stack.slice(after).split("\n").flatMap((line) => {
    const [, what = "", url, position] =
      /^ {4}at (?:(?:async )?([\w.#<>$ ]+) \()?(\S+?):(\d+:\d+)\)?$/.exec(line) ?? [];
    if (url === undefined) return [];
    const file = /(?:^|\/)((?:lib|ext:[\w]+)\/[\w./-]+|[\w.-]+)$/.exec(url)?.[1] ?? "somewhere";
    return [`  at ${what === "" ? "" : `${what} `}${file}:${position}`];
  });
  return [name, ...places.slice(0, MAX_FRAMES)].join("\n");
}

/** What is printed when the program fails by a fault of its own. */
export function crashText(error: unknown): string {
  return `lifelog-agent: It failed by a fault of its own, please report it (nothing that was collected is in this text)\n${
    describeCrash(error)
  }`;
}

/** What {@link guardCrashes} needs. */
export interface CrashGuardOptions {
  /** Ends the process at once. */
  readonly terminate: () => void;
  readonly print?: (text: string) => void;
  readonly target?: EventTarget;
}

/** Ends the program, without printing what an error quotes, when one is caught nowhere. */
export function guardCrashes(options: CrashGuardOptions): void {
  const { terminate, print = console.error, target = globalThis } = options;
  const end = (error: unknown) => {
    print(crashText(error));
    terminate();
  };
  target.addEventListener("unhandledrejection", (event) => {
    event.preventDefault();
    end((event as PromiseRejectionEvent).reason);
  });
  target.addEventListener("error", (event) => {
    event.preventDefault();
    end((event as ErrorEvent).error);
  });
}
