<#
.SYNOPSIS
Installs, upgrades or removes lifelog-agent for the user who runs it: no administrator, nothing outside of the profile.
.PARAMETER From
An archive, a folder with archives and SHA256SUMS, or the address of one (default: the agent beside this script, else
the release this script is of).
.PARAMETER Sha256
What the archive must hash to (default: what SHA256SUMS beside it says).
.PARAMETER Prefix
Install to PREFIX\bin (default: %LOCALAPPDATA%\Programs\lifelog-agent).
.PARAMETER NoService
Do not start the agent at logon.
.PARAMETER Yes
Answer every question with yes: take over from the Python daemon, delete on -Purge.
.PARAMETER Uninstall
Stop and remove the agent; settings and cache stay.
.PARAMETER Purge
With -Uninstall: remove settings, cache and logs as well, unsent events with them.
.EXAMPLE
./install.ps1 -From https://example.org/lifelog-agent/v0.1.0
.EXAMPLE
./install.ps1 -Uninstall -Purge -WhatIf
#>
[CmdletBinding(SupportsShouldProcess)]
param(
    [string] $From = '',
    [string] $Sha256 = '',
    [string] $Prefix = (Join-Path $env:LOCALAPPDATA 'Programs\lifelog-agent'),
    [switch] $NoService,
    [switch] $Yes,
    [switch] $Uninstall,
    [switch] $Purge
)

Set-StrictMode -Version 3.0
$ErrorActionPreference = 'Stop'
$ProgressPreference = 'SilentlyContinue'

# Where a release is downloaded from; written in when a release is made.
$ReleaseUrl = '@RELEASE_URL@'
$Name = 'lifelog-agent'
$Program = Join-Path $Prefix "bin\$Name.exe"
$ConfigFolder = Join-Path $env:APPDATA $Name
$StateFolder = Join-Path $env:LOCALAPPDATA $Name
$Definition = Join-Path $StateFolder "$Name.task.xml"
$DaemonFolder = Join-Path $env:USERPROFILE '.lifelog'
$Cmdlet = $PSCmdlet

function Test-Agreed([string] $Question) {
    if ($Yes) { return $true }
    if (-not [Environment]::UserInteractive -or [Console]::IsInputRedirected) { return $false }
    return (Read-Host "$Question [y/N]") -match '^(y|yes)$'
}

function Get-ArchiveName([string] $Sums) {
    $found = Get-Content -LiteralPath $Sums |
        Where-Object { $_ -match '-windows-x64\.zip$' } |
        ForEach-Object { ($_ -split '\s+', 2)[1].TrimStart('*') } |
        Select-Object -Last 1
    if (-not $found) { throw 'The release has no archive for Windows: none in SHA256SUMS ends with -windows-x64.zip' }
    return $found
}

function Get-Wanted([string] $Sums, [string] $Archive) {
    $leaf = Split-Path -Leaf $Archive
    $line = Get-Content -LiteralPath $Sums | Where-Object { ($_ -split '\s+', 2)[1].TrimStart('*') -eq $leaf }
    if (-not $line) { throw "Cannot verify $Archive as $Sums does not name it" }
    return ($line -split '\s+', 2)[0]
}

# Puts a verified agent at $Work\lifelog-agent.exe.
function Get-Agent([string] $Work) {
    $beside = if ($PSScriptRoot) { Join-Path $PSScriptRoot "$Name.exe" } else { '' }
    if (-not $From -and $beside -and (Test-Path -LiteralPath $beside)) {
        # Unpacked from an archive: whoever unpacked it has had the archive to verify.
        Copy-Item -LiteralPath $beside -Destination $Work
        return
    }
    $place = if ($From) { $From } elseif ($ReleaseUrl.StartsWith('@')) {
        throw 'Where from? Name an archive, a folder or an address by -From'
    } else { $ReleaseUrl }
    $sums = Join-Path $Work 'SHA256SUMS'
    if ($place -match '^https?://') {
        [Net.ServicePointManager]::SecurityProtocol = [Net.ServicePointManager]::SecurityProtocol -bor
            [Net.SecurityProtocolType]::Tls12
        $base = if ($place.EndsWith('.zip')) { $place.Substring(0, $place.LastIndexOf('/')) } else { $place.TrimEnd('/') }
        if (-not $Sha256) { Invoke-WebRequest -UseBasicParsing -Uri "$base/SHA256SUMS" -OutFile $sums }
        $leaf = if ($place.EndsWith('.zip')) { Split-Path -Leaf $place }
        elseif ($Sha256) { throw '-Sha256 needs the whole address of an archive' }
        else { Get-ArchiveName $sums }
        $archive = Join-Path $Work $leaf
        Invoke-WebRequest -UseBasicParsing -Uri "$base/$leaf" -OutFile $archive
    } elseif (Test-Path -LiteralPath $place -PathType Container) {
        $sums = Join-Path $place 'SHA256SUMS'
        $archive = Join-Path $place (Get-ArchiveName $sums)
    } else {
        $archive = $place
        $sums = Join-Path (Split-Path -Parent (Resolve-Path -LiteralPath $place)) 'SHA256SUMS'
    }
    $wanted = if ($Sha256) { $Sha256 } else { Get-Wanted $sums $archive }
    $found = (Get-FileHash -Algorithm SHA256 -LiteralPath $archive).Hash
    if ($found -ne $wanted) { throw "Refused: $archive must hash to $wanted and hashes to $found" }
    Expand-Archive -LiteralPath $archive -DestinationPath $Work -Force
}

