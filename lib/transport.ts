import { SettingError } from "./errors.ts";
import { isLoopback } from "./loopback.ts";
import { createPinnedFetch } from "./pinned_fetch.ts";

/** What {@link createTransport} may be told. */
export interface TransportOptions {
  /** PEM file of certificate authorities that are trusted beside the usual ones. */
  readonly caFile?: string | undefined;
  /** PEM files of the certificate and the key by which this device shows who it is. */
  readonly clientCertFile?: string | undefined;
  readonly clientKeyFile?: string | undefined;
  /** SHA-256 hashes of public keys in base64, one of which the server's must have. Empty: any that is trusted. */
  readonly pins?: readonly string[];
  readonly readTextFile?: (path: string) => string;
}

/** A `fetch` for one server; disposing of it closes its connections. */
export type Transport = typeof fetch & Disposable;

/**
 * Makes the `fetch` that one server is reached with. Certificates are always verified. Proxies of the environment
 * (`HTTPS_PROXY`, `HTTP_PROXY`, `ALL_PROXY`, `NO_PROXY`) are used, but never for plain http to this device itself: a
 * proxy elsewhere has no way to it, and must not see what is said to it. A pinned server is reached directly.
 *
 * @throws {SettingError} when a file cannot be read or used
 */
export function createTransport(server: URL, options: TransportOptions = {}): Transport {
  const { caFile, clientCertFile, clientKeyFile, pins = [], readTextFile = Deno.readTextFileSync } = options;
  const pem = (setting: string, path: string | undefined, what: string) =>
    path === undefined ? undefined : readPem(setting, path, what, readTextFile);
  const ca = pem("SERVER_CA_FILE", caFile, "CERTIFICATE");
  const cert = pem("SERVER_CLIENT_CERT_FILE", clientCertFile, "CERTIFICATE");
  const key = pem("SERVER_CLIENT_KEY_FILE", clientKeyFile, "PRIVATE KEY");
  const identity = cert !== undefined && key !== undefined ? { cert, key } : {};
  if (pins.length > 0) return transport(createPinnedFetch({ pins, ca, ...identity }));
  // To a server on this device that speaks TLS a proxy is no danger, and the way around it would be without TLS.
  const local = isLoopback(server) && server.protocol === "http:";
  if (!local && ca === undefined && cert === undefined) return transport(fetch);
  let client: Deno.HttpClient;
  try {
    client = Deno.createHttpClient({
      ...(ca === undefined ? {} : { caCerts: [ca] }),
      ...identity,
      ...(local ? { proxy: straightTo(server) } : {}),
    });
  } catch (error) {
    if (error instanceof Deno.errors.NotCapable) {
      throw new SettingError(
        `Cannot reach ${server.host} as this program was built to reach other hosts only`,
        {
          cause: error,
          hint: "Set the host that it was built for, or build it with --net for this one too",
        },
      );
    }
    if (ca === undefined && cert === undefined) {
      throw new SettingError(
        `Cannot make connections: ${error instanceof Error ? error.message : error}`,
        {
          cause: error,
          hint: "Install the system's certificates (ca-certificates), or leave DENO_TLS_CA_STORE unset",
        },
      );
    }
    throw new SettingError(
      `Cannot use SERVER_CA_FILE, SERVER_CLIENT_CERT_FILE or SERVER_CLIENT_KEY_FILE: ${
        error instanceof Error ? error.message : error
      }`,
      { cause: error, hint: "Give certificates and the key as PEM, the key without a password" },
    );
  }
  return transport((input, init) => fetch(input, { ...init, client }), () => client.close());
}

function transport(request: typeof fetch, dispose: () => void = () => {}): Transport {
  return Object.assign((...args: Parameters<typeof fetch>) => request(...args), {
    [Symbol.dispose]: dispose,
  });
}

/**
 * A "proxy" that is the server itself: the connection is made to it, whatever proxies the environment names. For http
 * alone: the runtime speaks no TLS over it.
 */
function straightTo({ hostname, port }: URL): Deno.Proxy {
  return { transport: "tcp", hostname: hostname.replace(/^\[|\]$/g, ""), port: Number(port || 80) };
}

function readPem(setting: string, path: string, what: string, read: (path: string) => string): string {
  let text: string;
  try {
    text = read(path);
  } catch (error) {
    throw new SettingError(
      `Cannot read the file of "${setting}", "${path}": ${error instanceof Error ? error.message : error}`,
      { cause: error, hint: "Name a file that exists and that you may read" },
    );
  }
  if (new RegExp(`-----BEGIN [A-Z ]*${what}-----`).test(text)) return text;
  throw new SettingError(`Cannot use the file of "${setting}", "${path}", as there is no ${what} in it`, {
    hint: "Give it as PEM, with its line -----BEGIN …-----",
  });
}
