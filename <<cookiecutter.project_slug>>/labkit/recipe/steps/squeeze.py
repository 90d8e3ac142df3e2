"""The last percent: longer training, and several models together."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from labkit.command import UsageError
from labkit.recipe.check import Check, better_than
from labkit.recipe.step import Step
from labkit.training.duration import Duration

if TYPE_CHECKING:
    from labkit.recipe.context import Context


@dataclass(frozen=True, kw_only=True)
class Squeeze(Step):
    """Train several models for longer, each with its own seed, and let them answer together.

    Scores: the metrics of the ensemble, ``ensemble/accuracy``, and the means over its members, ``members/accuracy``.
    Data: the metrics of each member.
    """

    name: str = "squeeze"
    members: int = 3
    longer: int = 2
    """How many times as long as before."""
    checks: tuple[Check, ...] = (better_than("ensemble/loss", "validation/loss", step="tune", smaller_is_better=True),)

    def execute(self, context: "Context") -> Mapping[str, object]:
        """Train, and put the models together."""
        from labkit.recipe.ensemble import Ensemble, let_answer

        short = context.experiment.duration
        experiment = context.experiment.changed({"duration": Duration(self.longer * short.amount, short.unit)})
        together = context.make_task(experiment)
        if not together.can_combine:
            raise UsageError(
                f"several models of a {type(together).__name__} cannot answer together: leave Squeeze out."
            )
        trainings = [context.train(experiment, name=f"member {index}", index=index) for index in range(self.members)]
        let_answer(together, Ensemble([training.task for training in trainings]).eval())
        ensemble = context.evaluate(together, context.data(experiment).validation)
        single = {metric: [training.scores[f"validation/{metric}"] for training in trainings] for metric in ensemble}
        return {
            **{f"ensemble/{metric}": value for metric, value in ensemble.items()},
            **{f"members/{metric}": sum(values) / len(values) for metric, values in single.items()},
            "members": single,
        }
