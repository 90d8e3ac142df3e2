#!/usr/bin/env bash
# Usage: keyring.sh FOLDER COMMAND ARGUMENT...
# Example: tests/services/keyring.sh /tmp/keyring secret-tool search service labkit
#
# Runs a command in a D-Bus session of its own with a real, unlocked keychain (gnome-keyring), which keeps its secrets in
# the folder; both end with the command, whose exit status is passed on. On Debian it needs:
#   apt-get install --no-install-recommends dbus gnome-keyring
set -euo pipefail

# Usage: fail SENTENCE
# Example: fail "The folder is missing."
fail() {
  printf '%s\n' "$1" >&2
  exit 1
}

if (($# < 2)); then
  sed -n '2,7s/^# \{0,1\}//p' "${BASH_SOURCE[0]}" >&2
  exit 2
fi
for program in dbus-run-session gnome-keyring-daemon; do
  command -v "$program" >/dev/null ||
    fail "$program is missing. Install it with: apt-get install --no-install-recommends dbus gnome-keyring"
done
mkdir -p "$1/control"
folder=$(realpath "$1")
chmod 700 "$folder" "$folder/control"

# The session: it waits until the keychain has a name on the bus, which is when its first message comes.
# shellcheck disable=SC2016
exec dbus-run-session -- bash -c '
  folder=$1
  shift
  printf password | XDG_DATA_HOME=$folder gnome-keyring-daemon --foreground --unlock --components=secrets \
    --control-directory="$folder/control" >"$folder/log" 2>&1 &
  daemon=$!
  trap "kill $daemon 2>/dev/null" EXIT # it does not always notice the end of the bus
  until dbus-send --session --print-reply --dest=org.freedesktop.DBus / org.freedesktop.DBus.NameHasOwner \
    string:org.freedesktop.secrets 2>/dev/null | grep -q "boolean true"; do
    kill -0 "$daemon" 2>/dev/null || { cat "$folder/log" >&2; exit 1; }
    sleep 0.05
  done
  "$@"' keyring "$folder" "${@:2}"
