from pathlib import Path

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
