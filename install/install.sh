#!/bin/sh
# Installs, upgrades or removes lifelog-agent for the user who runs it: no root, nothing outside of the home folder.
# Run with --help for what can be said. Running it again is safe: it changes what differs and no more.
set -eu

NAME=lifelog-agent
# Where a release is downloaded from; written in when a release is made.
RELEASE_URL='@RELEASE_URL@'

usage() {
  cat <<'EOF'
Usage: install.sh [options]

  --from PLACE     an archive, a folder with archives and SHA256SUMS, or the address of one
                   (default: the agent beside this script, else the release this script is of)
  --sha256 HEX     what the archive must hash to (default: what SHA256SUMS beside it says)
  --prefix DIR     install to DIR/bin (default: ~/.local)
  --no-service     do not start the agent at login
  --yes            answer every question with yes: take over from the Python daemon, delete on --purge
  --dry-run        say what would be done and do nothing
  --uninstall      stop and remove the agent; settings and cache stay
  --purge          with --uninstall: remove settings, cache and logs as well, unsent events with them
  --help           print this

Where there is a terminal, it asks for the server's address and token when no settings file exists. Elsewhere it
takes them from CENTRAL_SERVER_ENDPOINT and SERVER_AUTH_TOKEN.
EOF
}

say() { printf '%s\n' "$*"; }
warn() { printf 'install.sh: %s\n' "$*" >&2; }
die() {
  warn "$*"
  exit 1
}

# Does a thing, or says in a dry run what it would be.
run() {
  if [ "$dry_run" = yes ]; then
    printf 'would run:'
    printf ' %s' "$@"
    printf '\n'
  else
    "$@"
  fi
}

has() { command -v "$1" >/dev/null 2>&1; }

terminal() { [ -t 2 ] && (: </dev/tty) 2>/dev/null; }

# ask QUESTION: reads an answer from the terminal into $answer.
ask() {
  printf '%s' "$1" >/dev/tty
  IFS= read -r answer </dev/tty || answer=''
}

# agreed QUESTION: yes by --yes or by an answer; no where nobody can be asked.
agreed() {
  [ "$yes" = yes ] && return 0
  terminal || return 1
  ask "$1 [y/N] "
  case $answer in y | Y | yes | Yes) return 0 ;; *) return 1 ;; esac
}

from='' sha256='' prefix='' service=yes yes=no dry_run=no action=install purge=no
while [ $# -gt 0 ]; do
  case $1 in
    --from | --sha256 | --prefix)
      [ $# -ge 2 ] || die "Option $1 needs a value"
      case $1 in --from) from=$2 ;; --sha256) sha256=$2 ;; --prefix) prefix=$2 ;; esac
      shift
      ;;
    --from=*) from=${1#*=} ;;
    --sha256=*) sha256=${1#*=} ;;
    --prefix=*) prefix=${1#*=} ;;
    --no-service) service=no ;;
    --yes) yes=yes ;;
    --dry-run) dry_run=yes ;;
    --uninstall) action=uninstall ;;
    --purge) purge=yes ;;
    --help | -h)
      usage
      exit 0
      ;;
    *)
      usage >&2
      die "There is no option $1"
      ;;
  esac
  shift
done

