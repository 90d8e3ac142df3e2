"""What is reached without a network: what every later step has to beat."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar

from labkit.recipe.check import BASELINE, Check, better_than
from labkit.recipe.step import Step
from labkit.recipe.steps.explore_data import read_samples

if TYPE_CHECKING:
    from labkit.recipe.context import Context
    from labkit.recipe.experiment import Data


def commonest_class(data: "Data") -> dict[str, float]:
    """Answer with the class that is commonest in training, always."""
    _, known = read_samples(data.training)
    _, classes = read_samples(data.validation)
    return {"accuracy": (classes == known.mode().values).double().mean().item()}


def nearest_mean(data: "Data") -> dict[str, float]:
    """Answer with the class whose mean input is nearest, by Euclid's distance."""
    import torch

    inputs, known = read_samples(data.training)
    judged, classes = read_samples(data.validation)
    labels = known.unique()
    means = torch.stack([inputs[known == label].double().flatten(1).mean(dim=0) for label in labels])
    nearest = torch.cdist(judged.double().flatten(1), means).argmin(dim=1)
    return {"accuracy": (labels[nearest] == classes).double().mean().item()}


Baseline = Callable[["Data"], Mapping[str, float]]


@dataclass(frozen=True, kw_only=True)
class EvaluateBaseline(Step):
    """Evaluate methods that need no training, each a function from data to metrics.

    Scores: ``method/metric`` for each method. The default check demands that a simple method
    sees something in the data that guessing does not: where labels are shuffled, it does not.
    """

    name: str = BASELINE
    methods: Mapping[str, Baseline] = field(
        default_factory=lambda: {"commonest class": commonest_class, "nearest mean": nearest_mean}
    )
    checks: tuple[Check, ...] = (better_than("nearest mean/accuracy", "commonest class/accuracy", margin=0.1, step=""),)
    uses_task: ClassVar[bool] = False

    def execute(self, context: "Context") -> Mapping[str, object]:
        """Apply each method."""
        data = context.data()
        return {
            f"{name}/{metric}": value for name, method in self.methods.items() for metric, value in method(data).items()
        }
