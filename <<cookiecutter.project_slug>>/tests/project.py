"""A project's folder with a tracking store of its own: where tests make runs, and where they look at them."""

import os
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from labkit.environment import Environment
from labkit.tracking.run import Envelope, Run, connect, create_run

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run as StoredRun

ROOT = Path(__file__).parents[1]
"""Where the packages are that the tests import."""


@dataclass(frozen=True)
class Project:
    """A folder as a user has one, without code in it."""

    path: Path
    made: list[Run] = field(default_factory=list)
    """The runs of :meth:`make_run`."""

    @property
    def environment(self) -> Environment:
        return Environment.read({}, self.path)

    @property
    def store(self) -> "MlflowClient":
        return connect(self.environment)

    @property
    def runs(self) -> "list[StoredRun]":
        """Every run that the store knows, the newest first."""
        experiments = [experiment.experiment_id for experiment in self.store.search_experiments()]
        return list(self.store.search_runs(experiments))

    @property
    def run(self) -> "StoredRun":
        """The only run that there is."""
        (run,) = self.runs
        return run

    def make_run(self, *, seed: int = 7, **arguments: Any) -> Run:
        """Make a run of `train` that has not been executed; the function itself can be called with it."""
        envelope = Envelope(entry_point="train", arguments=arguments, seed=seed)
        run = create_run(self.environment, envelope, experiment_name="experiment")
        self.made.append(run)
        return run

    def read_metric(self, run_id: str, name: str) -> list[tuple[int, float]]:
        """Return steps and values as the store has them, in the order of the steps."""
        history = self.store.get_metric_history(run_id, name)
        return sorted((metric.step, metric.value) for metric in history)

    def execute(self, *words: str, **variables: str) -> subprocess.CompletedProcess[str]:
        """Run Python in the folder: ``execute("-m", "some_study.train", "--help")``."""
        return subprocess.run(
            [sys.executable, *words],
            cwd=self.path,
            env={**os.environ, **variables},
            capture_output=True,
            text=True,
            check=False,
        )
