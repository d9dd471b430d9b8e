import { Buffer } from "node:buffer";
import { createHash, X509Certificate } from "node:crypto";
import { join } from "node:path";

/** Certificates of an authority of our own, made by openssl for one test run. */
export interface Certificates {
  readonly folder: string;
  /** The path of a file of it: `ca.pem`, `server.pem`, `server.key`, `client.pem`, `client.key`, `expired.pem`, … */
  readonly path: (name: string) => string;
  readonly text: (name: string) => string;
  /** A certificate's pin. */
  readonly pin: (name: string) => string;
}

async function openssl(cwd: string, args: string[], input = ""): Promise<void> {
  const child = new Deno.Command("openssl", { args, cwd, stdin: "piped", stdout: "null", stderr: "piped" })
    .spawn();
  const writer = child.stdin.getWriter();
  await writer.write(new TextEncoder().encode(input));
  await writer.close();
  const { code, stderr } = await child.output();
  if (code !== 0) throw new Error(`openssl ${args[0]}: ${new TextDecoder().decode(stderr)}`);
}

/** Makes an authority, and certificates by it: of the server, of a client, of another name, and one that has expired. */
export async function makeCertificates(): Promise<Certificates> {
  const folder = await Deno.makeTempDir({ prefix: "lifelog-tls-" });
  const path = (name: string) => join(folder, name);
  const key = (name: string) =>
    openssl(folder, [
      "genpkey",
      "-algorithm",
      "EC",
      "-pkeyopt",
      "ec_paramgen_curve:P-256",
      "-out",
      `${name}.key`,
    ]);
  for (const authority of ["ca", "stranger"]) {
    await key(authority);
    await openssl(folder, [
      "req",
      "-x509",
      "-new",
      "-key",
      `${authority}.key`,
      "-days",
      "2",
      "-subj",
      `/CN=${authority}`,
      "-addext",
      "keyUsage=critical,keyCertSign",
      "-out",
      `${authority}.pem`,
    ]);
  }
  const leaves: [string, string, string[]][] = [
    ["server", "DNS:localhost,IP:127.0.0.1", ["-days", "2"]],
    ["client", "DNS:client", ["-days", "2"]],
    ["misnamed", "DNS:elsewhere.example", ["-days", "2"]],
    ["expired", "DNS:localhost,IP:127.0.0.1", ["-days", "-1"]],
  ];
  for (const [name, names, validity] of leaves) {
    await key(name);
    await openssl(folder, [
      "req",
      "-new",
      "-key",
      `${name}.key`,
      "-subj",
      `/CN=${name}`,
      "-out",
      `${name}.csr`,
    ]);
    await Deno.writeTextFile(path("ext"), `subjectAltName=${names}\nbasicConstraints=CA:FALSE\n`);
    const sign = [
      "x509",
      "-req",
      "-in",
      `${name}.csr`,
      "-CA",
      "ca.pem",
      "-CAkey",
      "ca.key",
      "-CAcreateserial",
      "-extfile",
      "ext",
      "-out",
      `${name}.pem`,
    ];
    await openssl(folder, [...sign, ...validity]);
  }
  const text = (name: string) => Deno.readTextFileSync(path(name));
  return {
    folder,
    path,
    text,
    pin(name) {
      const spki = new X509Certificate(Buffer.from(text(name))).publicKey.export({
        type: "spki",
        format: "der",
      });
      return createHash("sha256").update(spki).digest("base64");
    },
  };
}
