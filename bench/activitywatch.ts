/**
 * A quick ActivityWatch in a process of its own, with as many events in one bucket as its argument says. Prints its
 * port; ends when its standard input does. It also takes heartbeats, and keeps none.
 */

import { BUCKET, eventOf, START_US, STEP_US } from "./corpus.ts";

const count = Number(Deno.args[0] ?? 1000);
const rows = Array.from({ length: count }, (_, n) => {
  const { startUs, durationSeconds, data } = eventOf(n);
  const timestamp = new Date(startUs / 1000).toISOString().replace("Z", "000+00:00");
  return JSON.stringify({ id: n + 1, timestamp, duration: durationSeconds, data });
});

const server = Deno.serve({
  hostname: "127.0.0.1",
  port: 0,
  onListen: ({ port }) => console.log(port),
}, async (request) => {
  const { pathname, searchParams } = new URL(request.url);
  if (request.method === "POST") {
    await request.arrayBuffer();
    return Response.json({ id: 1, timestamp: "2026-01-01T00:00:00+00:00", duration: 0, data: {} });
  }
  if (pathname === "/api/0/info") {
    return Response.json({ hostname: "bench", version: "v0.13.2", testing: false, device_id: "bench" });
  }
  if (pathname === "/api/0/buckets/") return Response.json({ [BUCKET.id]: { ...BUCKET, client: "bench" } });
  const id = /\/events\/(\d+)$/.exec(pathname);
  if (id !== null) return new Response(rows[Number(id[1]) - 1] ?? null, { status: id ? 200 : 404 });
  const place = (name: string, otherwise: number) => {
    const text = searchParams.get(name);
    if (text === null) return otherwise;
    return Math.min(count, Math.max(0, Math.ceil((Date.parse(text) * 1000 - START_US) / STEP_US)));
  };
  const end = place("end", count);
  const limit = Number(searchParams.get("limit") ?? count);
  const page = rows.slice(Math.max(place("start", 0), end - limit), end).reverse();
  return new Response(`[${page.join(",")}]`, {
    headers: { "content-type": "application/json" },
  });
});

for await (const _ of Deno.stdin.readable);
await server.shutdown();
