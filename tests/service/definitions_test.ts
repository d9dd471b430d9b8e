import assert from "node:assert/strict";
import { launchdPlist, systemdUnit, windowsTask } from "../../lib/service/definitions.ts";

Deno.test("systemdUnit() quotes a program's path so that it is one word and no specifier", () => {
  const unit = systemdUnit({ program: '/home/a b/100%/$x"/agent', writable: [] });
  assert.match(unit, /^ExecStart="\/home\/a b\/100%%\/\$\$x\\"\/agent"$/m);
});

Deno.test("systemdUnit() closes every folder but those that the agent writes to", () => {
  const unit = systemdUnit({ program: "/a", writable: ["/home/u/.local/state/x", "/var/log/my logs"] });
  assert.match(unit, /^ProtectSystem=strict$/m);
  assert.deepEqual([...unit.matchAll(/^ReadWritePaths=(.*)$/gm)].map(([, path]) => path), [
    "-/home/u/.local/state/x",
    "-/var/log/my\\x20logs",
  ]);
});

Deno.test("a definition names the settings file only where one was named", () => {
  const named = { program: "/a", config: "/c.toml", writable: [] };
  assert.match(systemdUnit(named), /^ExecStart="\/a" "--config" "\/c.toml"$/m);
  assert.match(systemdUnit({ program: "/a", writable: [] }), /^ExecStart="\/a"$/m);
  assert.match(
    windowsTask(named),
    /<Arguments>--headless &quot;\/a&quot; &quot;--config&quot; &quot;\/c.toml&quot;</,
  );
  assert.match(
    launchdPlist({ ...named, logFile: "/l" }),
    /<string>--config<\/string>\s+<string>\/c.toml<\/string>/,
  );
});

Deno.test("launchdPlist() writes text that XML would take for marks as text", () => {
  const plist = launchdPlist({ program: "/Users/a&b/<agent>", writable: [], logFile: "/l" });
  assert.match(plist, /<string>\/Users\/a&amp;b\/&lt;agent&gt;<\/string>/);
});

Deno.test("a unit without a sandbox holds nothing that needs namespaces", () => {
  const unit = systemdUnit({ program: "/a", writable: ["/w"], sandbox: false });
  assert.doesNotMatch(unit, /^(Private|Protect|ReadWritePaths|RestrictNamespaces|CapabilityBoundingSet)/m);
  assert.match(unit, /^NoNewPrivileges=yes$/m);
});
