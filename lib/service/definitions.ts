/** What each system's service manager is told about the agent. Text only: nothing here touches the system. */

/** What a definition depends on. */
export interface ServiceOptions {
  /** The program's absolute path. */
  readonly program: string;
  /** A settings file to name; absent: it is looked for at the usual places. */
  readonly config?: string | undefined;
  /** The folders that the agent writes to: of its cache and its log. Where the manager can, all others are closed. */
  readonly writable: readonly string[];
  /** Close with systemd what needs namespaces as well. Default: true. */
  readonly sandbox?: boolean;
}

/** The service's name with systemd and the Windows task scheduler. */
export const SERVICE_NAME = "lifelog-agent";
/** The service's label with launchd. */
export const LAUNCHD_LABEL = "org.lifelog.agent";

/**
 * A user unit of systemd. All that Deno can do without is closed: what is left open and why is said beside it.
 * Exit codes 2 (settings) and 4 (another agent) are not tried again: nothing would be different.
 */
export function systemdUnit({ program, config, writable, sandbox = true }: ServiceOptions): string {
  const args = [program, ...(config === undefined ? [] : ["--config", config])].map(systemdQuote).join(" ");
  return `[Unit]
Description=Delivers what ActivityWatch records to a LifeLog server
Documentation=man:lifelog-agent(1)
# Makes the folder of the cache, where a package installed the agent.
Wants=systemd-tmpfiles-setup.service
After=systemd-tmpfiles-setup.service
StartLimitIntervalSec=0

[Service]
Type=notify
ExecStart=${args}
Restart=on-failure
RestartPreventExitStatus=2 4
RestartSec=30
# The agent says every so often that it is alive; one that hangs is started anew.
WatchdogSec=5min
TimeoutStopSec=20

${sandbox ? sandboxOf(writable) : ""}UMask=0077
NoNewPrivileges=yes
LockPersonality=yes
RestrictRealtime=yes
RestrictSUIDSGID=yes
# Netlink: the C library asks by it which addresses this device has, to order those of a server.
RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6 AF_NETLINK
SystemCallArchitectures=native
SystemCallFilter=@system-service
SystemCallFilter=~@resources @privileged
SystemCallErrorNumber=EPERM
# MemoryDenyWriteExecute stays off: V8 compiles JavaScript to machine code.

[Install]
WantedBy=default.target
`;
}

/**
 * What needs namespaces of the user's own, which a few systems keep from their users. Without `PrivateUsers` a
 * user's systemd leaves most of it out, and says nothing.
 */
function sandboxOf(writable: readonly string[]): string {
  return `PrivateUsers=yes
ProtectSystem=strict
ProtectHome=read-only
${writable.map((folder) => `ReadWritePaths=-${systemdPath(folder)}\n`).join("")}PrivateTmp=yes
PrivateDevices=yes
ProtectClock=yes
ProtectControlGroups=yes
ProtectHostname=yes
ProtectKernelLogs=yes
ProtectKernelModules=yes
ProtectKernelTunables=yes
RestrictNamespaces=yes
CapabilityBoundingSet=
`;
}

/** A percent sign begins a specifier, a dollar sign a variable; %h stays what it is. */
function systemdQuote(text: string): string {
  const escaped = text.replaceAll(/[\\"]/g, "\\$&").replaceAll("$", "$$$$").replaceAll(/%(?!h\/)/g, "%%");
  return `"${escaped}"`;
}

function systemdPath(text: string): string {
  return text.replaceAll(/%(?!h\/)/g, "%%").replaceAll("\\", "\\x5c").replaceAll(" ", "\\x20");
}

/** A launchd agent of macOS, for `~/Library/LaunchAgents`. */
export function launchdPlist(options: ServiceOptions & { readonly logFile: string }): string {
  const { program, config, logFile } = options;
  const args = [program, ...(config === undefined ? [] : ["--config", config])];
  return `<?xml version="1.0" encoding="UTF-8"?>
<!DOCTYPE plist PUBLIC "-//Apple//DTD PLIST 1.0//EN" "http://www.apple.com/DTDs/PropertyList-1.0.dtd">
<plist version="1.0">
<dict>
  <key>Label</key>
  <string>${LAUNCHD_LABEL}</string>
  <key>ProgramArguments</key>
  <array>
${args.map((arg) => `    <string>${xml(arg)}</string>`).join("\n")}
  </array>
  <key>RunAtLoad</key>
  <true/>
  <key>KeepAlive</key>
  <dict>
    <key>SuccessfulExit</key>
    <false/>
  </dict>
  <key>ThrottleInterval</key>
  <integer>30</integer>
  <key>ExitTimeOut</key>
  <integer>20</integer>
  <key>ProcessType</key>
  <string>Background</string>
  <key>LowPriorityIO</key>
  <true/>
  <key>Umask</key>
  <integer>63</integer>
  <key>StandardErrorPath</key>
  <string>${xml(logFile)}</string>
</dict>
</plist>
`;
}

/**
 * A task of the Windows task scheduler: begins when its user logs on, without a window (conhost runs a console
 * program headless), and again a minute after it failed.
 */
export function windowsTask({ program, config }: ServiceOptions): string {
  const args = ["--headless", program, ...(config === undefined ? [] : ["--config", config])]
    .map((arg, index) => index === 0 ? arg : `"${arg}"`).join(" ");
  return `<?xml version="1.0"?>
<Task version="1.2" xmlns="http://schemas.microsoft.com/windows/2004/02/mit/task">
  <RegistrationInfo>
    <Description>Delivers what ActivityWatch records to a LifeLog server</Description>
  </RegistrationInfo>
  <Triggers>
    <LogonTrigger>
      <Enabled>true</Enabled>
    </LogonTrigger>
  </Triggers>
  <Principals>
    <Principal id="Author">
      <LogonType>InteractiveToken</LogonType>
      <RunLevel>LeastPrivilege</RunLevel>
    </Principal>
  </Principals>
  <Settings>
    <MultipleInstancesPolicy>IgnoreNew</MultipleInstancesPolicy>
    <DisallowStartIfOnBatteries>false</DisallowStartIfOnBatteries>
    <StopIfGoingOnBatteries>false</StopIfGoingOnBatteries>
    <StartWhenAvailable>true</StartWhenAvailable>
    <ExecutionTimeLimit>PT0S</ExecutionTimeLimit>
    <Priority>7</Priority>
    <RestartOnFailure>
      <Interval>PT1M</Interval>
      <Count>255</Count>
    </RestartOnFailure>
  </Settings>
  <Actions Context="Author">
    <Exec>
      <Command>conhost.exe</Command>
      <Arguments>${xml(args)}</Arguments>
    </Exec>
  </Actions>
</Task>
`;
}

function xml(text: string): string {
  return text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;").replaceAll(
    '"',
    "&quot;",
  );
}
