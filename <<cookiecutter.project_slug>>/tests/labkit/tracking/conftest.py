from collections.abc import Iterator

import pytest

from labkit.tracking.run import Envelope, Run, create_run
from tests.project import Project


@pytest.fixture
def run(project: Project) -> Iterator[Run]:
    """A run that was created and has not been executed."""
    envelope = Envelope(entry_point="train", arguments={"learning_rate": 0.1}, seed=7)
    run = create_run(project.environment, envelope, experiment_name="experiment")
    yield run
    run.spool.close()
