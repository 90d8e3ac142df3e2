"""What all tests share: surroundings in which nothing outside a test's own folder is read or changed."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import hypothesis
import pytest
from filelock import FileLock

from .project import ROOT, Project

# Before torch is imported: processes that share the cores wait for each other's threads longer than they compute.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# How long an example takes says something about the machine only.
hypothesis.settings.register_profile("labkit", deadline=None)
hypothesis.settings.load_profile("labkit")

PREFIXES_OF_SETTINGS = ("AWS_", "DATA_", "MLFLOW_", "RUNS_", "S3_", "SLACK_")
OTHER_SETTINGS = ("DEVELOPMENT_MODE", "TRAINING_IMAGE", "DOCKER_URL", "DEFAULT_SLURM_ACCOUNT", "PROXY_URL", "JOB_ID")
NAMES_OF_A_USER = ("CREDENTIALS_KEY_FILE", "VISUAL", "EDITOR")
NAMES_OF_RANKS = ("RANK", "SLURM_PROCID", "LOCAL_RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE", "LABKIT_RUN_ID")


@pytest.fixture(autouse=True)
def _own_surroundings(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep a developer's own server, bucket and messages out of the tests."""
    for name in list(os.environ):
        if name.startswith(PREFIXES_OF_SETTINGS) or name in {*OTHER_SETTINGS, *NAMES_OF_RANKS, *NAMES_OF_A_USER}:
            monkeypatch.delenv(name)
    monkeypatch.setenv("MLFLOW_DISABLE_TELEMETRY", "true")
    monkeypatch.setenv("PYTHONPATH", str(ROOT))  # programs that a test starts are of the code that it imports


@pytest.fixture(scope="session")
def empty_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tracking store without a run, made once for all tests and processes: making its tables takes seconds."""
    from mlflow import MlflowClient

    folder = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        folder = folder.parent
    path = folder / "empty" / "mlflow.db"
    path.parent.mkdir(exist_ok=True)
    with FileLock(path.with_suffix(".lock")):
        if not path.exists():
            draft = path.with_suffix(".draft")
            MlflowClient(f"sqlite:///{draft}").search_experiments()
            shutil.copy(draft, path)
    return path


@pytest.fixture
def project(tmp_path: Path, empty_store: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Project]:
    """A project of one's own, as the working directory."""
    (tmp_path / "MLproject").write_text("name: project\n", encoding="utf-8")
    shutil.copy(empty_store, tmp_path / "mlflow.db")
    monkeypatch.chdir(tmp_path)
    project = Project(tmp_path)
    yield project
    for run in project.made:
        run.spool.close()
