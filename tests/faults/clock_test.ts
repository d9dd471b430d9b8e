import assert from "node:assert/strict";
import { join } from "node:path";
import { faultTable } from "./table.ts";
import { FULL, until, World } from "./world.ts";

const tell = faultTable("The clock is put on or back while the daemon runs");

/** Stands before the C library: the wall clock is ahead by as many seconds as a file says, and nothing else is changed. */
const SOURCE = `
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/time.h>
#include <time.h>
static long ahead(void) {
  long seconds = 0;
  const char *path = getenv("FAULTS_CLOCK");
  FILE *file = path ? fopen(path, "r") : NULL;
  if (file) { if (fscanf(file, "%ld", &seconds) != 1) seconds = 0; fclose(file); }
  return seconds;
}
int clock_gettime(clockid_t id, struct timespec *at) {
  static int (*real)(clockid_t, struct timespec *);
  if (!real) real = dlsym(RTLD_NEXT, "clock_gettime");
  int result = real(id, at);
  if (id == CLOCK_REALTIME) at->tv_sec += ahead();
  return result;
}
int gettimeofday(struct timeval *restrict at, void *restrict zone) {
  struct timespec now;
  clock_gettime(CLOCK_REALTIME, &now);
  at->tv_sec = now.tv_sec;
  at->tv_usec = now.tv_nsec / 1000;
  return 0;
}
time_t time(time_t *at) {
  struct timespec now;
  clock_gettime(CLOCK_REALTIME, &now);
  if (at) *at = now.tv_sec;
  return now.tv_sec;
}
`;

/** Compiles the library into a folder; \`undefined\` where there is no compiler. */
async function clockLibrary(folder: string): Promise<string | undefined> {
  const [source, library] = [join(folder, "clock.c"), join(folder, "clock.so")];
  await Deno.writeTextFile(source, SOURCE);
  try {
    const { success } = await new Deno.Command("cc", {
      args: ["-shared", "-fPIC", "-O1", "-o", library, source, "-ldl"],
      stderr: "null",
    }).output();
    return success ? library : undefined;
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return undefined;
    throw error;
  }
}

for (const [name, seconds] of [["put back by an hour", -3600], ["put on by ten days", 864_000]] as const) {
  // Cron's own minutes are real ones: each takes up to two of them.
  Deno.test(`the clock is ${name} while the daemon runs: it goes on within two minutes`, {
    ignore: !FULL || Deno.build.os !== "linux",
  }, async () => {
    await using world = new World({ events: 40 });
    const library = await clockLibrary(world.home);
    if (library === undefined) {
      console.log("LEFT OUT: there is no C compiler");
      return;
    }
    const clock = join(world.home, "clock");
    Deno.writeTextFileSync(clock, "0");
    const daemon = world.agent.daemon({
      LD_PRELOAD: library,
      FAULTS_CLOCK: clock,
      COLLECTION_INTERVAL_SECONDS: "30",
      BATCH_SEND_INTERVAL_SECONDS: "30",
    });
    await until(() => world.receiver.events.length > 35, "the first events are there", 120_000);
    Deno.writeTextFileSync(clock, String(seconds));
    const began = performance.now();
    world.record(40);
    await until(() => world.receiver.events.length > 75, "the later events are there", 170_000);
    const tookS = Math.round((performance.now() - began) / 1000);
    const run = await daemon.stop();
    assert.equal(run.code, 0, run.stderr);
    assert.equal((await world.once()).code, 0);
    world.assertExact();
    tell(name, { "went on after": `${tookS} s`, afterwards: "exact" });
  });
}
