"""From simple to complex: `recipe --help`."""

import math
import sys
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Final

from labkit.recipe.check import at_least
from labkit.recipe.experiment import Data, Experiment
from labkit.recipe.inspection import ClassProbabilities, Histograms, SaveBatch, TensorStatistics
from labkit.recipe.recipe import Recipe
from labkit.recipe.steps import (
    EvaluateBaseline,
    ExploreData,
    LossAtInitialisation,
    Overfit,
    OverfitOneBatch,
    Range,
    Regularise,
    Squeeze,
    TransferLearning,
    Tune,
)
from labkit.training.duration import Duration

from .train import make_task

if TYPE_CHECKING:
    from torch.utils.data import TensorDataset

    from labkit.environment import Environment

CLASSES: Final = 10
LOW: Final = (0, 1, 2, 3, 4)
HIGH: Final = (5, 6, 7, 8, 9)


def load(environment: "Environment", classes: tuple[int, ...] = LOW + HIGH, samples: int | None = None) -> Data:
    """Load the digits to learn from and to judge by; those to test on stay where they are.

    :param environment: Where data are.
    :param classes: Only these digits.
    :param samples: Only so many to learn from.
    :return: The data.
    """
    from .data import find_parts, shift

    parts = find_parts(environment)
    training, validation = (select(part, classes) for part in (parts.training, parts.validation))
    return Data(select(training, classes, samples), validation, parts.footprint, augmentation=shift)


def select(dataset: "TensorDataset", classes: tuple[int, ...], samples: int | None = None) -> "TensorDataset":
    """Return the samples of some classes, or the first of them."""
    import torch
    from torch.utils.data import TensorDataset

    chosen = torch.isin(dataset.tensors[1], torch.tensor(classes)).nonzero()[:samples, 0]
    return TensorDataset(*(tensor[chosen] for tensor in dataset.tensors))


experiment = Experiment(
    data=load,
    task=make_task,
    arguments={"architecture": "cnn", "learning_rate": 0.01},
    duration=Duration(8, "epochs"),
    validation_every=Duration(2, "epochs"),
)

recipe = Recipe(
    "<< cookiecutter.package_name >>",
    experiment,
    ExploreData(),
    EvaluateBaseline(),
    LossAtInitialisation(expected=math.log(CLASSES)),
    OverfitOneBatch(inspections=(SaveBatch(),)),
    Overfit(inspections=(TensorStatistics(("model.0", "model.3")), ClassProbabilities(), Histograms(every=20))),
    Regularise(
        candidates={"dropout": {"dropout": 0.25}, "dropout and augmentation": {"dropout": 0.25, "augment": True}},
        until=at_least("validation/accuracy", 0.98),
    ),
    Tune(
        space={"learning_rate": Range(0.003, 0.03, log=True)},
        trials=4,
        metric="validation/loss",
        smaller_is_better=True,
    ),
    Squeeze(members=3),
    TransferLearning(
        source=replace(experiment, data=partial(load, classes=LOW)),
        target=replace(experiment, data=partial(load, classes=HIGH, samples=50), batch_size=10),
        freeze=("model.0.*", "model.3.*"),
        fresh=("model.8.*",),
    ),
)

if __name__ == "__main__":
    sys.exit(recipe.main())
