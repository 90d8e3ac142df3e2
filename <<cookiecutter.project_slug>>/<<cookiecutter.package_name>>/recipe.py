"""From simple to complex: `recipe --help`."""

import math
import sys
from typing import TYPE_CHECKING, Final

from labkit.recipe.experiment import Data, Experiment
from labkit.recipe.recipe import Recipe
from labkit.recipe.steps import EvaluateBaseline, ExploreData, LossAtInitialisation
from labkit.training.duration import Duration

from .train import make_task

if TYPE_CHECKING:
    from labkit.environment import Environment

CLASSES: Final = 10


def load(environment: "Environment") -> Data:
    """Load the digits; those to test on stay where they are."""
    from .data import find_parts, shift

    parts = find_parts(environment)
    return Data(parts.training, parts.validation, parts.footprint, augmentation=shift)


recipe = Recipe(
    "<< cookiecutter.package_name >>",
    Experiment(data=load, task=make_task, arguments={"architecture": "cnn"}, duration=Duration(10, "epochs")),
    ExploreData(),
    EvaluateBaseline(),
    LossAtInitialisation(expected=math.log(CLASSES)),
)

if __name__ == "__main__":
    sys.exit(recipe.main())
