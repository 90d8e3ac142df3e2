"""Whether an untrained model knows as little as it should."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from labkit.recipe.check import Check, at_most
from labkit.recipe.step import Step

if TYPE_CHECKING:
    from labkit.recipe.context import Context


@dataclass(frozen=True, kw_only=True)
class LossAtInitialisation(Step):
    """Evaluate the task before it learns, with several seeds, and with batches of different sizes.

    An untrained classifier of K classes guesses: its cross entropy is log K. Another value tells of inputs of the wrong
    scale, or of a loss over the wrong axis.

    Scores: the mean of the loss, its distance from what is expected, and by how much a metric depends on the size of
    batches. Data: ``losses``, one a seed.
    """

    name: str = "check loss at initialisation"
    expected: float
    """The loss of guessing: log K for K classes alike."""
    seeds: int = 5
    small_batch: int = 1
    """The other size of batches."""
    checks: tuple[Check, ...] = (
        at_most("distance from expected", 0.25),
        at_most("largest dependence on batch size", 1e-4),
    )

    def execute(self, context: "Context") -> Mapping[str, object]:
        """Evaluate."""
        validation = context.data().validation
        losses: list[float] = []
        dependence: dict[str, float] = {}
        for index in range(self.seeds):
            task = context.make_task(index=index)
            metrics = context.evaluate(task, validation)
            losses.append(metrics["loss"])
            if index == 0:
                again = context.evaluate(task, validation, batch_size=self.small_batch)
                dependence = {name: abs(value - again[name]) for name, value in metrics.items()}
        found = dependence.values()
        mean = sum(losses) / len(losses)
        return {
            "losses": losses,
            "loss": mean,
            "distance from expected": abs(mean - self.expected),
            "largest dependence on batch size": math.nan if any(map(math.isnan, found)) else max(found),
            "dependence on batch size": dependence,
        }
