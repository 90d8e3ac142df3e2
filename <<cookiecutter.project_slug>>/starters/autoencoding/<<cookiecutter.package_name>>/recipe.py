"""From simple to complex: `recipe --help`."""

import sys
from typing import TYPE_CHECKING, Final

from labkit.recipe.check import at_most, better_than, equal, trend
from labkit.recipe.experiment import Data, Experiment
from labkit.recipe.inspection import Histograms
from labkit.recipe.recipe import Recipe
from labkit.recipe.steps import (
    EvaluateBaseline,
    ExploreData,
    LossAtInitialisation,
    Overfit,
    OverfitOneBatch,
    Range,
    Regularise,
    Tune,
)
from labkit.training.duration import Duration

from .train import FEATURES, make_task

if TYPE_CHECKING:
    from labkit.environment import Environment

LOSS_OF_GREY: Final = 0.18
"""Of an image that is all of a middle grey, as fresh weights make it."""


def load(environment: "Environment") -> Data:
    """Load the digits to learn from and to judge by; those to test on stay where they are."""
    from .data import find_parts, shift

    parts = find_parts(environment)
    return Data(parts.training, parts.validation, parts.footprint, augmentation=shift)


def mean_image(data: Data) -> dict[str, float]:
    """Answer with the mean of the training images, always."""
    from labkit.recipe.steps.explore_data import read_samples

    (images, _), (judged, _) = read_samples(data.training), read_samples(data.validation)
    return {"loss": float((judged - images.mean(dim=0)).square().mean())}


def principal_components(data: Data) -> dict[str, float]:
    """Answer with what as many principal components keep of an image as a representation has numbers."""
    from sklearn.decomposition import PCA

    from labkit.recipe.steps.explore_data import read_samples

    (images, _), (judged, _) = (read_samples(part) for part in (data.training, data.validation))
    components = PCA(FEATURES, random_state=0).fit(images.flatten(1).numpy())
    rows = judged.flatten(1).numpy()
    kept = components.inverse_transform(components.transform(rows))
    return {"loss": float(((rows - kept) ** 2).mean())}


recipe = Recipe(
    "<< cookiecutter.package_name >>",
    Experiment(
        data=load,
        task=make_task,
        arguments={"architecture": "cnn", "learning_rate": 0.003},
        duration=Duration(30, "epochs"),
        validation_every=Duration(5, "epochs"),
    ),
    ExploreData(),
    EvaluateBaseline(
        methods={"mean image": mean_image, "principal components": principal_components},
        checks=(
            better_than("principal components/loss", "mean image/loss", margin=0.03, step="", smaller_is_better=True),
        ),
    ),
    LossAtInitialisation(expected=LOSS_OF_GREY, checks=(at_most("distance from expected", 0.05),)),
    OverfitOneBatch(
        steps=300,
        checks=(at_most("loss", 0.003), equal("weights that did not move", 0), trend("losses")),
    ),
    Overfit(
        inspections=(Histograms(every=50),),
        checks=(
            at_most("train/loss", 0.012),
            better_than("validation/loss", "principal components/loss", smaller_is_better=True),
        ),
    ),
    Regularise(
        candidates={"decay": {"weight_decay": 0.05}, "augmentation": {"augment": True}},
        until=at_most("validation/loss", 0.015),
    ),
    Tune(
        space={"learning_rate": Range(0.001, 0.01, log=True)},
        trials=3,
        metric="validation/loss",
        smaller_is_better=True,
    ),
)

if __name__ == "__main__":
    sys.exit(recipe.main())