[ -n "${HOME:-}" ] || die "Cannot find the home folder as HOME is not set"
[ "$purge" = no ] || [ "$action" = uninstall ] || die "--purge goes with --uninstall"
: "${prefix:=$HOME/.local}"
case $prefix in /*) ;; *) prefix=$PWD/$prefix ;; esac
bin=$prefix/bin/$NAME
manual=$prefix/share/man/man1/$NAME.1

system=$(uname -s)
case $system in
  Linux)
    config_dir=${XDG_CONFIG_HOME:-$HOME/.config}/$NAME
    state_dir=${XDG_STATE_HOME:-$HOME/.local/state}/$NAME
    units_dir=${XDG_CONFIG_HOME:-$HOME/.config}/systemd/user
    definition=$units_dir/$NAME.service
    os=linux
    ;;
  Darwin)
    config_dir="$HOME/Library/Application Support/$NAME"
    state_dir=$config_dir
    units_dir=$HOME/Library/LaunchAgents
    definition=$units_dir/org.lifelog.agent.plist
    os=macos
    ;;
  *) die "There is no $NAME for $system: on Windows use install.ps1" ;;
esac

# platform: the name of this machine's archives.
platform() {
  machine=$(uname -m)
  # A shell that is translated by Rosetta takes an arm64 Mac for an x86_64 one.
  if [ "$os" = macos ] && [ "$(sysctl -n sysctl.proc_translated 2>/dev/null || :)" = 1 ]; then machine=arm64; fi
  case $machine in
    x86_64 | amd64) cpu=x64 ;;
    aarch64 | arm64) cpu=arm64 ;;
    *) die "There is no $NAME for the CPU $machine" ;;
  esac
  if [ "$os" = linux ] && has ldd && ldd --version 2>&1 | grep -qi musl; then
    die "There is no $NAME for a Linux with musl: it needs the GNU C library"
  fi
  printf '%s-%s' "$os" "$cpu"
}

hash_of() {
  if has sha256sum; then sha256sum "$1" | cut -d ' ' -f 1
  elif has shasum; then shasum -a 256 "$1" | cut -d ' ' -f 1
  elif has openssl; then openssl dgst -sha256 -r "$1" | cut -d ' ' -f 1
  else die "Cannot verify the archive as there is none of sha256sum, shasum and openssl"; fi
}

# fetch ADDRESS FILE
fetch() {
  if has curl; then curl --fail --silent --show-error --location --proto '=https,file,http' -o "$2" "$1"
  elif has wget; then wget -q -O "$2" "$1"
  else die "Cannot download as there is neither curl nor wget"; fi || die "Cannot download $1"
}

# obtain: puts a verified agent at $work/lifelog-agent.
obtain() {
  # Piped into a shell, the script has no place of its own, and what lies in the current folder is anybody's.
  here=''
  case $0 in install.sh | */install.sh) here=$(CDPATH='' cd -- "$(dirname -- "$0")" 2>/dev/null && pwd) || here='' ;; esac
  if [ -z "$from" ] && [ -n "$here" ] && [ -x "$here/$NAME" ] && [ -f "$here/$NAME.1" ]; then
    # Unpacked from an archive: whoever unpacked it has had the archive to verify.
    cp "$here/$NAME" "$here/$NAME.1" "$work/"
    return
  fi
  if [ -z "$from" ]; then
    case $RELEASE_URL in
      @*) die "Where from? Name an archive, a folder or an address by --from" ;;
      *) from=$RELEASE_URL ;;
    esac
  fi
  suffix=-$(platform).tar.gz
  archive='' sums=''
  case $from in
    http://* | https://*)
      case $from in
        *.tar.gz)
          archive=$work/${from##*/}
          base=${from%/*}
          name=${from##*/}
          ;;
        *)
          base=${from%/}
          name=''
          ;;
      esac
      if [ -z "$sha256" ]; then
        sums=$work/SHA256SUMS
        fetch "$base/SHA256SUMS" "$sums"
      fi
      if [ -z "$name" ]; then
        [ -n "$sums" ] || die "--sha256 needs the whole address of an archive"
        name=$(name_in "$sums" "$suffix")
        archive=$work/$name
      fi
      fetch "$base/$name" "$archive"
      ;;
    *)
      if [ -d "$from" ]; then
        sums=$from/SHA256SUMS
        [ -f "$sums" ] || die "There is no $sums"
        archive=$from/$(name_in "$sums" "$suffix")
      else
        archive=$from
        sums=$(dirname -- "$from")/SHA256SUMS
      fi
      ;;
  esac
  [ -f "$archive" ] || die "There is no archive $archive"
  if [ -z "$sha256" ]; then
    [ -f "$sums" ] || die "Cannot verify $archive as there is no SHA256SUMS beside it: say by --sha256 what it must hash to"
    sha256=$(awk -v name="${archive##*/}" '$2 == name || $2 == "*" name { print $1 }' "$sums")
    [ -n "$sha256" ] || die "Cannot verify $archive as $sums does not name it"
  fi
  found=$(hash_of "$archive")
  [ "$found" = "$sha256" ] || die "Refused: $archive must hash to $sha256 and hashes to $found"
  tar -xzf "$archive" -C "$work" "$NAME" "$NAME.1" || die "Cannot unpack $archive"
}

