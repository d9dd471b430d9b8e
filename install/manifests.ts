/** What package managers are told of a release: where its archives are and what they hash to. */

/** A release, as its manifests see it. */
export interface Release {
  readonly version: string;
  readonly homepage: string;
  /** Where the archives are downloaded from, without a slash at the end. */
  readonly url: string;
  /** SHA-256 in hexadecimal digits, by the archive's name. */
  readonly sha256: ReadonlyMap<string, string>;
}

const DESCRIPTION = "Delivers what ActivityWatch records to a LifeLog server";

/** The name of a platform's archive. */
export function archiveName(version: string, platform: string): string {
  return `lifelog-agent-${version}-${platform}.${platform.startsWith("windows") ? "zip" : "tar.gz"}`;
}

function archive(release: Release, platform: string): { url: string; sha256: string } {
  const name = archiveName(release.version, platform);
  const sha256 = release.sha256.get(name);
  if (sha256 === undefined) throw new Error(`Cannot write a manifest as there is no ${name} in the release`);
  return { url: `${release.url}/${name}`, sha256 };
}

/** The formula for Homebrew, on macOS and Linux. */
export function homebrewFormula(release: Release): string {
  const source = (platform: string, indent: string) => {
    const { url, sha256 } = archive(release, platform);
    return `${indent}url "${url}"\n${indent}sha256 "${sha256}"`;
  };
  return `class LifelogAgent < Formula
  desc "${DESCRIPTION}"
  homepage "${release.homepage}"
  version "${release.version}"
  license "MIT"

  on_macos do
    on_arm do
${source("macos-arm64", "      ")}
    end
    on_intel do
${source("macos-x64", "      ")}
    end
  end

  on_linux do
    on_arm do
${source("linux-arm64", "      ")}
    end
    on_intel do
${source("linux-x64", "      ")}
    end
  end

  def install
    bin.install "lifelog-agent"
    man1.install "lifelog-agent.1"
  end

  service do
    run [opt_bin/"lifelog-agent"]
    keep_alive crashed: true
    log_path var/"log/lifelog-agent.log"
    error_log_path var/"log/lifelog-agent.log"
  end

  test do
    assert_match version.to_s, shell_output("#{bin}/lifelog-agent --version")
  end
end
`;
}

/** The manifest for Scoop, on Windows. */
export function scoopManifest(release: Release): string {
  const { url, sha256 } = archive(release, "windows-x64");
  return `${
    JSON.stringify(
      {
        version: release.version,
        description: DESCRIPTION,
        homepage: release.homepage,
        license: "MIT",
        architecture: { "64bit": { url, hash: sha256 } },
        bin: "lifelog-agent.exe",
        notes: "Start it at every login: lifelog-agent service install",
      },
      null,
      2,
    )
  }\n`;
}

/** The manifests for winget, by the name of their file. */
export function wingetManifests(release: Release): Map<string, string> {
  const { url, sha256 } = archive(release, "windows-x64");
  const id = "LifeLog.Agent";
  const head = (type: string) =>
    `# yaml-language-server: $schema=https://aka.ms/winget-manifest.${type}.1.6.0.schema.json\n` +
    `PackageIdentifier: ${id}\nPackageVersion: ${release.version}\n`;
  const tail = (type: string) => `ManifestType: ${type}\nManifestVersion: 1.6.0\n`;
  return new Map([
    [`${id}.yaml`, `${head("version")}DefaultLocale: en-US\n${tail("version")}`],
    [
      `${id}.installer.yaml`,
      `${head("installer")}InstallerType: zip
NestedInstallerType: portable
NestedInstallerFiles:
  - RelativeFilePath: lifelog-agent.exe
    PortableCommandAlias: lifelog-agent
Installers:
  - Architecture: x64
    InstallerUrl: ${url}
    InstallerSha256: ${sha256.toUpperCase()}
${tail("installer")}`,
    ],
    [
      `${id}.locale.en-US.yaml`,
      `${head("defaultLocale")}PackageLocale: en-US
Publisher: LifeLog
PackageName: lifelog-agent
PackageUrl: ${release.homepage}
License: MIT
ShortDescription: ${DESCRIPTION}
${tail("defaultLocale")}`,
    ],
  ]);
}
