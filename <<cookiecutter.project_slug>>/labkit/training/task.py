"""What a model learns, apart from what it is: the loss, the metrics, the optimiser."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping
from copy import deepcopy
from typing import Any, Literal, NamedTuple

from lightning.pytorch import LightningModule
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler
from torchmetrics import Metric

from labkit.training.checkpoint import demand_fit
from labkit.training.distribution import gather, rank
from labkit.training.metrics import EpochMetrics

Stage = Literal["train", "validation", "test"]


class Result(NamedTuple):
    """What a task makes of a batch."""

    loss: Tensor
    """The mean loss of the batch's samples, a scalar."""
    prediction: Tensor
    """What the metrics compare with the target; its first dimension is the batch."""
    target: Tensor


class Task(LightningModule, ABC):
    """A model, and how it learns; all of it comes in as arguments.

    :ivar model: The architecture and its weights.
    :ivar steps: The optimiser steps of the whole training, once it is known.
    :ivar results: For each stage all metrics of its last epoch, also those that are no scalars.
    """

    def __init__(
        self,
        model: nn.Module,
        *,
        metrics: Mapping[str, Metric],
        optimizer: Callable[[Iterable[nn.Parameter]], Optimizer] | None = None,
        scheduler: Callable[[Optimizer, int], LRScheduler] | None = None,
        scheduler_interval: Literal["step", "epoch"] = "step",
    ) -> None:
        """Put the parts together.

        :param model: The architecture.
        :param metrics: Metrics by name, computed over whole epochs of each stage.
        :param optimizer: Makes the optimiser for the model's parameters; not needed to evaluate.
        :param scheduler: Makes the schedule of the learning rate for that optimiser and the number of steps to come.
        :param scheduler_interval: Whether the schedule counts optimiser steps or epochs.
        """
        super().__init__()
        self.model = model
        self.optimizer = optimizer
        self.scheduler = scheduler
        self.scheduler_interval = scheduler_interval
        self.steps = 0
        self.results: dict[str, dict[str, Tensor]] = {}
        self._metrics = {stage: EpochMetrics(deepcopy(dict(metrics))) for stage in ("train", "validation", "test")}

    @abstractmethod
    def compute(self, batch: Any) -> Result:
        """Apply the model to a batch and compute the loss.

        :param batch: A batch as the loader makes it.
        :return: Loss, prediction and target.
        """

    def forward(self, *inputs: Any) -> Any:
        """Apply the model."""
        return self.model(*inputs)

    def training_step(self, batch: Any, *_: Any) -> Tensor:
        """Compute the loss to minimise."""
        return self._step("train", batch)

    def validation_step(self, batch: Any, *_: Any) -> None:
        """Take a batch of the validation set in."""
        self._step("validation", batch)

    def test_step(self, batch: Any, *_: Any) -> None:
        """Take a batch of the test set in."""
        self._step("test", batch)

    def on_train_epoch_end(self) -> None:
        """Record the metrics of the epoch."""
        self._record("train")

    def on_validation_epoch_end(self) -> None:
        """Record the metrics of the validation set."""
        self._record("validation")

    def on_test_epoch_end(self) -> None:
        """Record the metrics of the test set."""
        self._record("test")

    def configure_optimizers(self) -> Any:
        """Make the optimiser and, if there is one, the schedule."""
        if self.optimizer is None:
            raise TypeError(f"this {type(self).__name__} cannot be trained: it was made without an optimizer")
        optimizer = self.optimizer(self.model.parameters())
        if self.scheduler is None:
            return optimizer
        return {
            "optimizer": optimizer,
            "lr_scheduler": {"scheduler": self.scheduler(optimizer, self.steps), "interval": self.scheduler_interval},
        }

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Keep the metrics of epochs that are over and of one that is not."""
        checkpoint["results"] = self.results
        checkpoint["metrics"] = gather({stage: metrics.state_dict() for stage, metrics in self._metrics.items()})

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Go on with the metrics of the epochs so far; first of all, make sure that the weights are those of the model.

        :raises UsageError: If they are not.
        """
        demand_fit(self, checkpoint["state_dict"], "the checkpoint from which the run would go on")
        self.results = checkpoint["results"]
        for stage, state in checkpoint["metrics"][rank()].items():
            self._metrics[stage].load_state_dict(state)

    def _step(self, stage: Stage, batch: Any) -> Tensor:
        result = self.compute(batch)
        self._metrics[stage].update(*result)
        return result.loss

    def _record(self, stage: Stage) -> None:
        metrics = self._metrics[stage]
        values = self.results[stage] = metrics.compute()
        metrics.reset()
        scalars = {f"{stage}/{name}": float(value) for name, value in values.items() if value.numel() == 1}
        # Lightning's callbacks, such as early stopping, look here; the logger gets them below, with our own step.
        self.log_dict(scalars, logger=False, sync_dist=True)
        if self.logger is not None:
            self.logger.log_metrics(scalars, step=self.trainer.global_step)
