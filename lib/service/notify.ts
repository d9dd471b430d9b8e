import type { Env } from "../paths.ts";

/** Speaks to the service manager that started the agent, where there is one. */
export interface ServiceNotifier extends Disposable {
  /** Says that the agent is up. From then on it says by itself that it is alive. */
  ready(): void;
}

/** What {@link notifyServiceManager} needs. */
export interface NotifyOptions {
  readonly env: Env;
  /** A folder to bind a socket in: datagrams need an address to come from. */
  readonly folder: string;
  readonly listen?: typeof Deno.listenDatagram;
}

/**
 * Opens systemd's notification socket (sd_notify(3)): a service of `Type=notify` counts as started once the agent
 * says so, and with `WatchdogSec=` it is started anew when its signs of life stay out. Does nothing where no
 * manager asks for it.
 * @throws {Error} when the manager asks for it and the socket cannot be opened: it would wait in vain
 */
export function notifyServiceManager(options: NotifyOptions): ServiceNotifier {
  const { env, folder, listen = Deno.listenDatagram } = options;
  const path = env("NOTIFY_SOCKET");
  // A name that begins with @ is no file, and Deno reaches files only.
  if (path === undefined || !path.startsWith("/")) return { ready() {}, [Symbol.dispose]() {} };
  const socket = openSocket(folder, listen);
  let alive: number | undefined;
  let last = Promise.resolve();
  const say = (text: string) => {
    last = last.then(async () => {
      await socket.send(new TextEncoder().encode(text), { transport: "unixpacket", path });
    }).catch(() => {});
  };
  return {
    ready() {
      say("READY=1");
      const watchdogUs = Number(env("WATCHDOG_USEC"));
      if (watchdogUs > 0) alive ??= setInterval(() => say("WATCHDOG=1"), watchdogUs / 3000);
    },
    [Symbol.dispose]() {
      clearInterval(alive);
      say("STOPPING=1");
      last.finally(() => socket.close());
    },
  };
}

/** Opens a socket without a name: it is only sent from, nobody needs to find it. */
function openSocket(folder: string, listen: typeof Deno.listenDatagram): Deno.DatagramConn {
  const bind = (own: string) => {
    removeIfThere(own);
    const socket = listen({ transport: "unixpacket", path: own });
    removeIfThere(own);
    return socket;
  };
  try {
    return bind(`${folder}/notify.sock`);
  } catch {
    // A socket's path must be short; the folder's need not be.
    return bind(`/tmp/lifelog-agent-${crypto.randomUUID()}.sock`);
  }
}

function removeIfThere(path: string): void {
  try {
    Deno.removeSync(path);
  } catch (error) {
    if (!(error instanceof Deno.errors.NotFound)) throw error;
  }
}
