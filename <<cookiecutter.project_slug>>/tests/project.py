"""A project's folder with a tracking store of its own: where tests make runs, and where they look at them."""

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from labkit.environment import Environment

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run as StoredRun

ROOT = Path(__file__).parents[1]
"""Where the packages are that the tests import."""


@dataclass(frozen=True)
class Project:
    """A folder as a user has one, without code in it."""

    path: Path

    @property
    def environment(self) -> Environment:
        return Environment.read({}, self.path)

    @property
    def store(self) -> "MlflowClient":
        from labkit.tracking.run import connect

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
