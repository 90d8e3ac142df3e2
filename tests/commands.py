"""The commands of a generated project, as a user types them."""

import subprocess
import tomllib
from collections.abc import Mapping

from project import ENVIRONMENT, Project, run

HOSTILE = "$(touch executed) `touch executed` ; touch executed\n'quotes\" -d ü, a=b"
"""What arrives as it was typed wherever nothing takes it for anything but a text."""
PROGRAM = "import sys; from {module} import {name} as c; sys.exit(c.main(sys.argv[1:]))"


def type_command(
    project: Project, command: str, *words: str, code: int = 0, variables: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run a command of a project from the project's own code.

    :param project: The project.
    :param command: Its name in pyproject.toml.
    :param words: Its arguments.
    :param code: The exit code that it is to end with.
    :param variables: Environment variables to set.
    """
    scripts: dict[str, str] = tomllib.loads(project.read("pyproject.toml"))["project"]["scripts"]
    module, _, name = scripts[command].partition(":")
    program = PROGRAM.format(module=module, name=name.partition(".")[0])
    python = ENVIRONMENT / "bin" / "python"
    done = run(python, "-c", program, *words, folder=project.folder, variables=variables, check=False)
    assert done.returncode == code, done.stdout + done.stderr
    return done


def quote(text: str) -> str:
    """Write a text as a value in `--arguments`."""
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"
