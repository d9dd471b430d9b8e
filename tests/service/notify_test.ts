import assert from "node:assert/strict";
import { join } from "node:path";
import { notifyServiceManager } from "../../lib/service/notify.ts";

const unix = { ignore: Deno.build.os === "windows" };

/** Listens as systemd would; yields what it is told, one datagram after another. */
async function withManager(
  act: (path: string, heard: () => Promise<string>, folder: string) => Promise<void>,
): Promise<void> {
  const folder = await Deno.makeTempDir({ prefix: "lifelog-notify-" });
  const path = join(folder, "manager.sock");
  const socket = Deno.listenDatagram({ transport: "unixpacket", path });
  try {
    await act(path, async () => new TextDecoder().decode((await socket.receive())[0]), folder);
  } finally {
    socket.close();
    await Deno.remove(folder, { recursive: true });
  }
}

Deno.test({
  name: "notifyServiceManager() tells systemd that the agent is up, alive and stopping, and leaves no file",
  ...unix,
  fn: () =>
    withManager(async (path, heard, folder) => {
      const env = (name: string) =>
        ({ NOTIFY_SOCKET: path, WATCHDOG_USEC: "30000" } as Record<string, string>)[name];
      {
        using manager = notifyServiceManager({ env, folder });
        assert.deepEqual([...Deno.readDirSync(folder)].map(({ name }) => name), ["manager.sock"]);
        manager.ready();
        assert.equal(await heard(), "READY=1");
        assert.equal(await heard(), "WATCHDOG=1");
        assert.equal(await heard(), "WATCHDOG=1");
      }
      let last = await heard();
      while (last === "WATCHDOG=1") last = await heard();
      assert.equal(last, "STOPPING=1");
    }),
});

Deno.test({
  name: "notifyServiceManager() takes the place of a socket that a killed agent left",
  ...unix,
  fn: () =>
    withManager(async (path, heard, folder) => {
      await Deno.writeTextFile(join(folder, "notify.sock"), "");
      using manager = notifyServiceManager({
        env: (name) => name === "NOTIFY_SOCKET" ? path : undefined,
        folder,
      });
      manager.ready();
      assert.equal(await heard(), "READY=1");
    }),
});

Deno.test({
  name: "notifyServiceManager() also works where the cache's path is too long for a socket",
  ...unix,
  fn: () =>
    withManager(async (path, heard, folder) => {
      const deep = join(folder, "d".repeat(120));
      await Deno.mkdir(deep);
      using manager = notifyServiceManager({
        env: (name) => name === "NOTIFY_SOCKET" ? path : undefined,
        folder: deep,
      });
      manager.ready();
      assert.equal(await heard(), "READY=1");
    }),
});

Deno.test("notifyServiceManager() does nothing where no manager asks for it", () => {
  const listen = () => assert.fail("it opened a socket");
  using manager = notifyServiceManager({ env: () => undefined, folder: "/", listen: listen as never });
  manager.ready();
});
