"""Where a run comes from: what must be known to tell why two runs differ."""

import subprocess
from pathlib import Path


def describe_commit(folder: Path) -> dict[str, str]:
    """Describe the state of the repository that a folder is in.

    :param folder: A folder, in a git repository or not.
    :return: Tags for a run: commit, branch, whether the tree differs from it; without a repository, a word for that.
    """

    def ask_git(*words: str) -> str | None:
        try:
            answer = subprocess.run(["git", *words], cwd=folder, capture_output=True, text=True, check=True)
        except (OSError, subprocess.CalledProcessError):
            return None
        return answer.stdout.strip()

    commit = ask_git("rev-parse", "HEAD")
    if commit is None:
        return {"labkit.commit": "none"}
    changes = ask_git("status", "--porcelain")
    return {
        "labkit.commit": commit,
        "mlflow.source.git.commit": commit,
        "labkit.branch": ask_git("rev-parse", "--abbrev-ref", "HEAD") or "",
        "labkit.dirty": "true" if changes else "false",
    }
