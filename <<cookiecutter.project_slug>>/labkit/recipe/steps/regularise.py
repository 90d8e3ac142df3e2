"""From learning by heart to learning what holds elsewhere."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from labkit.recipe.check import Check, Findings, exists
from labkit.recipe.result import Result
from labkit.recipe.step import Step

if TYPE_CHECKING:
    from labkit.recipe.context import Context


@dataclass(frozen=True, kw_only=True)
class Regularise(Step):
    """Try candidates in turn, each by itself, until one satisfies; later steps go on with it.

    Scores: the metrics of the candidate that satisfied. Data: ``candidates``, all that were tried, with their changes,
    metrics and verdict; ``chosen``, the one that satisfied, if one did.
    """

    name: str = "regularise"
    candidates: Mapping[str, Mapping[str, Any]]
    """Changes to the experiment by a name for them, the simplest first."""
    until: Check
    """What satisfies; it is judged on the metrics of a candidate's training."""
    checks: tuple[Check, ...] = (exists("chosen"),)

    def execute(self, context: "Context") -> Mapping[str, object]:
        """Train candidate after candidate."""
        tried: list[dict[str, object]] = []
        for index, (name, changes) in enumerate(self.candidates.items()):
            training = context.train(context.experiment.changed(changes), name=name, index=index)
            verdict = self.until(Findings(Result(training.scores), context.earlier))
            tried.append(
                {
                    "name": name,
                    "changes": changes,
                    "scores": training.scores,
                    "holds": verdict.holds,
                    "reason": verdict.reason,
                }
            )
            if verdict.holds:
                return {**training.scores, "candidates": tried, "chosen": name, "changes": changes}
        return {"candidates": tried}
