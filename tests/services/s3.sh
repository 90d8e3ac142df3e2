#!/usr/bin/env bash
# Usage: s3.sh start FOLDER | s3.sh stop FOLDER
# Example: settings=$(tests/services/s3.sh start /tmp/s3) && eval "$settings"
#
# A Ceph gateway on a free port of the loopback interface: one monitor, one store in memory, one gateway. `start` prints
# the settings of its clients as `export` lines; `stop` ends these three processes. On Debian it needs:
#   apt-get install --no-install-recommends ceph-mon ceph-osd ceph-common radosgw
set -Eeuo pipefail

# Usage: fail SENTENCE
# Example: fail "The folder is missing."
fail() {
  printf '%s\n' "$1" >&2
  exit 1
}

# Usage: find_free_ports COUNT
# Example: find_free_ports 3
find_free_ports() {
  python3 -c '
import socket, sys
listeners = [socket.create_server(("127.0.0.1", 0)) for _ in range(int(sys.argv[1]))]
print(*(listener.getsockname()[1] for listener in listeners))' "$1"
}

# Usage: await_port PORT SECONDS
# Example: await_port 8000 60
await_port() {
  local deadline=$((SECONDS + $2))
  until (: <"/dev/tcp/127.0.0.1/$1") 2>/dev/null; do
    ((SECONDS < deadline)) || return 1
    sleep 0.1
  done
}

# Usage: write_settings FOLDER MONITOR_PORT LEGACY_MONITOR_PORT GATEWAY_PORT
# Example: write_settings /tmp/s3 3300 6789 8000
write_settings() {
  local folder=$1 classes
  classes=$(find /usr/lib -maxdepth 2 -type d -name rados-classes -print -quit)
  cat >"$folder/ceph.conf" <<SETTINGS
[global]
fsid = $(cat /proc/sys/kernel/random/uuid)
mon host = [v2:127.0.0.1:$2,v1:127.0.0.1:$3]
mon initial members = a
public addr = 127.0.0.1
cluster addr = 127.0.0.1
keyring = $folder/keyring
log file = $folder/\$name.log
pid file = $folder/\$name.pid
run dir = $folder
admin socket = $folder/\$name.socket
auth allow insecure global id reclaim = false
mon allow pool size one = true
mon max pg per osd = 1000
mon data avail crit = 1
mon data = $folder/monitor
osd data = $folder/store
osd class dir = $classes
osd objectstore = memstore
memstore device bytes = 4G
osd memory target = 939524096
osd crush chooseleaf type = 0
osd pool default size = 1
osd pool default min size = 1
osd pool default pg num = 1
osd pool default pgp num = 1
osd pool default pg autoscale mode = off
[client.gateway]
rgw frontends = beast endpoint=127.0.0.1:$4 tcp_nodelay=1
rgw thread pool size = 32
SETTINGS
}

# Usage: start_daemons FOLDER ACCESS_KEY SECRET_KEY
# Example: start_daemons /tmp/s3 key secret
start_daemons() {
  local folder=$1 configuration=(-c "$1/ceph.conf") owner=() name store monitor legacy gateway
  if ((EUID == 0)); then owner=(--setuser root --setgroup root); fi # it would become somebody else
  mkdir -p "$folder"/{monitor,store}
  read -r monitor legacy gateway <<<"$(find_free_ports 3)"
  write_settings "$folder" "$monitor" "$legacy" "$gateway"
  ceph-authtool --create-keyring "$folder/keyring" --gen-key -n mon. --cap mon 'allow *'
  for name in client.admin osd.0 client.gateway; do
    ceph-authtool "$folder/keyring" --gen-key -n "$name" --cap mon 'allow *' --cap osd 'allow *' --cap mgr 'allow *'
  done
  monmaptool --create --addv a "[v2:127.0.0.1:$monitor,v1:127.0.0.1:$legacy]" "$folder/monmap"
  ceph-mon "${configuration[@]}" --mkfs -i a --monmap "$folder/monmap" --keyring "$folder/keyring"
  ceph-mon "${configuration[@]}" -i a
  store=$(cat /proc/sys/kernel/random/uuid)
  timeout 60 ceph "${configuration[@]}" osd new "$store"
  ceph-osd "${configuration[@]}" -i 0 --mkfs --osd-uuid "$store"
  ceph-osd "${configuration[@]}" -i 0
  radosgw "${configuration[@]}" -n client.gateway "${owner[@]}"
  await_port "$gateway" 60
  timeout 60 radosgw-admin "${configuration[@]}" -n client.gateway user create --uid=test --display-name=test \
    --access-key="$2" --secret-key="$3"
  cat >"$folder/settings" <<SETTINGS
export S3_ENDPOINT_URL=http://127.0.0.1:$gateway
export AWS_ACCESS_KEY_ID=$2
export AWS_SECRET_ACCESS_KEY=$3
export AWS_DEFAULT_REGION=us-east-1
SETTINGS
}

# Usage: start FOLDER
# Example: start /tmp/s3
start() {
  local program
  for program in ceph-mon ceph-osd ceph-authtool radosgw radosgw-admin; do
    command -v "$program" >/dev/null || fail "$program is missing. Install it with:
  apt-get install --no-install-recommends ceph-mon ceph-osd ceph-common radosgw"
  done
  [[ ! -e $1/ceph.conf ]] || fail "The folder $1 is in use. Give another one."
  mkdir -p "$1"
  exec 3>&2 # the trap runs where standard error goes to the log; a daemon that had this open would keep callers waiting
  trap 'stop "$1"; fail "The Ceph gateway did not start; $1/start.log says why." 2>&3' ERR
  start_daemons "$(realpath "$1")" "$(openssl rand -hex 10)" "$(openssl rand -hex 20)" &>"$1/start.log" </dev/null 3>&-
  cat "$1/settings"
}

# Usage: stop FOLDER
# Example: stop /tmp/s3
stop() {
  local file process
  for file in "$1"/*.pid; do
    [[ -f $file ]] || continue
    process=$(<"$file")
    # A process of another program may have the number by now.
    if grep -qsF -- "$(realpath "$1")/ceph.conf" "/proc/$process/cmdline"; then kill -KILL "$process"; fi
    rm -f "$file"
  done
}

case "${1:-} ${2:+folder}" in
  "start folder") start "$2" ;;
  "stop folder") stop "$2" ;;
  *) sed -n '2,8s/^# \{0,1\}//p' "${BASH_SOURCE[0]}" >&2; exit 2 ;;
esac
