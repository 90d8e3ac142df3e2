"""Whether the model can learn anything at all: one batch, by heart."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

from labkit.recipe.check import Check, at_most, equal, trend
from labkit.recipe.step import Step

if TYPE_CHECKING:
    from labkit.recipe.context import Context

WITHOUT_REGULARISATION: Final[Mapping[str, Any]] = {"augment": False, "dropout": 0.0, "weight_decay": 0.0}


@dataclass(frozen=True, kw_only=True)
class OverfitOneBatch(Step):
    """Learn one batch by heart, without any regularisation.

    Scores: the metrics on that batch at the end, and how many of the model's weights, as tensors, did not move: those
    that are frozen, or that nothing depends on. Data: their names, and the course of the loss.
    """

    name: str = "overfit one batch"
    steps: int = 60
    """Of the optimiser."""
    samples: int = 32
    checks: tuple[Check, ...] = (at_most("loss", 0.05), equal("weights that did not move", 0), trend("losses"))

    def execute(self, context: "Context") -> Mapping[str, object]:
        """Train, and look which weights moved."""
        import torch
        from torch.utils.data import Subset

        experiment = context.experiment.changed(
            {
                **WITHOUT_REGULARISATION,
                "batch_size": self.samples,
                "duration": f"{self.steps} steps",
                "validation_every": f"{self.steps} steps",
            }
        )
        data = context.data(experiment)
        generator = torch.Generator().manual_seed(context.seed)
        count = len(data.training)  # pyright: ignore[reportArgumentType]  a data set has a length
        batch = Subset(data.training, torch.randperm(count, generator=generator)[: self.samples].tolist())
        task = context.make_task(experiment)
        before = {name: weight.detach().clone() for name, weight in task.named_parameters()}
        training = context.train(
            experiment, name="one batch", data=replace(data, training=batch, validation=batch), task=task
        )
        unmoved = [name for name, weight in task.named_parameters() if torch.equal(weight, before[name])]
        metrics = {name.partition("/")[2]: value for name, value in training.scores.items() if "validation/" in name}
        return {
            **metrics,
            "losses": training.series["train/loss_step"],
            "weights that did not move": len(unmoved),
            "names of weights that did not move": unmoved,
        }
