import os
from collections.abc import Iterator
from pathlib import Path

import images
import pytest
from combination import COMBINATIONS
from project import Project, render


@pytest.fixture(scope="session", params=COMBINATIONS)
def combination(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture(scope="session")
def project(combination: str, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A project generated from each combination in turn; it is only read."""
    return render(tmp_path_factory.mktemp(combination), COMBINATIONS[combination])


@pytest.fixture
def fresh(tmp_path: Path) -> Project:
    """A project generated from the defaults, to do with as one likes."""
    return render(tmp_path, {})


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
