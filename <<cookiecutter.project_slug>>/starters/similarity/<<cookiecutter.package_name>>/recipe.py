"""From simple to complex: `recipe --help`."""

import sys
from typing import TYPE_CHECKING

from labkit.recipe.check import at_least, at_most, better_than, equal, trend
from labkit.recipe.experiment import Data, Experiment
from labkit.recipe.inspection import Histograms, SaveBatch
from labkit.recipe.recipe import Recipe
from labkit.recipe.steps import EvaluateBaseline, ExploreData, Overfit, OverfitOneBatch, Range, Regularise, Tune
from labkit.training.duration import Duration

from .train import make_task

if TYPE_CHECKING:
    from torch import Tensor

    from labkit.environment import Environment


def load(environment: "Environment") -> Data:
    """Load the words to learn from and to judge by; those to test on stay where they are."""
    from .data import find_parts

    parts = find_parts(environment)
    return Data(parts.training, parts.validation, parts.footprint)


def pixels(data: Data) -> dict[str, float]:
    """Search with the images themselves."""
    from labkit.recipe.steps.explore_data import read_samples

    images, words = read_samples(data.validation)
    return search(images.flatten(1), words)


def chance(data: Data) -> dict[str, float]:
    """Search with vectors that have nothing to do with the images."""
    import torch

    from labkit.recipe.steps.explore_data import read_samples

    _, words = read_samples(data.validation)
    return search(torch.randn(len(words), 64, generator=torch.Generator().manual_seed(0)), words)


def search(vectors: "Tensor", words: "Tensor") -> dict[str, float]:
    """Judge a search with vectors."""
    from labkit.training.retrieval import MeanAveragePrecision, PrecisionAtOne

    return {
        name: float(metric(vectors, words))
        for name, metric in {"map": MeanAveragePrecision(), "precision_at_1": PrecisionAtOne()}.items()
    }


recipe = Recipe(
    "<< cookiecutter.package_name >>",
    Experiment(
        data=load,
        task=make_task,
        arguments={"architecture": "cnn", "learning_rate": 0.003},
        duration=Duration(8, "epochs"),
        validation_every=Duration(2, "epochs"),
        batch_size=128,
    ),
    ExploreData(),
    EvaluateBaseline(
        methods={"chance": chance, "pixels": pixels},
        checks=(better_than("pixels/map", "chance/map", margin=0.05, step=""),),
    ),
    OverfitOneBatch(
        samples=128,
        checks=(at_most("loss", 0.05), equal("weights that did not move", 0), trend("losses")),
        inspections=(SaveBatch(),),
    ),
    Overfit(
        inspections=(Histograms(every=20),),
        checks=(at_most("train/loss", 0.05), better_than("validation/map", "pixels/map", margin=0.1)),
    ),
    Regularise(
        candidates={
            "decay": {"weight_decay": 0.05, "dropout": 0.0},
            "decay and dropout": {"weight_decay": 0.05, "dropout": 0.1},
        },
        until=at_least("validation/map", 0.75),
    ),
    Tune(space={"learning_rate": Range(0.001, 0.01, log=True)}, trials=2, metric="validation/map"),
)

if __name__ == "__main__":
    sys.exit(recipe.main())