function Stop-Agent {
    if (Get-ScheduledTask -TaskName $Name -ErrorAction SilentlyContinue) {
        Stop-ScheduledTask -TaskName $Name -ErrorAction SilentlyContinue
    }
    # The task's conhost does not take its agent with it.
    Get-Process -Name $Name -ErrorAction SilentlyContinue |
        Where-Object { $_.Path -eq $Program } |
        Stop-Process -Force
}

# A program that runs cannot be overwritten but renamed; what it was is removed when it has ended.
function Install-Program([string] $New) {
    if ((Test-Path -LiteralPath $Program) -and
        (Get-FileHash -LiteralPath $Program).Hash -eq (Get-FileHash -LiteralPath $New).Hash) {
        Write-Output "$Program is as it should be"
        return
    }
    if (-not $Cmdlet.ShouldProcess($Program, 'Install')) { return }
    New-Item -ItemType Directory -Force -Path (Split-Path -Parent $Program) | Out-Null
    Remove-Item -LiteralPath "$Program.old" -Force -ErrorAction SilentlyContinue
    if (Test-Path -LiteralPath $Program) { Move-Item -LiteralPath $Program -Destination "$Program.old" -Force }
    Move-Item -LiteralPath $New -Destination $Program
    Write-Output "Installed $Program"
}

function Write-Setting {
    $files = @(
        (Join-Path $ConfigFolder 'config.toml'), (Join-Path $ConfigFolder 'config.env'), (Join-Path $DaemonFolder 'config.env')
    )
    $there = $files | Where-Object { Test-Path -LiteralPath $_ } | Select-Object -First 1
    if ($there) {
        Write-Output "Settings: $there"
        return
    }
    $file = $files[1]
    if (-not $Cmdlet.ShouldProcess($file, 'Write settings')) { return }
    $endpoint = "$env:CENTRAL_SERVER_ENDPOINT"
    $token = "$env:SERVER_AUTH_TOKEN"
    if (-not $endpoint -and [Environment]::UserInteractive -and -not [Console]::IsInputRedirected) {
        $endpoint = Read-Host "The LifeLog server's ingestion address (empty: collect only, for now)"
        if ($endpoint -and -not $token) {
            $secure = Read-Host 'Its token' -AsSecureString
            $token = [Net.NetworkCredential]::new('', $secure).Password
        }
    }
    if ("$endpoint$token".Contains("'")) { throw "Cannot write a value with a quote in it: write $file yourself" }
    $lines = @(
        if ($endpoint) { "CENTRAL_SERVER_ENDPOINT='$endpoint'" }
        else { '# CENTRAL_SERVER_ENDPOINT=https://lifelog.example.org/api/v1/ingest' }
        if ($token) { "SERVER_AUTH_TOKEN='$token'" } else { '# SERVER_AUTH_TOKEN=' }
    )
    New-Item -ItemType Directory -Force -Path $ConfigFolder | Out-Null
    [IO.File]::WriteAllLines($file, $lines)
    # For its user alone: what the folder hands down is taken away.
    $user = [Security.Principal.WindowsIdentity]::GetCurrent().Name
    icacls $file /inheritance:r /grant:r "${user}:F" | Out-Null
    Write-Output "Settings: $file (new)"
}

