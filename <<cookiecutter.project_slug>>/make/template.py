"""Bring into this project what its template has gained, as a merge from the branch `template`.

That branch holds nothing but bare renderings. A new one is made elsewhere and committed there without touching the
working tree; then git merges it, so that what was edited here stays, and what was edited on both sides is a conflict
like any other.
"""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

PROJECT = Path(__file__).resolve().parent.parent
RECORD = ".labkit.json"
BRANCH = "refs/heads/template"


class UpdateError(Exception):
    """A reason for which there can be no update; the message says what would make it possible."""


def git(*arguments: str, check: bool = True, variables: dict[str, str] | None = None) -> str:
    """Ask git about this project.

    :param arguments: Arguments of git.
    :param check: Whether a failure is an error; otherwise it is an empty answer.
    :param variables: Environment variables beside those of this process.
    :return: What git prints.
    :raises UpdateError: git failed, or is missing.
    """
    try:
        done = subprocess.run(
            ["git", *arguments],
            cwd=PROJECT,
            env=os.environ | (variables or {}),
            capture_output=True,
            text=True,
            check=False,
        )
    except FileNotFoundError as error:
        raise UpdateError("git is missing. Install it, for example with: sudo apt-get install git") from error
    if done.returncode and check:
        raise UpdateError(f"git {arguments[0]} failed: {done.stderr.strip()}")
    return "" if done.returncode else done.stdout.strip()


def check_repository() -> None:
    """Make sure that a merge can neither lose nor mix anything.

    :raises UpdateError: The project is not ready for an update.
    """
    top = git("rev-parse", "--show-toplevel", check=False)
    if not top or Path(top).resolve() != PROJECT:
        raise UpdateError(f"An update is a merge, but {PROJECT} is not the top of a git repository.")
    if git("status", "--porcelain", "--untracked-files=no"):
        raise UpdateError("There are changes that are not committed. Commit them, or set them aside with: git stash")
    if not git("rev-parse", "--verify", "--quiet", BRANCH, check=False):
        raise UpdateError(
            "The branch `template`, of bare renderings, is missing. Get it with: git fetch origin template:template, "
            "or make it from the commit that the project began with: git branch template COMMIT"
        )
    if not (PROJECT / RECORD).exists():
        raise UpdateError(f"{RECORD} is missing. Restore it with: git checkout template -- {RECORD}")
    if git("symbolic-ref", "--quiet", "HEAD", check=False) == BRANCH:
        raise UpdateError("The branch `template` is the template's own. Go to yours, for example with: git switch main")


def read_record(text: str) -> dict[str, Any]:
    """Read which template a rendering was made from and with which answers.

    :param text: What the record holds, in JSON.
    :return: `template`, `version`, `year` and `answers`.
    :raises UpdateError: It cannot be read.
    """
    try:
        record: dict[str, Any] = json.loads(text)
    except ValueError:
        record = {}
    if not record.keys() >= {"template", "version", "year", "answers"}:
        raise UpdateError(f"{RECORD} cannot be read. Restore it with: git checkout template -- {RECORD}")
    return record


def render(template: str, record: dict[str, Any], folder: Path) -> Path:
    """Render a template with the answers of this project.

    :param template: The folder or the address of the template.
    :param record: The record of this project.
    :param folder: An empty folder for everything that is written.
    :return: The rendering, a repository with a branch `template`.
    :raises UpdateError: The template cannot be had, or refuses the answers.
    """
    source = PROJECT / template
    if not source.is_dir():
        source = folder / "template"
        git("clone", "--quiet", "--", template, str(source))
    configuration = folder / "cookiecutter.yaml"
    configuration.write_text(json.dumps({"replay_dir": str(folder / "replay")}), encoding="utf-8")
    output = folder / "rendering"
    answers = {**record["answers"], "__year": record["year"]}
    options = ["--no-input", "--output-dir", str(output), "--config-file", str(configuration)]
    done = subprocess.run(
        [Path(sys.executable).with_name("cookiecutter"), *options, source, *(f"{k}={v}" for k, v in answers.items())],
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    if done.returncode:
        raise UpdateError(
            f"The template at {template} could not be rendered with the answers in {RECORD}:\n{done.stdout}"
        )
    return next(output.iterdir())


def commit(rendering: Path, record: dict[str, Any]) -> dict[str, Any]:
    """Commit a rendering on the branch `template`, unless it is what the branch holds.

    :param rendering: The repository with the rendering.
    :param record: The record of this project.
    :return: The record of the rendering.
    :raises UpdateError: The rendering is no project of this template.
    """
    git("fetch", "--quiet", "--no-tags", str(rendering), "template")
    tree = git("rev-parse", "FETCH_HEAD^{tree}")
    new = read_record(git("show", f"{tree}:{RECORD}"))
    if tree != git("rev-parse", f"{BRANCH}^{{tree}}"):
        message = f"Render version {new['version'] or 'unknown'} of the template"
        made = git("commit-tree", tree, "-p", BRANCH, "-m", message, variables=sign(record))
        git("update-ref", BRANCH, made)
    return new


def sign(record: dict[str, Any]) -> dict[str, str]:
    """Make the variables by which git takes the author of the project for that of a commit."""
    author = {"NAME": record["answers"]["author_name"], "EMAIL": record["answers"]["author_email"]}
    return {f"GIT_{role}_{key}": value for role in ("AUTHOR", "COMMITTER") for key, value in author.items()}


def merge(record: dict[str, Any], version: str) -> int:
    """Merge the branch `template` into the current one.

    :param record: The record of this project, whose author signs where git knows no user.
    :param version: The version of the template.
    :return: The exit code of git: 0, or 1 where there are conflicts.
    """
    is_known = git("var", "GIT_COMMITTER_IDENT", check=False)
    environment = os.environ if is_known else os.environ | sign(record)
    message = f"Update to version {version or 'unknown'} of the template"
    done = subprocess.run(["git", "merge", "-m", message, BRANCH], cwd=PROJECT, env=environment, check=False)
    if done.returncode and git("rev-parse", "--verify", "--quiet", "MERGE_HEAD", check=False):
        print(
            "Both you and the template changed the files above. Resolve them and conclude with: git commit, "
            "or go back to where you were with: git merge --abort",
            file=sys.stderr,
        )
    return done.returncode


def main() -> int:
    """Update this project.

    :return: The exit code: 0 done or nothing new, 1 conflicts or no update.
    """
    try:
        check_repository()
        record = read_record((PROJECT / RECORD).read_text(encoding="utf-8"))
        template = os.environ.get("TEMPLATE") or record["template"]
        with tempfile.TemporaryDirectory() as folder:
            new = commit(render(template, record, Path(folder)), record)
        questions = [name for name in new["answers"] if name not in record["answers"]]
        for question in questions:
            print(
                f"New question: {question}, answered with its default, {json.dumps(new['answers'][question])}",
                flush=True,
            )
        if git("merge-base", BRANCH, "HEAD") == git("rev-parse", BRANCH):
            print(f"Nothing new: the project has all of {template}")
            return 0
        return merge(record, new["version"])
    except UpdateError as error:
        print(error, file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
