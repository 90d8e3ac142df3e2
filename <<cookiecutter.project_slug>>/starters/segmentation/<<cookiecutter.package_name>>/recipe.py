"""From simple to complex: `recipe --help`."""

import math
import sys
from typing import TYPE_CHECKING, Final

from labkit.recipe.check import at_least, at_most, better_than, equal, trend
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

from .scene import NAMES
from .train import make_task

if TYPE_CHECKING:
    from torch import Tensor

    from labkit.environment import Environment

NEIGHBOURHOOD: Final = 9
"""What a linear classifier looks at, in pixels."""
SCENES_FOR_BASELINE: Final = 200


def load(environment: "Environment") -> Data:
    """Load the scenes to learn from and to judge by; those to test on stay where they are."""
    from .data import find_parts, shift

    parts = find_parts(environment)
    return Data(parts.training, parts.validation, parts.footprint, augmentation=shift)


def background(data: Data) -> dict[str, float]:
    """Answer with the background, always."""
    from labkit.recipe.steps.explore_data import read_samples

    _, masks = read_samples(data.validation)
    return judge(masks.new_zeros(masks.shape), masks)


def linear_classifier(data: Data) -> dict[str, float]:
    """Answer with a linear function of each pixel's neighbourhood, by least squares."""
    import torch
    from torch.nn import functional

    from labkit.recipe.steps.explore_data import read_samples

    def look(scenes: "Tensor") -> "Tensor":
        pixels = functional.unfold(scenes, NEIGHBOURHOOD, padding=NEIGHBOURHOOD // 2).movedim(1, 2)
        return functional.pad(pixels, (0, 1), value=1)  # for the bias

    scenes, masks = (part[:SCENES_FOR_BASELINE] for part in read_samples(data.training))
    inputs, targets = look(scenes).flatten(0, 1), functional.one_hot(masks.flatten(), len(NAMES)).float()
    weights = torch.linalg.lstsq(inputs.T @ inputs, inputs.T @ targets).solution
    scenes, masks = read_samples(data.validation)
    return judge((look(scenes) @ weights).argmax(dim=2).reshape(masks.shape), masks)


def judge(predicted: "Tensor", masks: "Tensor") -> dict[str, float]:
    """Compute the mean intersection over union."""
    from torchmetrics.functional.classification import multiclass_jaccard_index

    return {"iou": float(multiclass_jaccard_index(predicted, masks, len(NAMES)))}


recipe = Recipe(
    "<< cookiecutter.package_name >>",
    Experiment(
        data=load,
        task=make_task,
        arguments={"architecture": "unet", "learning_rate": 0.01},
        duration=Duration(5, "epochs"),
        validation_every=Duration(5, "epochs"),
        batch_size=16,
    ),
    ExploreData(),
    EvaluateBaseline(
        methods={"background": background, "linear classifier": linear_classifier},
        checks=(better_than("linear classifier/iou", "background/iou", margin=0.02, step=""),),
    ),
    LossAtInitialisation(expected=math.log(len(NAMES)), small_batch=20, seeds=3),
    OverfitOneBatch(
        samples=8,
        steps=150,
        checks=(at_most("loss", 0.1), equal("weights that did not move", 0), trend("losses")),
    ),
    Overfit(
        inspections=(Histograms(every=25),),
        checks=(at_least("train/iou", 0.35), better_than("validation/iou", "linear classifier/iou", margin=0.1)),
    ),
    Regularise(
        candidates={"augmentation": {"augment": True}, "decay": {"augment": True, "weight_decay": 0.05}},
        until=at_least("validation/iou", 0.35),
    ),
    Tune(space={"learning_rate": Range(0.003, 0.03, log=True)}, trials=2, metric="validation/iou"),
)

if __name__ == "__main__":
    sys.exit(recipe.main())
