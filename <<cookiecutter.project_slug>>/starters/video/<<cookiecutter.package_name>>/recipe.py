"""From simple to complex: `recipe --help`."""

import math
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING

from labkit.recipe.check import at_least, at_most, better_than
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
from labkit.recipe.steps.evaluate_baseline import commonest_class
from labkit.training.duration import Duration

from .clip import MOTIONS
from .train import make_task

if TYPE_CHECKING:
    from torch import Tensor

    from labkit.environment import Environment


def load(environment: "Environment") -> Data:
    """Load the clips to learn from and to judge by; those to test on stay where they are."""
    from .data import find_parts

    parts = find_parts(environment)
    return Data(parts.training, parts.validation, parts.footprint)


def nearest_frame(data: Data) -> dict[str, float]:
    """Answer with the motion of the clip with the nearest first frame, in which there is nothing to see."""
    return {"accuracy": _find_nearest(data, lambda clips: clips[:, :, 0])}


def nearest_shift(data: Data) -> dict[str, float]:
    """Answer with the motion of the clip with the nearest correlation of its first two frames."""
    from torch import fft

    def correlate(clips: "Tensor") -> "Tensor":
        first, second = fft.rfft2(clips[:, :, 0]), fft.rfft2(clips[:, :, 1])
        correlation = fft.irfft2(second * first.conj())
        return correlation / correlation.amax(dim=(-2, -1), keepdim=True)

    return {"accuracy": _find_nearest(data, correlate)}


def _find_nearest(data: Data, describe: "Callable[[Tensor], Tensor]") -> float:
    import torch

    from labkit.recipe.steps.explore_data import read_samples

    (known, labels), (judged, classes) = read_samples(data.training), read_samples(data.validation)
    distances = torch.cdist(describe(judged).flatten(1), describe(known).flatten(1))
    return (labels[distances.argmin(dim=1)] == classes).double().mean().item()


recipe = Recipe(
    "<< cookiecutter.package_name >>",
    Experiment(
        data=load,
        task=make_task,
        arguments={"architecture": "cnn", "learning_rate": 0.01},
        duration=Duration(7, "epochs"),
        validation_every=Duration(7, "epochs"),
    ),
    ExploreData(),
    # What there is to know is between frames, and nowhere else.
    EvaluateBaseline(
        methods={"commonest class": commonest_class, "nearest frame": nearest_frame, "nearest shift": nearest_shift},
        checks=(
            at_most("nearest frame/accuracy", 0.25),
            better_than("nearest shift/accuracy", "nearest frame/accuracy", margin=0.3, step=""),
        ),
    ),
    LossAtInitialisation(expected=math.log(len(MOTIONS))),
    OverfitOneBatch(steps=150),
    Overfit(
        inspections=(TensorStatistics(("model.0", "model.3", "model.5")), ClassProbabilities(), Histograms(every=50)),
        checks=(at_least("train/accuracy", 0.99), better_than("validation/accuracy", "nearest shift/accuracy")),
    ),
    Tune(
        space={"learning_rate": Range(0.003, 0.03, log=True)},
        trials=2,
        metric="validation/loss",
        smaller_is_better=True,
    ),
    Squeeze(members=2),
)

if __name__ == "__main__":
    sys.exit(recipe.main())
