"""Furnish a container of the development image: its packages take the place of the project's environments.

In the container the folders `.venv` and `.tools` are empty. They are given what `make init` would have made of them:
links to the image's packages, and the commands of the project itself, which are not in the image.
"""

import hashlib
import sys
import tomllib
from pathlib import Path

from environment import (  # pyright: ignore[reportImplicitRelativeImport]  its neighbour, as both are programs
    ENVIRONMENT,
    IMAGE,
    PROJECT,
    TOOLS,
    fingerprint,
    write_stamp,
)

OPT = Path("/opt")


def link(source: Path, folder: Path) -> None:
    """Make an environment that is another one, but for commands that come to it.

    :param source: The environment of the image.
    :param folder: The empty folder.
    """
    (folder / "bin").mkdir()
    for path in source.iterdir():
        if path.name != "bin":
            (folder / path.name).symlink_to(path)
    for path in (source / "bin").iterdir():
        (folder / "bin" / path.name).symlink_to(path)


def write_commands(scripts: dict[str, str], folder: Path) -> None:
    """Write the commands of the project.

    :param scripts: Objects to call, such as `package.module:object.main`, by the commands' names.
    :param folder: The environment.
    """
    for name, reference in scripts.items():
        module, _, path = reference.partition(":")
        file = folder / "bin" / name
        file.write_text(
            f"#!/bin/sh\n'''exec' '{folder / 'bin' / 'python'}' \"$0\" \"$@\"\n' '''\n"
            f"import sys\nfrom {module} import {path.partition('.')[0]}\nsys.exit({path}())\n"
        )
        file.chmod(0o755)


def main() -> int:
    """Furnish this container.

    :return: The exit code.
    """
    lock = PROJECT / "poetry.lock"
    built_from = (OPT / "requirements" / "lock.sha256").read_text()
    if hashlib.sha256(lock.read_bytes()).hexdigest() != built_from:
        print(
            "The development image was built from another poetry.lock. Build it anew with: make development-image",
            file=sys.stderr,
        )
        return 1
    link(OPT / "tools", TOOLS)
    link(OPT / "environment", ENVIRONMENT)
    write_commands(tomllib.loads((PROJECT / "pyproject.toml").read_text())["project"]["scripts"], ENVIRONMENT)
    write_stamp(TOOLS, {"key": fingerprint([PROJECT / "make" / "tools.txt"])})
    write_stamp(ENVIRONMENT, {"base": IMAGE})
    return 0


if __name__ == "__main__":
    sys.exit(main())
