"""The commands of a generated project, as a user types them."""

import subprocess
import tomllib
from collections.abc import Mapping

from project import ENVIRONMENT, Project, run

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
