import assert from "node:assert/strict";
import { checkServer } from "../../lib/doctor/server.ts";
import { lifelogSink } from "../../lib/sinks/lifelog.ts";
import { makeCertificates } from "../transport/certificates.ts";

Deno.test("doctor tells what is wrong with a certificate, and how to mend it", async () => {
  const certificates = await makeCertificates();
  try {
    /** What doctor says of a server with this certificate, to a device that trusts this authority. */
    const look = async (certificate: string, authority?: string): Promise<string> => {
      await using server = Deno.serve({
        hostname: "127.0.0.1",
        port: 0,
        cert: certificates.text(`${certificate}.pem`),
        key: certificates.text(`${certificate}.key`),
        onListen() {},
      }, () => Response.json({ detail: [{ loc: ["body", "events"] }] }, { status: 422 }));
      using client = Deno.createHttpClient(
        authority === undefined ? {} : { caCerts: [certificates.text(`${authority}.pem`)] },
      );
      const endpoint = new URL(`https://localhost:${server.addr.port}/api/v1/ingest`);
      const sink = lifelogSink({
        endpoint,
        token: "t",
        deviceId: "d",
        fetch: (input, init) => fetch(input, { ...init, client } as unknown as RequestInit),
      });
      const { signal } = new AbortController();
      const checks = await Array.fromAsync(checkServer({ endpoint, hasToken: true, sink, signal }));
      const { level, message, mend = "" } = checks.find(({ name }) => name === "server")!;
      return `${level} ${message} ${mend}`;
    };
    assert.match(await look("server", "ca"), /^ok The LifeLog server answers over TLS/);
    assert.match(await look("server"), /^fail .*UnknownIssuer.*SERVER_CA_FILE/);
    assert.match(await look("expired", "ca"), /^fail .*Expired.*Renew the server's certificate/);
    assert.match(
      await look("misnamed", "ca"),
      /^fail .*not valid for name.*CENTRAL_SERVER_ENDPOINT to a name/,
    );
  } finally {
    await Deno.remove(certificates.folder, { recursive: true });
  }
});
