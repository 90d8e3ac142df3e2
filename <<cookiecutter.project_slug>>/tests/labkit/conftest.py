import pytest

from labkit.tracking.run import Run
from tests.project import Project


@pytest.fixture
def run(project: Project) -> Run:
    """A run that was created and has not been executed."""
    return project.make_run(learning_rate=0.1)
