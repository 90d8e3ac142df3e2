"""Finish the new project: take its study, commit the bare rendering on `main` and `template`, print the next steps."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

# A hook of git, or a Makefile called by one, exports these: they would lead git to the other repository.
OF_ANOTHER_REPOSITORY = {"GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_OBJECT_DIRECTORY", "GIT_COMMON_DIR"}


def take_starter(name: str) -> None:
    """Lay the files of a study over those of the project, in the current folder, and remove all studies' folders.

    An empty file takes away the one that it is laid over, which the study has no use for.

    :param name: The study; the one without a folder is what the project's files are.
    """
    starters = Path("starters")
    if (starters / name).is_dir():
        shutil.copytree(starters / name, ".", dirs_exist_ok=True)
        for file in (starters / name).rglob("*"):
            if file.is_file() and not file.stat().st_size:
                file.relative_to(starters / name).unlink()
    if starters.is_dir():
        shutil.rmtree(starters)


def commit_rendering(name: str, email: str) -> None:
    """Make the current folder a repository whose one commit is the bare rendering.

    The author is given to this one commit, and the user's own configuration decides nothing of it: neither its
    hooks and signatures nor files ignored everywhere, since a later update compares with exactly this commit.

    :raises subprocess.CalledProcessError: When git refuses.
    """
    environment = {variable: value for variable, value in os.environ.items() if variable not in OF_ANOTHER_REPOSITORY}
    for role in ("AUTHOR", "COMMITTER"):
        environment |= {f"GIT_{role}_NAME": name, f"GIT_{role}_EMAIL": email}
    plain = ("-c", "core.hooksPath=/dev/null", "-c", "core.excludesFile=/dev/null", "-c", "commit.gpgSign=false")
    for arguments in (
        ("init", "--quiet"),
        ("symbolic-ref", "HEAD", "refs/heads/main"),
        # What the project ignores was left in the template's folder by its developers' tools.
        ("clean", "-dfqX"),
        ("add", "--all"),
        ("commit", "--quiet", "--message", "Begin with the project as the template renders it"),
        ("branch", "template"),
    ):
        subprocess.run(["git", *plain, *arguments], env=environment, check=True, capture_output=True, text=True)


def main() -> int:
    """Finish the project in the current folder."""
    answers = json.loads(r"""<< cookiecutter | jsonify >>""")
    take_starter(answers["starter"])
    if shutil.which("git") is None:
        print("git is missing: the project is not under version control, and works but for `make template-update`.")
    else:
        try:
            commit_rendering(answers["author_name"], answers["author_email"])
        except subprocess.CalledProcessError as error:
            print(f"git could not commit the project, which else is complete: {error.stderr.strip()}", file=sys.stderr)
    print(f"""
{answers["project_name"]} stands in {Path.cwd()}

Next steps:
    cd {Path.cwd()}
    make init           # set up its Python, Poetry and the locked environment
    make train          # train the first model, recorded
    make help           # see everything else
""")
    return 0


if __name__ == "__main__":
    sys.exit(main())
