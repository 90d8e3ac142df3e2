"""Whether the model is large enough: the whole training set, by heart."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from labkit.recipe.check import Check, at_least, better_than
from labkit.recipe.step import Step
from labkit.recipe.steps.overfit_one_batch import WITHOUT_REGULARISATION

if TYPE_CHECKING:
    from labkit.recipe.context import Context


@dataclass(frozen=True, kw_only=True)
class Overfit(Step):
    """Learn the training set by heart, without any regularisation: a model that cannot is too small, or badly trained.

    Scores: the metrics of both parts at the end. Data: their course.
    """

    name: str = "overfit"
    checks: tuple[Check, ...] = (
        at_least("train/accuracy", 0.99),
        better_than("validation/accuracy", "nearest mean/accuracy"),
    )

    def execute(self, context: "Context") -> Mapping[str, object]:
        """Train."""
        training = context.train(context.experiment.changed(WITHOUT_REGULARISATION), name="without regularisation")
        return {
            **training.scores,
            "course": {name: training.series[name] for name in training.scores},
        }
