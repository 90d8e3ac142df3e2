"""Generated projects, as the tests see them."""

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

TEMPLATE = Path(__file__).resolve().parent.parent
TOOLS = TEMPLATE / ".tools" / "bin"
# Made by `make environment`: the one environment that rendered projects share.
ENVIRONMENT = TEMPLATE / "build" / "my-research" / ".venv"

# What an outer make, shell or test run would tell the inner one, and what would connect it to anybody's account.
OUTER = (
    *("ARGS", "CONFIG", "NAME", "NO_INPUT", "OUTPUT", "TEMPLATE", "TORCH", "WITH"),
    *("MAKEFLAGS", "MAKELEVEL", "MAKEOVERRIDES", "MFLAGS", "VIRTUAL_ENV", "COOKIECUTTER_CONFIG"),
    *("AWS_", "COV_", "DIRENV_", "GIT_", "LABKIT_", "MLFLOW_", "POETRY_VIRTUALENVS_", "PYTEST_", "PYTHON", "SLACK_"),
)


# Whoever commits in the tests.
USER = {
    "GIT_AUTHOR_NAME": "User",
    "GIT_AUTHOR_EMAIL": "user@example.org",
    "GIT_COMMITTER_NAME": "User",
    "GIT_COMMITTER_EMAIL": "user@example.org",
}


def environment() -> dict[str, str]:
    """Return this process's environment without what belongs to it alone, and with a git that knows no user."""
    inner = {name: value for name, value in os.environ.items() if not name.startswith(OUTER)}
    return inner | {"GIT_CONFIG_GLOBAL": "/dev/null", "GIT_CONFIG_NOSYSTEM": "1"}


def run(
    *command: str | Path, folder: Path, variables: Mapping[str, str] | None = None, check: bool = True
) -> subprocess.CompletedProcess[str]:
    """Run a command with the outer environment stripped.

    :param command: A program and its arguments.
    :param folder: The folder to run it in.
    :param variables: Environment variables to set.
    :param check: Whether a failure fails the test, with all that was printed.
    """
    done = subprocess.run(
        command,
        cwd=folder,
        env=environment() | dict(variables or {}),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    if check and done.returncode:
        raise AssertionError(f"{command} exited with {done.returncode}\n{done.stdout}\n{done.stderr}")
    return done


def commit(folder: Path, message: str) -> None:
    """Commit everything that changed in a repository."""
    run("git", "add", "--all", folder=folder)
    run("git", "commit", "--quiet", "--message", message, folder=folder, variables=USER)


@dataclass(frozen=True)
class Project:
    """A generated project."""

    folder: Path

    def run(self, command: str, *, check: bool = True, **variables: str) -> subprocess.CompletedProcess[str]:
        """Run a line of shell in the project, with the outer environment stripped."""
        return run("bash", "-c", command, folder=self.folder, variables=variables, check=check)

    def git(self, *arguments: str) -> str:
        """Return what git prints about the project."""
        return run("git", *arguments, folder=self.folder).stdout.removesuffix("\n")

    def commit(self, name: str, text: str) -> None:
        """Write a file and commit it, as its user would."""
        (self.folder / name).write_text(text, encoding="utf-8")
        commit(self.folder, f"Edit {name}")

    def files(self) -> list[Path]:
        """Return the files under version control, relative to the project."""
        return [Path(name) for name in self.git("ls-files", "-z").split("\0") if name]

    def read(self, name: str | Path) -> str:
        """Return the text of a file."""
        return (self.folder / name).read_text(encoding="utf-8")

    def adopt_environment(self) -> None:
        """Give the project an environment of its own that borrows the packages of the shared one."""
        own = self.folder / ".venv"
        (shared,) = ENVIRONMENT.glob("lib/python3*/site-packages")
        run(ENVIRONMENT / "bin" / "python", "-m", "venv", "--without-pip", own, folder=self.folder)
        (own / shared.relative_to(ENVIRONMENT) / "shared.pth").write_text(f"{shared}\n", encoding="utf-8")
        run(
            TOOLS / "poetry",
            "install",
            "--only-root",
            "--quiet",
            folder=self.folder,
            variables={"VIRTUAL_ENV": str(own)},
        )
        # After the project's own programs: through a link, these would be written into the shared environment.
        for program in (ENVIRONMENT / "bin").iterdir():
            if not (own / "bin" / program.name).exists():
                (own / "bin" / program.name).symlink_to(program)

    def adopt_tools(self) -> None:
        """Give the project the shared Poetry and uv, as if `make init` had set them up for it."""
        own = self.folder / ".tools"
        own.mkdir()
        for path in ENVIRONMENT.with_name(".tools").iterdir():
            if path.name != "stamp.json":
                (own / path.name).symlink_to(path)
        stamp = "from environment import *; write_stamp(TOOLS, {'key': fingerprint([PROJECT / 'make' / 'tools.txt'])})"
        run(ENVIRONMENT / "bin" / "python", "-c", stamp, folder=self.folder, variables={"PYTHONPATH": "make"})


def render(output: Path, answers: Mapping[str, str], *, template: Path = TEMPLATE) -> Project:
    """Generate a project as `make project` does.

    :param output: The folder that will hold the project's folder.
    :param answers: Answers by the names of their questions; the others take their defaults.
    :param template: The folder of the template.
    """
    output.mkdir(parents=True, exist_ok=True)
    config = output / "answers.yaml"
    config.write_text(yaml.safe_dump({"default_context": dict(answers)}, allow_unicode=True), encoding="utf-8")
    run(sys.executable, template / "generate.py", "--output", output, "--config", config, folder=output)
    (record,) = output.glob("*/.labkit.json")
    return Project(record.parent)


def copy_template(folder: Path) -> Path:
    """Copy the template as it is now into a repository of its own, to make a newer one of it."""
    listed = run("git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", folder=TEMPLATE).stdout
    for name in listed.split("\0"):
        if (TEMPLATE / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(TEMPLATE / name, folder / name)
    run("git", "init", "--quiet", "--initial-branch=main", folder=folder)
    commit(folder, "Begin")
    return folder


def interpreter(version: str) -> str:
    """Find a Python of a version, or skip the test."""
    root = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"))
    for candidate in (*sorted(root.glob(f"versions/{version}.*/bin/python")), shutil.which(f"python{version}")):
        if candidate and run(candidate, "--version", folder=TEMPLATE, check=False).returncode == 0:
            return str(candidate)
    pytest.skip(f"there is no Python {version} here")


def cookiecutter_by(python: str) -> list[str | Path]:
    """Begin a command line of plain cookiecutter whose hooks are run by another Python."""
    program = "import sys; sys.executable = sys.argv.pop(1); from cookiecutter.cli import main; main()"
    return [TOOLS / "python", "-c", program, python]
