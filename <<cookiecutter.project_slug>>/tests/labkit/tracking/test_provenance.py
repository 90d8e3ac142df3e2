import hashlib
import importlib.metadata
import json
import os
import platform
from pathlib import Path

import pytest

from labkit.environment import Environment
from labkit.tracking import provenance
from labkit.tracking.provenance import (
    capture,
    compare_surroundings,
    describe_changes,
    describe_gaps,
    describe_surroundings,
)
from labkit.tracking.source import MEBIBYTE, Source
from tests.repository import commit, git, write


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    path = tmp_path / "project"
    commit(path, {"MLproject": "name: project\n", "train.py": "x = 1\n", "poetry.lock": "locked\n"})
    return path


@pytest.fixture
def kept(tmp_path: Path) -> Path:
    path = tmp_path / "kept"
    path.mkdir()
    return path


def install(folder: Path, script: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Put a driver on the path, as a machine with GPUs has it."""
    folder.mkdir()
    (folder / "nvidia-smi").write_text(f"#!/bin/sh\n{script}\n")
    (folder / "nvidia-smi").chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")


def test_the_short_facts_are_tags(repository: Path, kept: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gpu = "NVIDIA H200, 143771, 570.86.15"
    install(kept / "bin", f"printf '%s\\n' '{gpu}' '{gpu}'", monkeypatch)
    git(repository, "remote", "add", "origin", "https://me:secret@example.org/study.git")
    (repository / "train.py").write_text("x = 2\n")
    environment = Environment.read({"TRAINING_IMAGE": "image@sha256:1"}, repository)
    found = capture(environment, kept, ["train"])
    head = git(repository, "rev-parse", "HEAD")
    assert found.tags == {
        "labkit.commit": head,
        "mlflow.source.git.commit": head,
        "labkit.branch": "idea",
        "mlflow.source.git.branch": "idea",
        "mlflow.source.git.repoURL": "https://example.org/study.git",
        "labkit.dirty": "true",
        "labkit.source": found.source.sha256,
        "labkit.python": platform.python_version(),
        "labkit.host": platform.node(),
        "labkit.gpus": "2 x NVIDIA H200",
        "labkit.image": "image@sha256:1",
    }


def test_a_clean_tree_is_not_dirty(repository: Path, kept: Path) -> None:
    assert capture(Environment.read({}, repository), kept, []).tags["labkit.dirty"] == "false"


def test_that_there_is_no_repository_is_said(tmp_path: Path, kept: Path) -> None:
    (tmp_path / "project").mkdir()
    write(tmp_path / "project", {"MLproject": "name: project\n"})
    tags = capture(Environment.read({}, tmp_path / "project"), kept, []).tags
    assert tags["labkit.commit"] == "none"
    assert not {"labkit.dirty", "labkit.branch", "mlflow.source.git.commit"} & tags.keys()


def test_runs_data_and_the_store_are_no_code_wherever_they_lie(repository: Path, kept: Path) -> None:
    write(repository, {"output/1/log": "", "images/a": "", "store.db": "", "fast/b": "", "new.py": ""})
    variables = {
        "RUNS_PATH": str(repository / "output"),
        "DATA_PATH": str(repository / "images"),
        "DATA_EPHEMERAL_PATH": str(repository / "fast"),
        "MLFLOW_TRACKING_URI": f"sqlite:///{repository / 'store.db'}",
    }
    assert capture(Environment.read(variables, repository), kept, []).source.untracked == ["new.py"]


def test_long_secrets_are_masked_and_words_of_the_code_are_not(repository: Path, kept: Path) -> None:
    write(repository, {"train.py": "password = environ['canary-4f0c12aa']\n"})
    variables = {"MLFLOW_TRACKING_PASSWORD": "password", "AWS_SECRET_ACCESS_KEY": "canary-4f0c12aa"}
    found = capture(
        Environment.read(variables, repository), kept, ["train", "--label", "canary-4f0c12aa", "--api-key=k"]
    )
    assert found.source.masked == ["train.py"]
    assert "+password = environ['[secret]']\n" in (kept / "difference.patch").read_text()
    assert found.surroundings["command_line"] == ["train", "--label", "[secret]", "--api-key=[secret]"]


def test_the_surroundings_are_described(repository: Path, kept: Path) -> None:
    environment = Environment.read({"OMP_NUM_THREADS": "1", "TRAINING_IMAGE": "image"}, repository)
    found = capture(environment, kept, ["train", "--rate", "1"]).surroundings
    assert json.loads((kept / "environment.json").read_text()) == found
    assert found["command_line"] == ["train", "--rate", "1"]
    assert found["python"] == platform.python_version()
    assert found["platform"] == platform.platform()
    assert found["cores"] == len(os.sched_getaffinity(0))
    assert found["memory_bytes"] == os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    assert found["image"] == "image"
    assert found["variables"] == {"OMP_NUM_THREADS": "1"}
    assert found["lock_sha256"] == hashlib.sha256(b"locked\n").hexdigest()
    assert found["processor"]


def test_every_installed_package_is_listed_with_its_version(repository: Path) -> None:
    found = describe_surroundings(Environment.read({}, repository), [])
    expected: dict[str, str] = {}
    for distribution in importlib.metadata.distributions():
        expected.setdefault(distribution.metadata["Name"], distribution.version)
    assert found["packages"] == expected
    assert {"torch", "lightning", "mlflow-skinny"} <= expected.keys()


@pytest.mark.parametrize(
    "script",
    ["echo 'NVIDIA-SMI has failed'; exit 9", "echo 'No devices were found'", "exec sleep 60"],
    ids=["fails", "finds none", "hangs"],
)
def test_a_driver_that_does_not_answer_has_no_gpus(
    repository: Path, tmp_path: Path, script: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(provenance, "SECONDS_FOR_THE_DRIVER", 2.0)
    install(tmp_path / "bin", script, monkeypatch)
    found = describe_surroundings(Environment.read({}, repository), [])
    assert (found["gpus"], found["gpu_driver"]) == ([], None)


def test_gpus_and_their_driver_are_listed(repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install(tmp_path / "bin", "echo 'NVIDIA A100-SXM4-80GB, 81920, 570.86.15'", monkeypatch)
    found = describe_surroundings(Environment.read({}, repository), [])
    assert found["gpus"] == [{"name": "NVIDIA A100-SXM4-80GB", "memory_mebibytes": "81920"}]
    assert found["gpu_driver"] == "570.86.15"


def test_only_what_can_be_a_cause_is_told_apart() -> None:
    old = {
        "command_line": ["train"],
        "host": "a",
        "python": "3.11.7",
        "packages": {"torch": "2.13.0", "numpy": "2.3.0", "rich": "15.0"},
        "gpus": [],
        "variables": {},
        "image": None,
    }
    new = {
        "command_line": ["reproduce-run"],
        "host": "b",
        "python": "3.12.1",
        "packages": {"torch": "2.13.1", "numpy": "2.3.0", "scipy": "1.17"},
        "gpus": [{"name": "H200"}],
        "variables": {"OMP_NUM_THREADS": "1"},
        "image": None,
    }
    assert compare_surroundings(old, new) == [
        ("gpus", "none", '[{"name": "H200"}]'),
        ("packages: rich", "15.0", "none"),
        ("packages: scipy", "none", "1.17"),
        ("packages: torch", "2.13.0", "2.13.1"),
        ("python", "3.11.7", "3.12.1"),
        ("variables: OMP_NUM_THREADS", "none", "1"),
    ]
    assert compare_surroundings(old, {**old, "host": "b"}) == []


def test_what_was_not_kept_is_said_but_for_what_nobody_expects(repository: Path, kept: Path) -> None:
    write(repository, {".env": "KEY=1"})
    (repository / "weights.bin").write_bytes(bytes(11 * MEBIBYTE))
    source = capture(Environment.read({}, repository), kept, []).source
    assert source.left_out.keys() == {".env", "weights.bin"}
    assert describe_gaps(source) == (
        "The run's own copy of the code lacks 'weights.bin' (11.0 MiB): "
        "let git ignore what is data, and read secrets from the environment."
    )


@pytest.mark.parametrize(
    ("source", "phrase"),
    [
        (Source(sha256="", repository=False), "the project is in no git repository"),
        (Source(sha256="", repository=True), "the repository has no commit yet"),
        (
            Source(sha256="", repository=True, commit="0123456789", changed=["a\nb"], untracked=["c", "d", "e", "f"]),
            "the working tree differs from the commit 01234567 in 'a\\nb', 'c', 'd' and 2 more",
        ),
    ],
)
def test_how_the_code_differs_is_said(source: Source, phrase: str) -> None:
    assert describe_changes(source) == phrase
    assert describe_gaps(source) is None
