#!/usr/bin/env bash
# Usage: sshd.sh start FOLDER [NAME=VALUE...] | sshd.sh drop FOLDER | sshd.sh stop FOLDER
# Example: settings=$(tests/services/sshd.sh start /tmp/sshd SLURM_CONF=/tmp/slurm/slurm.conf) && eval "$settings"
#
# An OpenSSH server on a free port of the loopback interface, for whoever starts it: `ssh login`, where variables have these
# values and the shell is talkative. `start` prints where the `ssh` stands that knows it; `drop` breaks off every connection.
# On Debian it needs: apt-get install --no-install-recommends openssh-server openssh-client
set -Eeuo pipefail
PATH=$PATH:/usr/sbin:/sbin

# Usage: fail SENTENCE
# Example: fail "The folder is missing."
fail() {
  printf '%s\n' "$1" >&2
  exit 1
}

# Usage: find_free_port
# Example: find_free_port
find_free_port() {
  python3 -c '
import socket
with socket.create_server(("127.0.0.1", 0)) as listener:
    print(listener.getsockname()[1])'
}

# Usage: write_settings FOLDER PORT [NAME=VALUE...]
# Example: write_settings /tmp/sshd 2222
write_settings() {
  local folder=$1 port=$2
  ssh-keygen -q -t ed25519 -N '' -C host -f "$folder/host_key"
  ssh-keygen -q -t ed25519 -N '' -C login -f "$folder/login_key"
  cp "$folder/login_key.pub" "$folder/authorized_keys"
  printf '[127.0.0.1]:%s %s\n' "$port" "$(cut -d' ' -f1,2 "$folder/host_key.pub")" >"$folder/known_hosts"
  cat >"$folder/sshd_config" <<SETTINGS
ListenAddress 127.0.0.1
Port $port
HostKey $folder/host_key
PidFile $folder/sshd.pid
AuthorizedKeysFile $folder/authorized_keys
StrictModes no
PasswordAuthentication no
KbdInteractiveAuthentication no
UsePAM no
AllowUsers $(id -un)
MaxSessions 50
SetEnv HOME=$folder/home ${*:3}
SETTINGS
  cat >"$folder/ssh_config" <<SETTINGS
Host login
  HostName 127.0.0.1
  Port $port
  User $(id -un)
  IdentityFile $folder/login_key
  IdentitiesOnly yes
  UserKnownHostsFile $folder/known_hosts
  BatchMode yes
  ControlMaster auto
  ControlPersist 60
  ControlPath $folder/%C
SETTINGS
  # What a login shell may say, and what has been taken for an answer.
  cat >"$folder/home/.bash_profile" <<'SETTINGS'
echo "Welcome to the cluster: maintenance is on Monday."
echo 137
echo "Your quota is exceeded." >&2
SETTINGS
  printf '#!/bin/sh\nexec %s -F %s "$@"\n' "$(command -v ssh)" "$folder/ssh_config" >"$folder/bin/ssh"
  chmod +x "$folder/bin/ssh"
}

# Usage: start FOLDER [NAME=VALUE...]
# Example: start /tmp/sshd
start() {
  local folder program port deadline=$((SECONDS + 10))
  for program in sshd ssh ssh-keygen; do
    command -v "$program" >/dev/null || fail "$program is missing. Install it with:
  apt-get install --no-install-recommends openssh-server openssh-client"
  done
  [[ ! -e $1/sshd_config ]] || fail "The folder $1 is in use. Give another one."
  mkdir -p "$1"/{bin,home}
  folder=$(realpath "$1")
  # The path of a socket may have 107 characters, of which ssh wants 58.
  ((${#folder} < 50)) || fail "The path $folder is too long for the socket of a connection. Give a shorter one."
  if ((EUID == 0)); then mkdir -p /run/sshd; fi
  port=$(find_free_port)
  write_settings "$folder" "$port" "${@:2}"
  "$(command -v sshd)" -f "$folder/sshd_config" -E "$folder/sshd.log" </dev/null >&2 || fail "sshd did not start; $folder/sshd.log says why."
  until (: <"/dev/tcp/127.0.0.1/$port") 2>/dev/null; do
    ((SECONDS < deadline)) || fail "sshd did not answer; $folder/sshd.log says why."
    sleep 0.05
  done
  echo "export PATH=$folder/bin:\$PATH"
}

# Usage: find_processes FOLDER
# Example: find_processes /tmp/sshd
# Prints the server's process, then those of its connections.
find_processes() {
  local process
  [[ -f $1/sshd.pid ]] || return 0
  process=$(<"$1/sshd.pid")
  # A process of another program may have the number by now.
  grep -qsF -- "$1/sshd_config" "/proc/$process/cmdline" || return 0
  echo "$process"
  awk -v parent="$process" '$4 == parent {print $1}' /proc/[0-9]*/stat 2>/dev/null || true
}

# Usage: drop FOLDER
# Example: drop /tmp/sshd
drop() {
  find_processes "$1" | tail -n +2 | xargs -r kill -KILL
}

# Usage: stop FOLDER
# Example: stop /tmp/sshd
stop() {
  find_processes "$1" | xargs -r kill -KILL
  rm -f "$1/sshd.pid"
}

case "${1:-} ${2:+folder}" in
  "start folder") start "$2" "${@:3}" ;;
  "drop folder") drop "$(realpath "$2")" ;;
  "stop folder") stop "$(realpath "$2")" ;;
  *) sed -n '2,7s/^# \{0,1\}//p' "${BASH_SOURCE[0]}" >&2; exit 2 ;;
esac
