/** The exit codes of a program that a signal ended, by the custom of shells: 128 and the signal's number. */
const CODES: Partial<Record<Deno.Signal, number>> = { SIGINT: 130, SIGTERM: 143, SIGBREAK: 149 };

/** What {@link listenForStop} needs. */
export interface StopOptions {
  /** Told of the first signal. */
  readonly onStop?: (name: Deno.Signal) => void;
  /** Ends the program at once; called at the second signal. */
  readonly terminate: (code: number) => void;
  readonly os?: typeof Deno.build.os;
  readonly add?: typeof Deno.addSignalListener;
  readonly remove?: typeof Deno.removeSignalListener;
}

/**
 * Turns Ctrl+C, SIGTERM and, on Windows, Ctrl+Break into an abort signal, so that work is ended in order. A second
 * one ends the program at once; nothing is lost by that either.
 */
export function listenForStop(options: StopOptions): Disposable & { readonly signal: AbortSignal } {
  const {
    onStop,
    terminate,
    os = Deno.build.os,
    add = Deno.addSignalListener,
    remove = Deno.removeSignalListener,
  } = options;
  const controller = new AbortController();
  const names: Deno.Signal[] = os === "windows" ? ["SIGINT", "SIGBREAK"] : ["SIGINT", "SIGTERM"];
  const listeners = names.map((name) => {
    const listener = () => {
      if (controller.signal.aborted) return terminate(CODES[name] ?? 1);
      controller.abort(new DOMException(`Stopped by ${name}`, "AbortError"));
      onStop?.(name);
    };
    add(name, listener);
    return [name, listener] as const;
  });
  return {
    signal: controller.signal,
    [Symbol.dispose]() {
      for (const [name, listener] of listeners) remove(name, listener);
    },
  };
}
