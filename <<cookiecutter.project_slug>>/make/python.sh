#!/usr/bin/env bash
# Usage: make/python.sh
# Example: python=$(make/python.sh) && "$python" --version
#
# Prints the path of the Python for this project: $PYTHON if set, else the version in .python-version from pyenv or
# PATH, else that version freshly installed by pyenv, else any other version that pyproject.toml allows.
# Messages go to standard error. Written for bash 3.2, the one of macOS.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

# Usage: fail MESSAGE
# Example: fail "Python 3.11 is missing. Install it."
fail() {
    printf '%s\n' "$1" >&2
    exit 1
}

# Usage: path_of COMMAND VERSION
# Example: path_of python3 3.11
# Prints the full path of COMMAND if it runs (a pyenv shim may not), is Python VERSION and can make environments; of the
# Python behind it where COMMAND belongs to an environment.
path_of() {
    local program='import sys
if "%d.%d" % sys.version_info[:2] != sys.argv[1]: sys.exit(1)
import ensurepip, venv
print(sys._base_executable)'
    local path
    path=$("$1" -I -c "$program" "$2" 2>/dev/null) && [[ -n $path ]] && printf '%s\n' "$path"
}

# Usage: path_in_pyenv VERSION
# Example: path_in_pyenv 3.11
# Prints the path of the newest VERSION that pyenv has installed.
path_in_pyenv() {
    local folder patch newest=-1
    for folder in "$pyenv_root/versions/$1".*; do
        patch=${folder##*.}
        if [[ $patch =~ ^[0-9]+$ ]] && ((patch > newest)) && path_of "$folder/bin/python" "$1" >/dev/null; then
            newest=$patch
        fi
    done
    ((newest >= 0)) && printf '%s\n' "$pyenv_root/versions/$1.$newest/bin/python"
}

[[ -r .python-version ]] || fail "The file .python-version is missing. Restore it with: git checkout .python-version"
version=$(sed -n 's/^\(3\.[0-9]*\).*/\1/p' .python-version | head -n 1)
[[ -n $version ]] || fail "The file .python-version must begin with a version such as 3.11"
range=$(sed -n 's/^requires-python = ">=3\.\([0-9]*\),<3\.\([0-9]*\)".*/\1 \2/p' pyproject.toml)
[[ -n $range ]] || fail "In pyproject.toml requires-python must read like \">=3.11,<3.14\""
lowest=${range% *}
beyond=${range#* }
((${version#3.} >= lowest && ${version#3.} < beyond)) ||
    fail "The file .python-version asks for Python $version, but pyproject.toml allows 3.$lowest to 3.$((beyond - 1))"

if [[ -n ${PYTHON:-} ]]; then
    for ((minor = lowest; minor < beyond; minor++)); do
        path_of "$PYTHON" "3.$minor" && exit
    done
    fail "PYTHON=$PYTHON is not a Python 3.$lowest to 3.$((beyond - 1)) with its venv module"
fi

pyenv_root=${PYENV_ROOT:-$HOME/.pyenv}
path_in_pyenv "$version" && exit
path_of "python$version" "$version" && exit
path_of python3 "$version" && exit

if command -v pyenv >/dev/null; then
    echo "Installing Python $version by pyenv; this takes some minutes" >&2
    pyenv_root=$(pyenv root)
    if pyenv install --skip-existing "$version" >&2 && path_in_pyenv "$version"; then
        exit
    fi
    echo "pyenv could not install Python $version (see above); looking for another version" >&2
fi

for ((minor = lowest; minor < beyond; minor++)); do
    for command in "python3.$minor" python3; do
        if path=$(path_of "$command" "3.$minor") || path=$(path_in_pyenv "3.$minor"); then
            echo "Python $version is not installed; Python 3.$minor takes its place" >&2
            printf '%s\n' "$path"
            exit
        fi
    done
done

fail "No Python 3.$lowest to 3.$((beyond - 1)) with its venv module was found. Install Python $version (on Debian and Ubuntu the packages python$version and python$version-venv), or name one: make init PYTHON=/path/to/python"
