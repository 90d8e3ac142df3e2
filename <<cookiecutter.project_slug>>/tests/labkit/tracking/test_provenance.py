import subprocess
from pathlib import Path

import pytest

from labkit.tracking.provenance import describe_commit


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    (tmp_path / "code.py").write_text("x = 1\n")
    git(tmp_path, "init", "--initial-branch", "idea")
    git(tmp_path, "add", "code.py")
    git(tmp_path, "-c", "user.name=Ada", "-c", "user.email=ada@example.org", "commit", "--message", "Begin")
    return tmp_path


def git(folder: Path, *words: str) -> str:
    done = subprocess.run(["git", *words], cwd=folder, capture_output=True, text=True, check=True)
    return done.stdout.strip()


def test_a_clean_tree_is_described_by_its_commit(repository: Path) -> None:
    commit = git(repository, "rev-parse", "HEAD")
    assert describe_commit(repository) == {
        "labkit.commit": commit,
        "mlflow.source.git.commit": commit,
        "labkit.branch": "idea",
        "labkit.dirty": "false",
    }


@pytest.mark.parametrize("name", ["code.py", "new.py"])
def test_a_tree_that_differs_from_its_commit_is_dirty(repository: Path, name: str) -> None:
    (repository / name).write_text("x = 2\n")
    assert describe_commit(repository)["labkit.dirty"] == "true"


def test_a_folder_in_no_repository_has_no_commit(tmp_path: Path) -> None:
    assert describe_commit(tmp_path) == {"labkit.commit": "none"}


def test_without_git_there_is_no_commit(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(repository))
    assert describe_commit(repository) == {"labkit.commit": "none"}
