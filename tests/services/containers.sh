#!/usr/bin/env bash
# Usage: containers.sh start FOLDER | containers.sh base FOLDER IMAGE PACKAGE... | containers.sh stop FOLDER
# Example: settings=$(tests/services/containers.sh start /tmp/containers) && eval "$settings"
#
# Images and containers that lie in a folder, on a machine without a registry, a bridge network or systemd. `start` prints
# the settings of podman and buildah as `export` lines; `base` makes an image of a minimal Debian with packages of it, as
# apt finds them on this machine; `stop` removes the folder's containers, images and layers. Root alone can; it needs:
#   apt-get install --no-install-recommends buildah catatonit conmon mmdebstrap netavark podman runc
set -euo pipefail

# Usage: fail SENTENCE
# Example: fail "The folder is missing."
fail() {
  printf '%s\n' "$1" >&2
  exit 1
}

# Usage: start FOLDER
# Example: start /tmp/containers
start() {
  local program files
  for program in buildah mmdebstrap podman runc; do
    command -v "$program" >/dev/null || fail "$program is missing. Install it with:
  apt-get install --no-install-recommends buildah catatonit conmon mmdebstrap netavark podman runc"
  done
  ((EUID == 0)) || fail "Only root can make images here."
  mkdir -p "$1"
  files=$(ulimit -Hn)
  [[ $files =~ ^[0-9]+$ ]] || files=65536
  # `podman play kube` takes limits only where the soft one is the hard one, and those of the user who started it.
  cat >"$1/containers.conf" <<SETTINGS
[containers]
default_ulimits = ["nofile=$files:$files", "nproc=4096:4096"]
netns = "host"
[engine]
runtime = "runc"
cgroup_manager = "cgroupfs"
events_logger = "file"
[network]
network_backend = "netavark"
SETTINGS
  cat >"$1/storage.conf" <<SETTINGS
[storage]
driver = "overlay"
graphroot = "$1/storage"
runroot = "$1/state"
SETTINGS
  cat >"$1/settings" <<SETTINGS
export CONTAINERS_CONF=$1/containers.conf
export CONTAINERS_STORAGE_CONF=$1/storage.conf
export BUILDAH_ISOLATION=chroot
SETTINGS
  cat "$1/settings"
}

# Usage: base FOLDER IMAGE PACKAGE...
# Example: base /tmp/containers localhost/base:latest python3 python3-pip
base() {
  local IFS=,
  # shellcheck source=/dev/null
  source "$1/settings"
  # shellcheck source=/dev/null
  mmdebstrap --quiet --variant=minbase --include="${*:3}" "$(. /etc/os-release && echo "$VERSION_CODENAME")" - |
    podman import --quiet --change CMD=/bin/bash - "$2" >/dev/null
}

# Usage: stop FOLDER
# Example: stop /tmp/containers
stop() {
  local mount
  [[ -f $1/settings ]] || return 0
  # shellcheck source=/dev/null
  source "$1/settings"
  buildah rm --all >/dev/null 2>&1 || true
  podman pod rm --all --force >/dev/null 2>&1 || true
  podman rm --all --force >/dev/null 2>&1 || true
  # What a container left mounted would keep the folder from being removed.
  awk -v folder="$1/" 'index($5, folder) == 1 {print $5}' /proc/self/mountinfo | sort --reverse |
    while read -r mount; do umount "$mount" || true; done
  rm -rf "$1/storage" "$1/state"
}

case "${1:-} ${2:+folder}" in
  "start folder") start "$(realpath -m "$2")" ;;
  "base folder") (($# > 2)) && base "$(realpath "$2")" "${@:3}" ;;
  "stop folder") stop "$(realpath -m "$2")" ;;
  *) sed -n '2,8s/^# \{0,1\}//p' "${BASH_SOURCE[0]}" >&2; exit 2 ;;
esac
