#!/usr/bin/env bash
# Usage: make/container.sh BASH_ARGUMENT...
# Example: make/container.sh -c 'python --version'
# Runs bash in the development image, on this project: mounted where it is, by the user who owns it, with the same
# variables. `make USE_DOCKER=1` has it in place of the shell. Written for bash 3.2, the one of macOS.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

# Usage: fail MESSAGE
# Example: fail "There is no docker. Install it."
fail() {
    printf '%s\n' "$1" >&2
    exit 1
}

# Usage: find_engine
# Example: engine=$(find_engine)
# Prints the first of docker and podman that answers, or the one that $ENGINE names.
find_engine() {
    local name
    for name in ${ENGINE:-docker podman}; do
        if "$name" info >/dev/null 2>&1; then
            printf '%s\n' "$name"
            return
        fi
    done
    return 1
}

# Usage: is_of_this_machine VARIABLE
# Example: is_of_this_machine HOME
# Tells whether a variable says something about this machine or this make, and not about the work.
is_of_this_machine() {
    case $1 in
        PATH | PWD | OLDPWD | SHLVL | _ | HOME | HOSTNAME | TMPDIR | SHELL | BASH* | VIRTUAL_ENV | PYTHON*) return 0 ;;
        MAKE* | MFLAGS | USE_DOCKER | ENGINE | TRAINING_IMAGE | DOCKER_HOST | CONTAINER* | BUILDAH* | STORAGE_DRIVER) return 0 ;;
        DBUS_* | DIRENV_* | DISPLAY | LD_* | DYLD_* | PYENV_* | CONDA_* | SSH_* | XDG_* | CREDENTIALS_KEY_FILE) return 0 ;;
        CURL_CA_BUNDLE | REQUESTS_CA_BUNDLE | SSL_CERT_* | PIP_* | UV_* | POETRY) return 0 ;;
    esac
    return 1
}

record=docker/development-image.yaml
[[ -f $record ]] || fail "There is no development image yet. Build it with: make development-image"
image=$(sed -n 's/^digest: "\(.*\)"$/\1/p' "$record")
engine=$(find_engine) ||
    fail "USE_DOCKER=1 needs docker or podman, and neither answers. Install one, for example with: sudo apt-get install podman"

options=(run --rm --interactive --user "$(id -u):$(id -g)" --workdir "$PWD" --ipc=host)
if [[ -t 0 && -t 1 ]]; then
    options+=(--tty)
fi
if [[ $engine == docker ]]; then
    options+=(--init)
    gpu=--gpus=all
    empty=exec,mode=1777
else
    options+=(--security-opt=label=disable)
    gpu=--device=nvidia.com/gpu=all
    empty=exec,mode=1777,notmpcopyup
    if [[ $(id -u) -ne 0 ]]; then options+=(--userns=keep-id); fi
fi
if [[ -e /dev/nvidiactl ]]; then
    options+=("$gpu")
fi

# The project and what belongs to it elsewhere; in place of this machine's environments, empty folders.
mkdir -p .venv .tools
options+=(--volume "$PWD:$PWD" --tmpfs "$PWD/.venv:$empty" --tmpfs "$PWD/.tools:$empty")
repository=$(git rev-parse --path-format=absolute --git-common-dir 2>/dev/null || :)
for path in "$repository" "${DATA_PATH:-}" "${DATA_EPHEMERAL_PATH:-}" "${RUNS_PATH:-}" "${S3_VERIFY:-}" "${AWS_CA_BUNDLE:-}"; do
    if [[ $path == /* && -e $path && $path/ != "$PWD"/* ]]; then options+=(--volume "$path:$path"); fi
done
options+=(--env HOME=/tmp --env "PYTHONPATH=$PWD" --env "TRAINING_IMAGE=$image")

# By name alone, so that no value is on a command line.
for name in $(compgen -e); do
    is_of_this_machine "$name" || options+=(--env "$name")
done
# shellcheck disable=SC2086
exec "$engine" "${options[@]}" ${CONTAINER_OPTIONS:-} "$image" \
    bash -c 'python make/container.py && exec bash "$@"' bash "$@"
