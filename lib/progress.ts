import { formatNumber, formatSpan } from "./status/words.ts";

/** How far a piece of work is. */
export interface Step {
  /** What is done, such as `Delivering`. Another task is another piece of work. */
  readonly task: string;
  readonly done: number;
  /** Of how much; absent where nobody knows. */
  readonly total?: number | undefined;
  /** What is counted for the person, where that is not what `done` measures. */
  readonly count?: number | undefined;
  /** Of what: `events`. */
  readonly noun: string;
}

/** Shows how far long work has got: a bar on a terminal, now and then a line elsewhere. */
export interface Progress {
  /** Tells how far it is. Work that takes a moment only is never shown. */
  report(step: Step): void;
  /** Takes the bar away, so that something else can be written; the next report brings it back. */
  clear(): void;
  /** The work is over, or rests. */
  end(): void;
}

/** A terminal, and what draws on it. */
export interface Terminal {
  readonly write: (text: string) => void;
  readonly columns: () => number;
  readonly library: BarLibrary;
}

/** What {@link createProgress} needs. */
export interface ProgressOptions {
  /** The terminal, where there is one. */
  readonly terminal?: Terminal | undefined;
  /** Says a line, where there is no terminal. */
  readonly say?: (line: string) => void;
  /** A clock that only goes forward, in milliseconds. */
  readonly monotonicMs?: () => number;
}

/** Work that is done sooner than this shows nothing. */
const QUIET_MS = 1_000;
/** How often the bar is drawn, and a line is said. */
const DRAW_EVERY_MS = 100;
const SAY_EVERY_MS = 30_000;
/** Over how long the rate is taken: what went before tells little of what is left. */
const WINDOW_MS = 30_000;
/** Work after a rest this long is another piece. */
const REST_MS = 5_000;
const BAR_COLUMNS = 20;
const MIN_BAR_COLUMNS = 5;

/** The part of `cli-progress` that is used: its bar, on a terminal of ours that knows of the log. */
export interface BarLibrary {
  readonly SingleBar: new (options: Record<string, unknown>) => Bar;
  readonly Format: { readonly BarFormat: (progress: number, options: Record<string, unknown>) => string };
}
interface Bar {
  start(total: number, value: number, payload: { text: string }): void;
  update(value: number, payload: { text: string }): void;
  setTotal(total: number): void;
  stop(): void;
}

/** Loads what draws the bar: most starts of the agent have no terminal, and no use for it. */
export async function loadBarLibrary(): Promise<BarLibrary> {
  return (await import("cli-progress")).default as unknown as BarLibrary;
}

/** How a bar looks. What it does to the cursor and to signals is left out: the log writes between. */
const LOOK = {
  barsize: BAR_COLUMNS,
  barCompleteChar: "█",
  barIncompleteChar: "░",
  fps: 1000 / DRAW_EVERY_MS,
  forceRedraw: true,
  gracefulExit: false,
  linewrap: true,
};

/** A moment of a piece of work. */
interface Sample {
  readonly atMs: number;
  readonly done: number;
  readonly count: number;
}

