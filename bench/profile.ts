/** Where the time of collecting and delivering goes, by V8's profiler. */

import { join } from "node:path";
import { Child } from "./children.ts";
import type { Report } from "./report.ts";

/** A profile as V8 writes it. */
interface CpuProfile {
  readonly nodes: readonly {
    readonly id: number;
    readonly callFrame: { readonly functionName: string; readonly url: string };
    readonly children?: readonly number[];
  }[];
  readonly samples: readonly number[];
  readonly timeDeltas: readonly number[];
}

/** What a sample counts as: by the innermost function of its stack that one of these names. */
type Kinds = readonly (readonly [kind: string, functions: readonly string[]])[];

const COMMON: Kinds = [
  ["waiting for the other side", ["(idle)"]],
  ["V8's garbage collector", ["(garbage collector)"]],
];
const COLLECT: Kinds = [
  ...COMMON,
  ["the hash of each event's data", ["digestOf"]],
  ["its JSON", ["encodeEvent"]],
  ["its rows in the outbox and the ledger", ["insertAll", "addAllToOutbox", "addVersions"]],
  ["what is known of a page already", ["versionsBetween", "keyOf"]],
  ["which events are final", ["finalCount"]],
  ["the page's transaction, with its writes to the disk", ["transaction", "commit"]],
  ["the answer's rows, checked one by one", ["safeParse"]],
  ["asking, receiving and parsing the answer", ["ask", "read", "page", "readBounded"]],
];
const DRAIN: Kinds = [
  ...COMMON,
  ["the entries to send, read and checked", ["peekOutbox"]],
  ["noting what is sent", ["noteAttempt"]],
  ["taking off what was confirmed, with its writes to the disk", ["removeFromOutbox"]],
  ["the request and its answer", ["send", "post", "envelope", "fetch", "readBounded"]],
];
const REST = "all else, of which most is the runtime's I/O";

/** Profiles one collection and one drain, and tells what they spent their time on. */
export async function whereTimeGoes(
  report: Report,
  aw: string,
  endpoint: URL,
  events: number,
): Promise<void> {
  const folder = await Deno.makeTempDir({ prefix: "lifelog-bench-" });
  try {
    const script = new URL("./agent_child.ts", import.meta.url).pathname;
    const profiler = ["--cpu-prof", `--cpu-prof-dir=${folder}`, "--cpu-prof-interval=200"];
    const args = [
      "run",
      "--no-prompt",
      "-A",
      ...profiler,
      script,
      aw,
      endpoint.href,
      String(events),
      "unpaced",
    ];
    await using child = new Child(Deno.execPath(), args);
    await child.line();
    await child.end();
    for await (const { name } of Deno.readDir(folder)) {
      const profile: CpuProfile = JSON.parse(await Deno.readTextFile(join(folder, name)));
      table(report, "Of the time to collect an event", profile, ["collect", "sendAll"], COLLECT, events);
      table(report, "Of the time to deliver an event", profile, ["sendAll", undefined], DRAIN, events);
    }
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

/** Sorts the samples from the first of one function to the first of another into kinds. */
function table(
  report: Report,
  title: string,
  profile: CpuProfile,
  [first, end]: readonly [string, string | undefined],
  kinds: Kinds,
  events: number,
): void {
  const nodes = new Map(profile.nodes.map((node) => [node.id, node]));
  const parents = new Map(
    profile.nodes.flatMap(({ id, children = [] }) => children.map((child) => [child, id])),
  );
  const stacks = new Map<number, string[]>();
  const stackOf = (id: number) => {
    let names = stacks.get(id);
    if (names === undefined) {
      names = [];
      for (let at: number | undefined = id; at !== undefined; at = parents.get(at)) {
        names.push(nodes.get(at)!.callFrame.functionName);
      }
      stacks.set(id, names);
    }
    return names;
  };
  const indexOf = (name: string | undefined) =>
    name === undefined ? -1 : profile.samples.findIndex((id) => stackOf(id).includes(name));
  const from = indexOf(first);
  const to = indexOf(end);
  const spentUs = new Map<string, number>();
  profile.samples.slice(from, to === -1 ? undefined : to).forEach((id, n) => {
    const kind = stackOf(id).map((name) => kinds.find(([, functions]) => functions.includes(name))?.[0])
      .find((kind) => kind !== undefined) ?? REST;
    spentUs.set(kind, (spentUs.get(kind) ?? 0) + profile.timeDeltas[from + n]!);
  });
  const allUs = [...spentUs.values()].reduce((sum, us) => sum + us, 0);
  report.table([title, "µs", "share"], [
    ...[...spentUs].sort(([, a], [, b]) => b - a)
      .map(([kind, us]) => [kind, us / events, `${Math.round(100 * us / allUs)} %`]),
    ["in all", allUs / events, "100 %"],
  ]);
}