# name_in SUMS SUFFIX: the archive of this platform.
name_in() {
  awk -v suffix="$2" 'substr($2, length($2) - length(suffix) + 1) == suffix { print $2 }' "$1" | tail -n 1 |
    grep . || die "The release has no archive for this platform: none in SHA256SUMS ends with $2"
}

user_systemd() { [ "$os" = linux ] && has systemctl && systemctl --user show-environment >/dev/null 2>&1; }

stop_service() {
  if [ "$os" = macos ]; then
    run launchctl bootout "gui/$(id -u)" "$definition" 2>/dev/null || :
  elif user_systemd; then
    run systemctl --user stop $NAME 2>/dev/null || :
  fi
}

# replace FILE TARGET MODE: a program that runs keeps the old file until it ends.
replace() {
  if [ -f "$2" ] && cmp -s "$1" "$2"; then
    say "$2 is as it should be"
    return
  fi
  run mkdir -p "$(dirname -- "$2")"
  if [ "$dry_run" = yes ]; then
    say "would install $2"
    return
  fi
  cp "$1" "$2.new.$$"
  chmod "$3" "$2.new.$$"
  mv -f "$2.new.$$" "$2"
  say "Installed $2"
}

settings_file() {
  for file in "$config_dir/config.toml" "$config_dir/config.env" "$HOME/.lifelog/config.env"; do
    [ -f "$file" ] || continue
    printf '%s' "$file"
    return
  done
}

write_settings() {
  file=$(settings_file)
  if [ -n "$file" ]; then
    say "Settings: $file"
    return
  fi
  endpoint=${CENTRAL_SERVER_ENDPOINT:-} token=${SERVER_AUTH_TOKEN:-}
  if [ -z "$endpoint" ] && [ "$dry_run" = no ] && terminal; then
    ask "The LifeLog server's ingestion address (empty: collect only, for now): "
    endpoint=$answer
    if [ -n "$endpoint" ] && [ -z "$token" ]; then
      stty -echo </dev/tty 2>/dev/null || :
      ask "Its token: "
      stty echo </dev/tty 2>/dev/null || :
      printf '\n' >/dev/tty
      token=$answer
    fi
  fi
  if [ "$dry_run" = yes ]; then
    say "would write $config_dir/config.env"
    return
  fi
  (
    umask 077
    mkdir -p "$config_dir"
    {
      if [ -n "$endpoint" ]; then setting CENTRAL_SERVER_ENDPOINT "$endpoint"; else say "# CENTRAL_SERVER_ENDPOINT=https://lifelog.example.org/api/v1/ingest"; fi
      if [ -n "$token" ]; then setting SERVER_AUTH_TOKEN "$token"; else say "# SERVER_AUTH_TOKEN="; fi
    } >"$config_dir/config.env.new.$$"
    mv -f "$config_dir/config.env.new.$$" "$config_dir/config.env"
  )
  say "Settings: $config_dir/config.env (new)"
}

# setting NAME VALUE: quoted, so that no character of the value means more than itself.
setting() {
  case $2 in *\'*) die "Cannot write $1 as its value holds a quote: write $config_dir/config.env yourself" ;; esac
  printf "%s='%s'\n" "$1" "$2"
}

# daemon_units: the definitions that would start the Python daemon, one a line.
daemon_units() {
  [ -d "$units_dir" ] || return 0
  find "$units_dir" -maxdepth 1 \( -name '*.service' -o -name '*.plist' \) \
    -exec grep -l 'local_daemon' {} + 2>/dev/null || :
}

