/** What the program's exit code says. The README has the same table. */
export const ExitCode = {
  /** All well: with `--once`, everything was collected and delivered. */
  Ok: 0,
  /** Something was not collected or not delivered, or was moved to the dead letters. What is cached is kept. */
  Failed: 1,
  /** A wrong option or setting: nothing was done. */
  Usage: 2,
  /** The cache cannot be opened, read or written. */
  Store: 3,
  /** Another agent works on the same cache. */
  AlreadyRunning: 4,
  /** The cache is encrypted and its key is missing or wrong: nothing was done, nothing is lost. */
  Key: 5,
  /** The agent failed by a fault of its own: please report it. */
  Crash: 70,
} as const;

export type ExitCode = typeof ExitCode[keyof typeof ExitCode];

/** What each code says, for the manual; the same as above. */
export const EXIT_MEANINGS: Readonly<Record<keyof typeof ExitCode, string>> = {
  Ok: "All well: with `--once`, everything was collected and delivered.",
  Failed:
    "Something was not collected or not delivered, or was moved to the dead letters. What is cached is kept.",
  Usage: "A wrong option or setting: nothing was done.",
  Store: "The cache cannot be opened, read or written.",
  AlreadyRunning: "Another agent works on the same cache.",
  Key: "The cache is encrypted and its key is missing or wrong: nothing was done, nothing is lost.",
  Crash: "The agent failed by a fault of its own: please report it.",
};
