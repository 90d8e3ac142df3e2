import importlib
import sys
from collections.abc import Iterator
from types import ModuleType
from typing import Any

import pytest

from labkit.recipe.context import DataCache
from labkit.recipe.execution import execute, find_failure
from labkit.recipe.record import History
from labkit.recipe.standing import Standing
from labkit.tracking.run import Envelope, create_run
from tests.project import Project

HELPER = '''"""A helper."""

SCALE = 2.0


def scale(value: float) -> float:
    """Scale a value."""
    # A comment.
    return SCALE * value


def unused(value: float) -> float:
    return value
'''
STUDY = '''"""A study without a network: its steps count how often they are executed."""

import sys
import time
from pathlib import Path

import numpy as np
import torch
from torch.utils.data import TensorDataset

from labkit.data.footprint import measure_arrays
from labkit.recipe.check import at_least, better_than
from labkit.recipe.experiment import Data, Experiment
from labkit.recipe.recipe import Recipe
from labkit.recipe.step import step

from . import helper
from .helper import scale

THRESHOLD = 0.5


def load(environment):
    values = np.loadtxt(environment.project_path / "data.txt")
    dataset = TensorDataset(torch.from_numpy(values), torch.zeros(len(values)))
    return Data(dataset, dataset, measure_arrays({"values": values}))


def make_task(rate=0.1):
    return Doing(rate)


class Doing:
    def __init__(self, rate):
        self.rate = rate


def note(context):
    with Path("executed.txt").open("a") as file:
        file.write(context.step + "\\n")


def first(context):
    note(context)
    return {"accuracy": scale(0.3), "model": object()}


def second(context):
    note(context)
    while Path("wait").exists():
        time.sleep(0.01)
    if Path("fail").exists():
        raise RuntimeError("as asked for")
    return {"accuracy": helper.scale(0.4)}


def third(context):
    note(context)
    return {"accuracy": 0.9}


recipe = Recipe(
    "tiny",
    Experiment(data=load, task=make_task, arguments={"rate": 0.1}),
    step(first, at_least("accuracy", THRESHOLD)),
    step(second, better_than("accuracy", "accuracy", step="first")),
    step(third, at_least("accuracy", THRESHOLD)),
)

if __name__ == "__main__":
    sys.exit(recipe.main())
'''


class TinyStudy:
    """A study on the disk that can be edited, and executed in this process or in another one."""

    def __init__(self, project: Project) -> None:
        self.project = project
        self.standings: list[Standing] = []
        self.folder = project.path / "tiny"
        self.folder.mkdir()
        (self.folder / "__init__.py").touch()
        (self.folder / "helper.py").write_text(HELPER)
        (self.folder / "study.py").write_text(STUDY)
        (project.path / "data.txt").write_text("1\n2\n")

    def edit(self, name: str, old: str, new: str) -> None:
        """Replace a text that is there once."""
        path = self.folder / name
        text = path.read_text()
        assert text.count(old) == 1, (old, text.count(old))
        path.write_text(text.replace(old, new))

    def load(self) -> ModuleType:
        """Import the study as it is now."""
        for name in [name for name in sys.modules if name.partition(".")[0] == "tiny"]:
            del sys.modules[name]
        importlib.invalidate_caches()
        return importlib.import_module("tiny.study")

    def recipe(self, *words: str) -> int:
        """Go through the recipe as it is now, by its command."""
        return self.load().recipe.main(list(words))

    def go(self, **wishes: Any) -> str | None:
        """Go through the recipe as it is now, without a process that sends what is recorded; say what is wrong."""
        environment = self.project.environment
        run = create_run(environment, Envelope(entry_point="recipe", arguments={}, seed=7), experiment_name="tiny")
        self.project.made.append(run)
        plan = self.load().recipe.plan(**wishes)
        self.standings = execute(plan, run, History(environment, "tiny", "tiny"), DataCache(environment))
        return find_failure(plan, self.standings)

    @property
    def states(self) -> dict[str, tuple[str, list[str]]]:
        """Where the steps stood when this went through them last, and why."""
        return {standing.name: (str(standing.state), list(standing.reasons)) for standing in self.standings}

    @property
    def executed(self) -> list[str]:
        """The steps that were executed since this was asked last, in order."""
        path = self.project.path / "executed.txt"
        names = path.read_text().split() if path.exists() else []
        path.unlink(missing_ok=True)
        return names


@pytest.fixture
def study(project: Project, monkeypatch: pytest.MonkeyPatch) -> Iterator[TinyStudy]:
    """A study of one's own."""
    monkeypatch.setattr(sys, "path", [str(project.path), *sys.path])
    monkeypatch.setattr(sys, "dont_write_bytecode", True)  # or an edit within the same second would go unnoticed
    yield TinyStudy(project)
    for name in [name for name in sys.modules if name.partition(".")[0] == "tiny"]:
        del sys.modules[name]
