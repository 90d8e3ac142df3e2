"""Learning from few samples what others have learned from many."""

from collections.abc import Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from labkit.command import UsageError
from labkit.recipe.check import Check, better_than, equal
from labkit.recipe.experiment import Experiment
from labkit.recipe.step import Step
from labkit.training.duration import Duration

if TYPE_CHECKING:
    from labkit.recipe.context import Context
    from labkit.training.task import Task


@dataclass(frozen=True, kw_only=True)
class TransferLearning(Step):
    """Train on a source, keep the weights, and train on a target: first with some of them frozen, then with all.

    For comparison the target is learned from scratch too, for as long as both phases together.

    Scores: the metrics on the target of each phase, ``frozen/accuracy`` and ``thawed/accuracy``, and those without a
    source, ``scratch/accuracy``; how many frozen weights moved while they were frozen.
    """

    name: str = "transfer learning"
    source: Experiment
    """Where the weights come from."""
    target: Experiment
    """What they are to help with."""
    freeze: tuple[str, ...]
    """The weights that are frozen at first: ``model.0.*``."""
    fresh: tuple[str, ...] = ()
    """The weights that are not taken over, such as those of the last layer."""
    rate: float = 1e-3
    """The learning rate of the weights that were frozen, once they are not any more."""
    thawed_duration: Duration = Duration(5, "epochs")
    """How long all weights learn; how long the others do alone is the target's duration."""
    checks: tuple[Check, ...] = (
        equal("frozen weights that moved", 0),
        better_than("thawed/accuracy", "scratch/accuracy", step=""),
    )

    def execute(self, context: "Context") -> Mapping[str, object]:
        """Train on the source, then on the target."""
        import torch

        from labkit.recipe.freezing import freeze, thaw

        whole = self._add_durations()
        task = context.make_task(self.target, index=1)
        self._take_over(task, context.make_task(self.source))  # so that what does not fit is found before any training
        source = context.train(self.source, name="source")
        self._take_over(task, source.task)
        frozen = freeze(task, self.freeze)
        before = {name: weight.detach().clone() for name, weight in task.named_parameters() if name in frozen}
        first = context.train(self.target, name="frozen", index=1, task=task)
        after = dict(task.named_parameters())
        moved = sum(not torch.equal(after[name], before[name]) for name in frozen)

        thaw(task, frozen, self.rate)
        second = context.train(
            self.target.changed({"duration": self.thawed_duration}), name="thawed", index=2, task=task
        )
        scratch = context.train(self.target.changed({"duration": whole}), name="from scratch", index=1)
        phases = {"frozen": first, "thawed": second, "scratch": scratch}
        return {
            **{
                f"{phase}/{name.removeprefix('validation/')}": value
                for phase, training in phases.items()
                for name, value in training.scores.items()
                if name.startswith("validation/")
            },
            "frozen weights that moved": moved,
            "frozen": frozen,
        }

    def _add_durations(self) -> Duration:
        """Return how long both phases take together."""
        first, second = self.target.duration, self.thawed_duration
        if first.unit != second.unit:
            raise UsageError(f"the target learns for {first} and then for {second}: give both in one unit.")
        return Duration(first.amount + second.amount, first.unit)

    def _take_over(self, task: "Task", source: "Task") -> None:
        """Give a task all weights of another one but the fresh ones."""
        from labkit.training.checkpoint import demand_fit

        own, others = task.state_dict(), source.state_dict()
        for pattern in self.fresh:
            if not any(fnmatchcase(name, pattern) for name in [*own, *others]):
                raise UsageError(f"no weight is named like '{pattern}': there are {', '.join(own)}.")
        kept = {name: value for name, value in others.items() if not self._is_fresh(name)}
        fit = demand_fit(task, kept, "the source", may_be_missing=filter(self._is_fresh, own))
        task.load_state_dict(fit.fitting, strict=False)

    def _is_fresh(self, name: str) -> bool:
        """Tell whether a weight, or the moving average of one, is not taken over."""
        return any(fnmatchcase(name.removeprefix("average."), pattern) for pattern in self.fresh)
