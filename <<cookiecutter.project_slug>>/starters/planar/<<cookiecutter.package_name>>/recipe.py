"""From simple to complex: `recipe --help`."""

import math
import sys
from typing import TYPE_CHECKING

from labkit.recipe.check import better_than
from labkit.recipe.experiment import Data, Experiment
from labkit.recipe.inspection import ClassProbabilities, Histograms, TensorStatistics
from labkit.recipe.recipe import Recipe
from labkit.recipe.steps import (
    EvaluateBaseline,
    ExploreData,
    LossAtInitialisation,
    Overfit,
    OverfitOneBatch,
    Range,
    Squeeze,
    Tune,
)
from labkit.recipe.steps.evaluate_baseline import commonest_class, nearest_mean
from labkit.training.duration import Duration

from .distribution import CLASSES
from .train import make_task

if TYPE_CHECKING:
    from labkit.environment import Environment


def load(environment: "Environment") -> Data:
    """Draw the points to learn from and to judge by; those to test on stay where they are."""
    from .data import find_parts

    parts = find_parts(environment)
    return Data(parts.training, parts.validation, parts.footprint)


def nearest_neighbour(data: Data) -> dict[str, float]:
    """Answer with the class of the nearest point that is known."""
    import torch

    from labkit.recipe.steps.explore_data import read_samples

    (known, labels), (judged, classes) = read_samples(data.training), read_samples(data.validation)
    nearest = torch.cdist(judged, known).argmin(dim=1)
    return {"accuracy": (labels[nearest] == classes).double().mean().item()}


recipe = Recipe(
    "<< cookiecutter.package_name >>",
    Experiment(
        data=load,
        task=make_task,
        arguments={"architecture": "mlp", "learning_rate": 0.03},
        duration=Duration(50, "epochs"),
        validation_every=Duration(10, "epochs"),
    ),
    ExploreData(),
    # Neighbours tell the class and means do not: there is something to learn, and no straight line will do.
    EvaluateBaseline(
        methods={
            "commonest class": commonest_class,
            "nearest mean": nearest_mean,
            "nearest neighbour": nearest_neighbour,
        },
        checks=(better_than("nearest neighbour/accuracy", "nearest mean/accuracy", margin=0.3, step=""),),
    ),
    LossAtInitialisation(expected=math.log(CLASSES)),
    OverfitOneBatch(steps=150),
    Overfit(inspections=(TensorStatistics(("model.0", "model.2")), ClassProbabilities(), Histograms(every=50))),
    Tune(
        space={"learning_rate": Range(0.01, 0.1, log=True)},
        trials=2,
        metric="validation/loss",
        smaller_is_better=True,
    ),
    Squeeze(members=2),
)

if __name__ == "__main__":
    sys.exit(recipe.main())
