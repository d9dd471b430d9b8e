/**
 * A LifeLog server's front door in a process of its own, so that it shares no thread with who is measured. Prints its
 * port; ends when its standard input does. `GET /stats` tells what came in and sets it back to nothing.
 *
 * Arguments: how it takes a body (`decode` reads the JSON as the real server does, `count` only looks for how many
 * events there are), and how long it takes to answer, in milliseconds.
 */

const [mode = "decode", delayMs = "0"] = Deno.args;
const stats = { requests: 0, events: 0, bytes: 0, connections: 0 };
const seen = new Set<number>();

function countEvents(body: Uint8Array): number {
  if (mode === "decode") return JSON.parse(new TextDecoder().decode(body)).events.length;
  // One `"timestamp":"` for each event; the sender's own text holds its quotes escaped.
  const text = new TextDecoder("latin1").decode(body);
  let count = 0;
  for (let at = text.indexOf('"timestamp":"'); at !== -1; at = text.indexOf('"timestamp":"', at + 13)) {
    count++;
  }
  return count;
}

const server = Deno.serve({
  hostname: "127.0.0.1",
  port: 0,
  onListen: ({ port }) => console.log(port),
  onError: () => new Response(null, { status: 422 }),
}, async (request, { remoteAddr }) => {
  if (request.method === "GET") {
    const told = { ...stats, connections: seen.size };
    seen.clear();
    Object.assign(stats, { requests: 0, events: 0, bytes: 0 });
    return Response.json(told);
  }
  if (remoteAddr.transport === "tcp") seen.add(remoteAddr.port);
  const encoded = new Uint8Array(await request.arrayBuffer());
  stats.bytes += encoded.length;
  const plain = request.headers.get("content-encoding") === "gzip"
    ? new Uint8Array(
      await new Response(new Blob([encoded]).stream().pipeThrough(new DecompressionStream("gzip")))
        .arrayBuffer(),
    )
    : encoded;
  const events = countEvents(plain);
  stats.requests++;
  stats.events += events;
  if (Number(delayMs) > 0) await new Promise((resolve) => setTimeout(resolve, Number(delayMs)));
  return Response.json({ status: "success", received_events: events });
});

for await (const _ of Deno.stdin.readable);
await server.shutdown();