# Takes over from the Python daemon, with consent. The two at once would send the same events in two forms.
function Invoke-TakeOver {
    $cache = @(
        (Join-Path $DaemonFolder 'local_daemon_cache.sqlite'), (Join-Path $env:USERPROFILE 'local_daemon_cache.sqlite')
    ) | Where-Object { Test-Path -LiteralPath $_ }
    $tasks = @(Get-ScheduledTask -ErrorAction SilentlyContinue | Where-Object {
            $_.State -ne 'Disabled' -and ($_.Actions | Where-Object { "$($_.Execute) $($_.Arguments)" -match 'local_daemon' })
        })
    if (-not $cache -and $tasks.Count -eq 0) { return $true }
    Write-Information "The Python daemon is installed: $($cache -join ', ') $($tasks.TaskName -join ', ')" -InformationAction Continue
    if (-not (Test-Agreed 'Stop it for good, and deliver what it has not sent?')) {
        Write-Warning 'Left as it is. Before both send, take over: install.ps1 -Yes'
        return $false
    }
    if (-not $Cmdlet.ShouldProcess('the Python daemon', 'Take over')) { return $true }
    foreach ($task in $tasks) {
        $task | Stop-ScheduledTask
        $task | Disable-ScheduledTask | Out-Null
    }
    Stop-Agent
    foreach ($file in $cache) {
        & $Program migrate $file | Write-Information -InformationAction Continue
        if ($LASTEXITCODE -ne 0) { return $false }
    }
    return $true
}

function Start-Agent {
    if (-not $Cmdlet.ShouldProcess($Name, 'Start now and at every logon')) { return }
    $said = @(& $Program service install)
    if ($LASTEXITCODE -ne 0) { throw 'The service cannot be defined' }
    Write-Output $said[0]
    Register-ScheduledTask -Force -TaskName $Name -Xml (Get-Content -Raw -LiteralPath $Definition) | Out-Null
    Stop-Agent
    Start-ScheduledTask -TaskName $Name
    Write-Output 'The agent is running, and starts at every logon'
}

function Install-Agent {
    if ($env:PROCESSOR_ARCHITECTURE -notin 'AMD64', 'ARM64') { throw "There is no $Name for $env:PROCESSOR_ARCHITECTURE" }
    $work = Join-Path ([IO.Path]::GetTempPath()) "$Name.$([Guid]::NewGuid())"
    New-Item -ItemType Directory -Path $work -WhatIf:$false | Out-Null
    try {
        Get-Agent $work
        $new = Join-Path $work "$Name.exe"
        $version = @(& $new --version)
        if ($LASTEXITCODE -ne 0) { throw 'The agent does not run on this machine: nothing was changed' }
        Write-Output "$($version[0]) for windows-x64"
        Install-Program $new
        Write-Setting
        if (Invoke-TakeOver) {
            if (-not $NoService) { Start-Agent }
        } elseif (-not $NoService) {
            Write-Warning 'The agent is not started'
        }
        if (-not $WhatIfPreference) {
            & $Program doctor
            if ($LASTEXITCODE -ne 0) { Write-Warning 'doctor found something to mend, see above' }
        }
    } finally {
        Remove-Item -LiteralPath $work -Recurse -Force -WhatIf:$false
    }
    $folder = Split-Path -Parent $Program
    if (($env:PATH -split ';') -notcontains $folder) { Write-Output "Put $folder in your PATH to call it as $Name" }
}

function Uninstall-Agent {
    if ($Purge -and -not $WhatIfPreference -and
        -not (Test-Agreed 'Delete settings, cache and logs, and the events that are not sent yet?')) {
        throw 'Nothing was removed: -Purge deletes for good, agree by -Yes'
    }
    if ($Cmdlet.ShouldProcess($Name, 'Stop and remove')) {
        Stop-Agent
        Unregister-ScheduledTask -TaskName $Name -Confirm:$false -ErrorAction SilentlyContinue
        Remove-Item -LiteralPath $Definition, $Program, "$Program.old" -Force -ErrorAction SilentlyContinue
        # Folders that were made for it and hold nothing now.
        foreach ($folder in (Split-Path -Parent $Program), $Prefix) {
            if ((Test-Path -LiteralPath $folder) -and -not (Get-ChildItem -LiteralPath $folder -Force)) {
                Remove-Item -LiteralPath $folder
            }
        }
    }
    if (-not $Purge) {
        Write-Output "Removed; settings are left in $ConfigFolder, the cache in $StateFolder"
    } elseif ($Cmdlet.ShouldProcess("$ConfigFolder and $StateFolder", 'Delete')) {
        Remove-Item -LiteralPath $ConfigFolder, $StateFolder -Recurse -Force -ErrorAction SilentlyContinue
        Write-Output 'Removed: nothing is left'
    }
}

if ($Purge -and -not $Uninstall) { throw '-Purge goes with -Uninstall' }
if ($Uninstall) { Uninstall-Agent } else { Install-Agent }
