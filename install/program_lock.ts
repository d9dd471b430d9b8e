/** What of a `deno.lock` is read and written here. */
export interface Lock {
  readonly version: string;
  readonly specifiers: Readonly<Record<string, string>>;
  readonly npm: Readonly<Record<string, LockedPackage>>;
  readonly workspace: { readonly dependencies: readonly string[] };
}

interface LockedPackage {
  readonly integrity: string;
  readonly dependencies?: readonly string[];
}

/**
 * Leaves in a lock, and in the import map beside it, what the program itself imports and what that needs. `deno
 * compile` puts every package of the lock into the program: a browser's driver that only tests use as well.
 *
 * @param sources the texts of the program's modules
 */
export function programLock(
  lock: Lock,
  imports: Readonly<Record<string, string>>,
  sources: readonly string[],
): { lock: Lock; imports: Record<string, string> } {
  const used = Object.fromEntries(
    Object.entries(imports).filter(([name]) => sources.some((text) => text.includes(`"${name}"`))),
  );
  const wanted = new Set(Object.values(used).map(packageOf));
  const specifiers = Object.fromEntries(
    Object.entries(lock.specifiers).filter(([specifier]) => wanted.has(packageOf(specifier))),
  );
  const npm: Record<string, LockedPackage> = {};
  const add = (key: string) => {
    const entry = lock.npm[key];
    if (entry === undefined || key in npm) return;
    npm[key] = entry;
    // A dependency is named with its version only where there are several of it.
    for (const name of entry.dependencies ?? []) {
      Object.keys(lock.npm).filter((other) => other === name || other.startsWith(`${name}@`)).forEach(add);
    }
  };
  for (const [specifier, version] of Object.entries(specifiers)) {
    add(`${packageOf(specifier).replace(/@[^@]+$/, "")}@${version}`);
  }
  const dependencies = lock.workspace.dependencies.filter((one) => wanted.has(packageOf(one)));
  return {
    lock: { ...lock, specifiers, npm, workspace: { ...lock.workspace, dependencies } },
    imports: used,
  };
}

/** `name@version` of `npm:name@version/path`. */
function packageOf(specifier: string): string {
  return /^npm:\/?((?:@[^/]+\/)?[^/]+)/.exec(specifier)?.[1] ?? specifier;
}