# daemon_services: those of them that start it, or have.
daemon_services() {
  daemon_units | while IFS= read -r unit; do
    if user_systemd; then
      name=$(basename "$unit")
      systemctl --user is-enabled --quiet "$name" 2>/dev/null || systemctl --user is-active --quiet "$name" || continue
    fi
    printf '%s\n' "$unit"
  done
}

# daemon_caches: where the Python daemon's cache may be, one a line.
daemon_caches() {
  {
    printf '%s\n' "$HOME/.lifelog/local_daemon_cache.sqlite" "$HOME/local_daemon_cache.sqlite"
    if [ -f "$HOME/.lifelog/config.env" ]; then
      sed -n 's/^ *\(export \)\{0,1\}LOCAL_CACHE_DB_PATH *= *//p' "$HOME/.lifelog/config.env" |
        sed -e "s/^[\"']//" -e "s/[\"'] *\$//" -e "s|^~/|$HOME/|" -e "s|^\([^/]\)|$HOME/.lifelog/\1|"
    fi
    daemon_units | while IFS= read -r unit; do
      sed -n 's/^WorkingDirectory= *//p' "$unit" | sed -e "s|^%h|$HOME|" -e "s|^~|$HOME|" -e 's|$|/local_daemon_cache.sqlite|'
      sed -n '/<key>WorkingDirectory<\/key>/{n;s/.*<string>\(.*\)<\/string>.*/\1\/local_daemon_cache.sqlite/p;}' "$unit"
    done
  } | awk '!seen[$0]++' | while IFS= read -r cache; do
    # Its name, or the table that it alone has, tells the daemon's cache from the agent's.
    if [ -f "$cache" ] && grep -q event_cache "$cache"; then printf '%s\n' "$cache"; fi
  done
}

# take_over: from the Python daemon, with consent. The two at once would send the same events in two forms.
take_over() {
  services=$(daemon_services)
  caches=$(daemon_caches)
  [ -n "$services$caches" ] || return 0
  say "The Python daemon is installed:"
  printf '%s\n' "$services" "$caches" | sed -e '/^$/d' -e 's/^/  /'
  if ! agreed "Stop it for good, and deliver what it has not sent?"; then
    warn "Left as it is. Before both send, take over: install.sh --yes"
    return 1
  fi
  printf '%s\n' "$services" | while IFS= read -r unit; do
    [ -n "$unit" ] || continue
    name=$(basename "$unit")
    if [ "$os" = macos ]; then
      run launchctl bootout "gui/$(id -u)" "$unit" 2>/dev/null || :
      run mv -f "$unit" "$unit.disabled"
    elif user_systemd; then
      run systemctl --user disable --now "$name"
    else
      warn "Cannot stop $name as systemd does not answer: stop it before the agent starts"
    fi
  done
  if has pgrep && pgrep -u "$(id -u)" -f 'python.*local_daemon' >/dev/null 2>&1; then
    warn "The Python daemon still runs, not as a service: stop it, then run install.sh again"
    return 1
  fi
  stop_service
  printf '%s\n' "$caches" | while IFS= read -r cache; do
    [ -n "$cache" ] || continue
    run "$bin" migrate "$cache" || exit 1
  done || return 1
}

start_service() {
  if [ "$dry_run" = yes ]; then run "$bin" service install; else "$bin" service install | head -n 1; fi
  if [ "$os" = macos ]; then
    run launchctl bootout "gui/$(id -u)" "$definition" 2>/dev/null || :
    run launchctl bootstrap "gui/$(id -u)" "$definition"
  elif user_systemd; then
    run systemctl --user daemon-reload
    run systemctl --user enable --quiet $NAME
    # Comes back once the agent says that it is up, and fails when it does not come up.
    if ! run systemctl --user restart $NAME 2>/dev/null; then
      # 218 and 226: this system gives its users no namespaces to close the agent in.
      case $(systemctl --user show -p ExecMainStatus --value $NAME) in
        218 | 226)
          warn "This system gives its users no namespaces: the agent is closed in less"
          "$bin" service install --no-sandbox >/dev/null
          systemctl --user daemon-reload
          systemctl --user restart $NAME || die "The agent does not start: look at  journalctl --user -u $NAME"
          ;;
        *) die "The agent does not start: look at  journalctl --user -u $NAME" ;;
      esac
    fi
  else
    warn "systemd does not answer for this user, so the agent is not started. In a session of the user run:"
    warn "  systemctl --user daemon-reload && systemctl --user enable --now $NAME"
    return 0
  fi
  [ "$dry_run" = yes ] || say "The agent is running, and starts at every login"
}

