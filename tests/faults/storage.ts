/** Disks that can be filled, made read-only and enlarged: small file systems in memory, where they can be had. */

/** A small file system of its own. */
export interface SmallDisk extends AsyncDisposable {
  readonly folder: string;
  /** Leaves so many bytes free, by a file that takes up the rest; all of it without an argument. */
  fill(freeBytes?: number): void;
  /** Takes the file that fills it away. */
  free(): void;
  readOnly(yes: boolean): Promise<void>;
}

const encoder = new TextEncoder();

async function run(command: string, ...args: string[]): Promise<boolean> {
  try {
    const { success } = await new Deno.Command(command, {
      args,
      stdin: "null",
      stdout: "null",
      stderr: "null",
    })
      .output();
    return success;
  } catch {
    return false;
  }
}

/** Mounts need the superuser, or one who may become that without a word. */
async function asRoot(...args: string[]): Promise<boolean> {
  return await run(args[0]!, ...args.slice(1)) || await run("sudo", "-n", ...args);
}

/** Makes a small disk; `undefined` where that is not allowed here. */
export async function smallDisk(bytes: number): Promise<SmallDisk | undefined> {
  if (Deno.build.os !== "linux") return undefined;
  const folder = await Deno.makeTempDir({ prefix: "lifelog-disk-" });
  const options = `size=${bytes},mode=0700,uid=${Deno.uid()},gid=${Deno.gid()}`;
  if (!await asRoot("mount", "-t", "tmpfs", "-o", options, "lifelog-test", folder)) {
    await Deno.remove(folder);
    return undefined;
  }
  const filler = `${folder}/filler`;
  return {
    folder,
    fill(freeBytes = 0) {
      {
        using file = Deno.openSync(filler, { create: true, append: true });
        const chunk = encoder.encode("x".repeat(4096));
        try {
          for (;;) if (file.writeSync(chunk) < chunk.length) break;
        } catch { /* the disk is full */ }
      }
      if (freeBytes > 0) Deno.truncateSync(filler, Math.max(0, Deno.statSync(filler).size - freeBytes));
    },
    free() {
      Deno.removeSync(filler);
    },
    async readOnly(yes) {
      if (!await asRoot("mount", "-o", `remount,${yes ? "ro" : "rw"}`, folder)) {
        throw new Error("Cannot mount the disk otherwise");
      }
    },
    async [Symbol.asyncDispose]() {
      await asRoot("umount", folder);
      await Deno.remove(folder, { recursive: true });
    },
  };
}

/** A random generator that gives the same numbers for the same seed. */
export function randomOf(seed: number): (below: number) => number {
  let state = seed;
  return (below) => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return Math.floor(((t ^ (t >>> 14)) >>> 0) / 2 ** 32 * below);
  };
}
