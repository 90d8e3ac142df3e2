"""The code of another version than the one in the working tree: a commit, a branch or a tag."""

import contextlib
import os
import subprocess
import tempfile
from collections.abc import Generator
from pathlib import Path

from labkit.command import UsageError
from labkit.tracking.source import VARIABLES_OF_A_HOOK


@contextlib.contextmanager
def checked_out(project: Path, version: str | None) -> Generator[Path]:
    """Lay out the code of a version, apart from the working tree, which stays as it is.

    :param project: The project's folder in a git repository.
    :param version: A commit, a branch or a tag; None for the working tree itself.
    :return: A context that gives the project's folder in that version.
    :raises UsageError: If there is no such version, or it cannot be laid out.
    """
    if version is None:
        yield project
        return
    commit = _ask(project, "rev-parse", "--verify", "--quiet", "--end-of-options", f"{version}^{{commit}}")
    if not commit:
        raise UsageError(
            f"there is no version '{version}' in the repository of {project}: name a commit, a branch or a tag; "
            "`git fetch --all --tags` fetches what others have pushed."
        )
    top = Path(_ask(project, "rev-parse", "--show-toplevel") or project)
    remote = _ask(project, "config", "--get", "remote.origin.url")
    with tempfile.TemporaryDirectory(prefix="labkit-version-") as name:
        folder = Path(name, "code")
        # What it shares with the repository it only reads: nothing is left behind there.
        _do(version, top, "clone", "--quiet", "--shared", "--no-checkout", "--", str(top), str(folder))
        if remote:
            _do(version, folder, "remote", "set-url", "origin", "--", remote)
        else:
            _do(version, folder, "remote", "remove", "origin")
        _do(version, folder, "checkout", "--quiet", "--detach", commit)
        if (folder / ".gitmodules").exists():
            _do(version, folder, "submodule", "--quiet", "update", "--init", "--recursive")
        inner = folder / project.resolve().relative_to(top.resolve())
        if not inner.is_dir():
            raise UsageError(f"the version '{version}' has no folder {inner.relative_to(folder)}.")
        yield inner


def _ask(folder: Path, *words: str) -> str | None:
    done = _run(folder, *words)
    return done.stdout.strip() if done.returncode == 0 else None


def _do(version: str, folder: Path, *words: str) -> None:
    done = _run(folder, *words)
    if done.returncode:
        reason = (done.stderr.strip().splitlines() or ["git says nothing"])[-1]
        raise UsageError(f"the version '{version}' cannot be laid out: {reason}.")


def _run(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    variables = {name: value for name, value in os.environ.items() if name not in VARIABLES_OF_A_HOOK}
    try:
        return subprocess.run(
            ["git", "-c", "safe.directory=*", *words],
            cwd=folder,
            env=variables | {"GIT_TERMINAL_PROMPT": "0"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
    except FileNotFoundError:
        raise UsageError("another version needs git, which is not installed.") from None
