"""From simple to complex: `recipe --help`."""

import math
import sys
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

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

from .digits import CLASSES
from .train import make_task

if TYPE_CHECKING:
    from labkit.environment import Environment


def load(environment: "Environment", samples: int | None = None, *, in_pairs: bool = False) -> Data:
    """Load the digits to learn from and to judge by; those to test on stay where they are.

    :param environment: Where data are.
    :param samples: How many to learn from; all of them by default.
    :param in_pairs: Whether classes are told apart in pairs only: 0 or 1, 2 or 3, and so on.
    :return: The data.
    """
    from torch.utils.data import TensorDataset

    from .data import find_parts, shift

    parts = find_parts(environment)
    (images, classes), (images_to_judge_by, classes_to_judge_by) = parts.training.tensors, parts.validation.tensors
    divisor = 2 if in_pairs else 1
    return Data(
        TensorDataset(images[:samples], classes[:samples] // divisor),
        TensorDataset(images_to_judge_by, classes_to_judge_by // divisor),
        parts.footprint,
        augmentation=shift,
    )


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
        source=replace(experiment, data=partial(load, in_pairs=True)),
        target=replace(experiment, data=partial(load, samples=50), batch_size=10),
        freeze=("model.0.*", "model.3.*"),
        fresh=("head.*",),
    ),
)

if __name__ == "__main__":
    sys.exit(recipe.main())