/** Makes what shows progress. */
export function createProgress(options: ProgressOptions = {}): Progress {
  const { terminal, say, monotonicMs = () => performance.now() } = options;
  let task: string | undefined;
  let samples: Sample[] = [];
  let beganMs = 0;
  let saidMs = 0;
  let lastMs = -Infinity;
  let bar: Bar | undefined;
  let shown = false;
  let hasTotal = false;

  function draw(line: string): void {
    shown = true;
    terminal?.write(`\r\x1b[2K${line.slice(0, Math.max(20, terminal.columns() - 1))}`);
  }

  /** What the library draws on. It does so by its own clock; work that rests has no bar. */
  const canvas = ({ columns }: Terminal) => ({
    isTTY: () => true,
    getWidth: columns,
    write: (line: string) => monotonicMs() - lastMs > REST_MS ? queueMicrotask(end) : draw(line),
    ...Object.fromEntries(
      [
        "cursorSave",
        "cursorRestore",
        "cursor",
        "cursorTo",
        "clearRight",
        "clearLine",
        "newline",
        "lineWrapping",
      ]
        .map((name) => [name, () => {}]),
    ),
  });

  /** The bar takes what room the words leave on the line, and goes where they leave too little. */
  const format = ({ columns, library: { Format } }: Terminal) =>
  (
    options: Record<string, unknown>,
    { progress }: { progress: number },
    { text }: { text: string },
  ): string => {
    const barsize = Math.min(BAR_COLUMNS, columns() - text.length);
    const bar = hasTotal && barsize >= MIN_BAR_COLUMNS
      ? ` ${Format.BarFormat(progress, { ...options, barsize })}`
      : "";
    return text.replace(" …", bar);
  };

  function begin(step: Step, nowMs: number): void {
    end();
    task = step.task;
    samples = [];
    beganMs = saidMs = nowMs;
  }

  function report(step: Step): void {
    if (terminal === undefined && say === undefined) return;
    const nowMs = monotonicMs();
    if (step.task !== task || nowMs - lastMs > REST_MS && terminal !== undefined) begin(step, nowMs);
    lastMs = nowMs;
    const { done, total, count = done } = step;
    const newest = samples.at(-1);
    if (newest === undefined || nowMs - newest.atMs >= DRAW_EVERY_MS) {
      samples.push({ atMs: nowMs, done, count });
    }
    while (samples.length > 2 && nowMs - samples[1]!.atMs > WINDOW_MS) samples.shift();
    if (terminal !== undefined) {
      if (nowMs - beganMs < QUIET_MS) return;
      const text = describe(step, samples, nowMs);
      hasTotal = total !== undefined;
      if (bar === undefined) {
        bar = new terminal.library.SingleBar({
          ...LOOK,
          terminal: canvas(terminal),
          format: format(terminal),
        });
        bar.start(total ?? 0, done, { text });
      } else {
        bar.setTotal(total ?? 0);
        bar.update(done, { text });
      }
      if (total !== undefined && done >= total) end();
    } else if (nowMs - saidMs >= SAY_EVERY_MS) {
      saidMs = nowMs;
      say?.(describe(step, samples, nowMs).replace(" …", ":"));
    }
  }
  function clear(): void {
    if (!shown) return;
    shown = false;
    terminal?.write("\r\x1b[2K");
  }

  function end(): void {
    bar?.stop();
    bar = undefined;
    task = undefined;
    clear();
  }

  return { report, clear, end };
}

/** One line, with `…` where the bar comes. */
function describe(
  { task, done, total, count = done, noun }: Step,
  samples: readonly Sample[],
  nowMs: number,
): string {
  const first = samples[0]!;
  const seconds = (nowMs - first.atMs) / 1000;
  const rate = seconds > 0 ? (count - first.count) / seconds : 0;
  const speed = seconds > 0 ? (done - first.done) / seconds : 0;
  const parts = [`${formatNumber(count)} ${noun}`];
  if (rate >= 0.5) parts.push(`${formatNumber(Math.round(rate))}/s`);
  if (total !== undefined && speed > 0 && done < total) {
    parts.push(`${formatSpan((total - done) / speed * 1000)} left`);
  }
  const percent = total === undefined
    ? ""
    : ` ${Math.floor(Math.min(1, total > 0 ? done / total : 1) * 100)} %,`;
  return `${task} …${percent} ${parts.join(", ")}`;
}

/** The terminal that progress is shown on, where the standard error is one. */
export async function progressTerminal(): Promise<Terminal | undefined> {
  if (!Deno.stderr.isTerminal()) return undefined;
  const encoder = new TextEncoder();
  return {
    write: (text) => void Deno.stderr.writeSync(encoder.encode(text)),
    // Some terminals do not know how wide they are.
    columns: () => Deno.consoleSize().columns || 80,
    library: await loadBarLibrary(),
  };
}
