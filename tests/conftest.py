import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import images
import pytest
from combination import COMBINATIONS
from project import Project, render

# Several tests at a time leave each process one thread; threads that wait for each other would slow all of them down.
os.environ.setdefault("OMP_NUM_THREADS", "1")


LONGEST = "test_what_is_slow_holds_too"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with what takes longest, or it would go on alone at the end."""
    items.sort(key=lambda item: item.name != LONGEST)


@pytest.fixture(scope="session", params=COMBINATIONS)
def combination(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture(scope="session")
def project(combination: str, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A project generated from each combination in turn; it is only read."""
    return render(tmp_path_factory.mktemp(combination), COMBINATIONS[combination])


@pytest.fixture(scope="session")
def pristine(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A project generated from the defaults; it is only copied."""
    return render(tmp_path_factory.mktemp("pristine"), {})


@pytest.fixture
def fresh(pristine: Project, tmp_path: Path) -> Project:
    """A project generated from the defaults, to do with as one likes."""
    return Project(shutil.copytree(pristine.folder, tmp_path / pristine.folder.name, symlinks=True))


@pytest.fixture(scope="session")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[images.Store]:
    """Images and containers."""
    if reason := images.why_not():
        if os.environ.get("LABKIT_REQUIRE_SERVICES"):
            pytest.fail(reason)
        pytest.skip(reason)
    base = tmp_path_factory.getbasetemp()
    with images.share_store((base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "containers") as store:
        yield store


@pytest.fixture(scope="session")
def imaged(store: images.Store, pristine: Project, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A project with a training image; it is only read."""
    folder = tmp_path_factory.mktemp("imaged") / pristine.folder.name
    project = Project(shutil.copytree(pristine.folder, folder, symlinks=True))
    project.adopt_tools()
    store.make(project, "training-image")
    return project
