/** Shows how far a long piece of work has got, on one line of a terminal that is written over. */
export interface Progress {
  /** Shows `text()` in place of what stood there; at most every 100 ms, and not before the work took a while. */
  show(text: () => string): void;
  /** Takes the line away, so that something else can be written. */
  clear(): void;
}

/** What {@link createProgress} needs. */
export interface ProgressOptions {
  /** Writes to the terminal. Absent where there is none: nothing is shown then. */
  readonly write?: ((text: string) => void) | undefined;
  readonly columns?: () => number;
  /** A clock that only goes forward, in milliseconds. */
  readonly monotonicMs?: () => number;
}

const EVERY_MS = 100;
/** Work that is done sooner than this shows nothing. */
const QUIET_MS = 1_000;
/** Work after a rest this long is another piece, quiet again at first. */
const REST_MS = 5_000;

/** Makes a progress line. */
export function createProgress(options: ProgressOptions = {}): Progress {
  const { write, columns = () => 80, monotonicMs = () => performance.now() } = options;
  let shown = false;
  let beganMs = -Infinity;
  let lastCallMs = -Infinity;
  let lastShownMs = -Infinity;

  return {
    show(text) {
      if (write === undefined) return;
      const nowMs = monotonicMs();
      if (nowMs - lastCallMs > REST_MS) beganMs = nowMs;
      lastCallMs = nowMs;
      if (nowMs - beganMs < QUIET_MS || nowMs - lastShownMs < EVERY_MS) return;
      lastShownMs = nowMs;
      shown = true;
      write(`\r\x1b[2K${text().slice(0, Math.max(20, columns() - 1))}`);
    },
    clear() {
      if (!shown || write === undefined) return;
      shown = false;
      write("\r\x1b[2K");
    },
  };
}

/** The terminal that progress is shown on, where the standard error is one. */
export function progressTerminal(): ProgressOptions {
  if (!Deno.stderr.isTerminal()) return {};
  const encoder = new TextEncoder();
  return {
    write: (text) => void Deno.stderr.writeSync(encoder.encode(text)),
    columns: () => Deno.consoleSize().columns,
  };
}