install() {
  work=$(mktemp -d "${TMPDIR:-/tmp}/$NAME.XXXXXX")
  trap 'rm -rf "$work"' EXIT
  trap 'exit 130' INT TERM
  obtain
  chmod 755 "$work/$NAME"
  version=$("$work/$NAME" --version | head -n 1) || die "The agent does not run on this machine: nothing was changed"
  say "$version for $(platform)"
  replace "$work/$NAME" "$bin" 755
  replace "$work/$NAME.1" "$manual" 644
  write_settings
  if take_over; then
    if [ "$service" = yes ]; then start_service; fi
  elif [ "$service" = yes ]; then
    warn "The agent is not started"
  fi
  if [ "$dry_run" = no ]; then
    "$bin" doctor || warn "doctor found something to mend, see above"
  fi
  case :$PATH: in *":$prefix/bin:"*) ;; *) say "Put $prefix/bin in your PATH to call it as $NAME" ;; esac
}

# value_of NAME: a setting as the installed agent reads it.
value_of() {
  "$bin" config --json 2>/dev/null |
    awk -v name="\"$1\":" '$1 == name { inside = 1 } inside && $1 == "\"value\":" { sub(/^[^:]*: "/, ""); sub(/",?$/, ""); print; exit }'
}

uninstall() {
  if [ "$purge" = yes ] && [ "$dry_run" = no ]; then
    agreed "Delete settings, cache and logs, and the events that are not sent yet?" ||
      die "Nothing was removed: --purge deletes for good, agree by --yes"
  fi
  cache='' log=''
  if [ -x "$bin" ]; then
    cache=$(value_of LOCAL_CACHE_DB_PATH)
    log=$(value_of LOG_FILE)
  fi
  if [ "$os" = macos ]; then
    stop_service
  elif [ -f "$definition" ] && user_systemd; then
    run systemctl --user disable --now $NAME 2>/dev/null || :
  fi
  run rm -f "$definition" "$bin" "$manual"
  if [ "$os" = linux ] && user_systemd; then
    run systemctl --user daemon-reload
    run systemctl --user reset-failed $NAME 2>/dev/null || :
  fi
  if [ "$purge" = yes ]; then
    run rm -rf "$config_dir" "$state_dir"
    case $cache in
      /*) for file in "$cache" "$cache"-wal "$cache"-shm "$cache".*; do run rm -f "$file"; done
        run rm -f "$(dirname -- "$cache")/device-id"
        run rmdir "$(dirname -- "$cache")" 2>/dev/null || : ;;
    esac
    case $log in /*) for file in "$log" "$log".[0-9]*; do run rm -f "$file"; done ;; esac
  fi
  # Folders that were made for the above and hold nothing now.
  for folder in "$prefix/share/man/man1" "$prefix/share/man" "$prefix/share" "$prefix/bin" \
    "$units_dir/default.target.wants" "$units_dir" "${units_dir%/*}" "${state_dir%/*}" \
    "${config_dir%/*}" "$prefix"; do
    if [ -d "$folder" ] && [ "$folder" != "$HOME" ]; then run rmdir "$folder" 2>/dev/null || :; fi
  done
  if [ "$purge" = yes ]; then say "Removed: nothing is left"; else say "Removed; settings are left in $config_dir, the cache in $state_dir"; fi
}

# In a function, so that a script that was cut short in its download does nothing.
main() { if [ "$action" = install ]; then install; else uninstall; fi; }
main
