/** Makes the package for Debian and what comes of it, without Debian's tools. */

import { createHash } from "node:crypto";
import { systemdUnit } from "../lib/service/definitions.ts";
import { ar, type ArchiveFile, gzip, tarGz } from "./archive.ts";

/** What each shell needs to complete the command line, by its name. */
export type Completions = Readonly<Record<"bash" | "zsh" | "fish", string>>;

/** What {@link debianPackage} puts in. */
export interface DebianOptions {
  readonly version: string;
  readonly architecture: "amd64" | "arm64";
  readonly program: Uint8Array;
  /** The manual page, in roff. */
  readonly manual: string;
  readonly completions: Completions;
  readonly license: string;
  readonly changelog: string;
  readonly homepage: string;
  readonly maintainer: string;
  readonly timeSeconds: number;
}

/** The unit's program and folders, as a package has them for every user. */
const UNIT = systemdUnit({
  program: "/usr/bin/lifelog-agent",
  writable: ["%h/.local/state/lifelog-agent"],
});

/**
 * Makes a `.deb`. The service is installed and not enabled: each user decides for themselves, by
 * `systemctl --user enable --now lifelog-agent`.
 */
export function debianPackage(options: DebianOptions): Uint8Array {
  const { version, architecture, program, manual, completions, license, changelog } = options;
  const { homepage, maintainer, timeSeconds } = options;
  const doc = "./usr/share/doc/lifelog-agent";
  const files: ArchiveFile[] = [
    { path: "./usr/bin/lifelog-agent", bytes: program, mode: 0o755 },
    { path: "./usr/lib/systemd/user/lifelog-agent.service", bytes: text(UNIT) },
    {
      path: "./usr/share/user-tmpfiles.d/lifelog-agent.conf",
      bytes: text(
        "# The folder of the cache: the service may write nowhere else.\nd %h/.local/state/lifelog-agent 0700\n",
      ),
    },
    { path: "./usr/share/man/man1/lifelog-agent.1.gz", bytes: gzip(text(manual)) },
    { path: "./usr/share/bash-completion/completions/lifelog-agent", bytes: text(completions.bash) },
    { path: "./usr/share/zsh/vendor-completions/_lifelog-agent", bytes: text(completions.zsh) },
    { path: "./usr/share/fish/vendor_completions.d/lifelog-agent.fish", bytes: text(completions.fish) },
    { path: `${doc}/changelog.gz`, bytes: gzip(text(changelog)) },
    { path: `${doc}/changelog.Debian.gz`, bytes: gzip(text(debianChangelog(options))) },
    { path: "./usr/share/lintian/overrides/lifelog-agent", bytes: text(OVERRIDES) },
    { path: `${doc}/copyright`, bytes: text(copyrightOf(license, homepage)) },
  ];
  const size = files.reduce((sum, { bytes }) => sum + Math.ceil(bytes.length / 1024), 0);
  const control = `Package: lifelog-agent
Version: ${version}-1
Architecture: ${architecture}
Maintainer: ${maintainer}
Installed-Size: ${size}
Depends: ca-certificates, libc6 (>= 2.27), libgcc-s1
Section: utils
Priority: optional
Homepage: ${homepage}
Description: delivers what ActivityWatch records to a LifeLog server
 Collects the windows, pages and absences that ActivityWatch records on this
 device, keeps them in a cache and delivers them to a central LifeLog server:
 each event once, with its final duration, through outages on either side.
 .
 It comes with a systemd unit for users, which each user enables by
 "systemctl --user enable --now lifelog-agent".
`;
  const sums = files.map(({ path, bytes }) =>
    `${createHash("md5").update(bytes).digest("hex")}  ${path.slice(2)}\n`
  ).join("");
  const archive = { timeSeconds, folders: true };
  return ar([
    { path: "debian-binary", bytes: text("2.0\n") },
    {
      path: "control.tar.gz",
      bytes: tarGz(
        [{ path: "./control", bytes: text(control) }, { path: "./md5sums", bytes: text(sums) }],
        archive,
      ),
    },
    { path: "data.tar.gz", bytes: tarGz(files, archive) },
  ], { timeSeconds });
}

/** What lintian says of every program that `deno compile` makes, and why it stays. */
const OVERRIDES = `# Deno's runtime carries its libraries with it, and their messages with their spelling.
lifelog-agent: embedded-library *
lifelog-agent: spelling-error-in-binary *
# Made by the project itself, not by Debian: there is no bug of Debian's to close.
lifelog-agent: initial-upload-closes-no-bugs *
`;

function copyrightOf(license: string, homepage: string): string {
  const [, , copyright = "", , ...rest] = license.trimEnd().split("\n");
  const holder = copyright.replace(/^Copyright \(c\) /, "");
  return `Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/
Upstream-Name: lifelog-agent
Source: ${homepage}

Files: *
Copyright: ${holder}
License: Expat
${rest.map((line) => line === "" ? " ." : ` ${line}`).join("\n")}

Files: usr/bin/lifelog-agent
Copyright: ${holder}
 2018-2026 the Deno authors
License: Expat
Comment: The program holds Deno's runtime (Expat), V8 (BSD-3-clause) and SQLite (public domain).
`;
}

function debianChangelog({ version, maintainer, timeSeconds }: DebianOptions): string {
  const date = new Date(timeSeconds * 1000).toUTCString().replace("GMT", "+0000");
  return `lifelog-agent (${version}-1) unstable; urgency=medium\n\n  * Version ${version}: see changelog.gz.\n\n -- ${maintainer}  ${date}\n`;
}

function text(content: string): Uint8Array {
  return new TextEncoder().encode(content);
}
