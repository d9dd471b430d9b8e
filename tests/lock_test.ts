import assert from "node:assert/strict";
import { AlreadyRunningError, StoreError } from "../lib/errors.ts";
import { takeLock } from "../lib/lock.ts";

async function inFolder(work: (folder: string) => Promise<void>): Promise<void> {
  const folder = await Deno.makeTempDir();
  try {
    await work(folder);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

/** Starts a process that takes the lock and holds it until it is killed. */
async function holder(path: string): Promise<Deno.ChildProcess> {
  const code = `import { takeLock } from ${JSON.stringify(new URL("../lib/lock.ts", import.meta.url).href)};
    globalThis.held = takeLock(${JSON.stringify(path)});
    console.log("held");
    setInterval(() => {}, 1000);`;
  const child = new Deno.Command(Deno.execPath(), {
    args: ["run", "-A", "--no-prompt", `data:text/typescript,${encodeURIComponent(code)}`],
    stdout: "piped",
    stderr: "inherit",
  }).spawn();
  const reader = child.stdout.getReader();
  const { value } = await reader.read();
  reader.releaseLock();
  assert.match(new TextDecoder().decode(value), /held/);
  return child;
}

Deno.test("takeLock() refuses while another process holds the lock, and says what to do", async () => {
  await inFolder(async (folder) => {
    const child = await holder(`${folder}/lock`);
    try {
      assert.throws(
        () => takeLock(`${folder}/lock`),
        (error) =>
          error instanceof AlreadyRunningError && error.message.includes(folder) && error.hint !== undefined,
      );
    } finally {
      child.kill("SIGKILL");
      await child.status;
      await child.stdout.cancel();
    }
  });
});

Deno.test("takeLock() succeeds at once after the process that held the lock was killed", async () => {
  await inFolder(async (folder) => {
    const child = await holder(`${folder}/lock`);
    child.kill("SIGKILL");
    await child.status;
    await child.stdout.cancel();
    using _lock = takeLock(`${folder}/lock`);
  });
});

Deno.test("takeLock() lets go when it is disposed of, and leaves the file", async () => {
  await inFolder(async (folder) => {
    {
      using _lock = takeLock(`${folder}/lock`);
      assert.throws(() => takeLock(`${folder}/lock`), AlreadyRunningError);
    }
    assert.ok((await Deno.stat(`${folder}/lock`)).isFile);
    using _again = takeLock(`${folder}/lock`);
  });
});

Deno.test(
  "takeLock() makes a file that only its user can read",
  { ignore: Deno.build.os === "windows" },
  async () => {
    await inFolder(async (folder) => {
      using _lock = takeLock(`${folder}/lock`);
      assert.equal((await Deno.stat(`${folder}/lock`)).mode! & 0o777, 0o600);
    });
  },
);

Deno.test("takeLock() says that a lock in a folder that is not there cannot be opened", async () => {
  await inFolder(async (folder) => {
    await Promise.resolve();
    assert.throws(
      () => takeLock(`${folder}/absent/lock`),
      (error) => error instanceof StoreError && /^Cannot open the lock ".*absent/.test(error.message),
    );
  });
});
