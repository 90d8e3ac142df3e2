import sys
from collections.abc import Generator
from pathlib import Path

import pytest

from labkit.tracking.run import Run
from tests.project import Project
from tests.repository import commit
from tests.small_disk import SmallDisk, mount
from tests.tiny_study import write_study


@pytest.fixture
def run(project: Project) -> Run:
    """A run that was created and has not been executed."""
    return project.make_run(learning_rate=0.1)


@pytest.fixture
def small_disk(tmp_path: Path) -> Generator[SmallDisk]:
    """A disk that is soon full."""
    with mount(tmp_path / "disk") as disk:
        yield disk


@pytest.fixture
def study(project: Project, monkeypatch: pytest.MonkeyPatch) -> Generator[Project]:
    """A project with a study in it, committed."""
    write_study(project.path)
    commit(project.path)
    monkeypatch.setattr(sys, "path", [str(project.path), *sys.path])
    monkeypatch.setattr(sys, "dont_write_bytecode", True)  # or an edit within the same second would go unnoticed
    yield project
    for name in [name for name in sys.modules if name.partition(".")[0] == "tiny"]:
        del sys.modules[name]
