"""What a model learns, apart from what it is: the loss, the metrics, the optimiser.

A model makes representations of inputs, and a head makes of these what the loss asks for. So one model serves several
tasks, and what it has learned under one can be gone on with under another.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping
from copy import deepcopy
from typing import Any, ClassVar, Final, Literal, NamedTuple

import torch
from lightning.pytorch import LightningModule
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler, ReduceLROnPlateau
from torchmetrics import Metric

from labkit.command import UsageError
from labkit.training.checkpoint import demand_fit
from labkit.training.distribution import gather, rank
from labkit.training.metrics import EpochMetrics

Stage = Literal["train", "validation", "test"]

STEPS_OF_FULL_AVERAGE: Final = 10
"""The average of the weights keeps (1 + steps) / (10 + steps) of itself, until that is more than its decay."""


class Result(NamedTuple):
    """What a task makes of a batch."""

    loss: Tensor
    """The mean loss of what counts in the batch, a scalar."""
    prediction: Tensor
    """What the metrics compare with the target; its first dimension is the batch."""
    target: Tensor
    size: int | Tensor | None = None
    """Of how much the loss is the mean, such as pixels that are not ignored; by default the length of the target."""


class Task(LightningModule, ABC):
    """A model, and how it learns; all of it comes in as arguments.

    :ivar model: The architecture and its weights: from inputs to representations.
    :ivar head: From representations to what the loss is computed of.
    :ivar average: Model and head with the moving average of their weights, if one is kept.
    :ivar gradient_clip: The largest norm that the gradients of a step may have, if there is one.
    :ivar steps: The optimiser steps of the whole training, once it is known.
    :ivar epochs: Its epochs.
    :ivar monitor: The metric by which its best checkpoint is chosen.
    :ivar mode: Whether the best is the smallest or the largest.
    :ivar results: For each stage all metrics of its last epoch, also those that are no scalars.
    """

    can_combine: ClassVar[bool] = True
    """Whether outputs of several models mean the same, so that :meth:`combine` can make one of them."""

    def __init__(
        self,
        model: nn.Module,
        head: nn.Module | None = None,
        *,
        metrics: Mapping[str, Metric],
        training_metrics: Mapping[str, Metric] | None = None,
        optimizer: Callable[[Iterable[nn.Parameter]], Optimizer] | None = None,
        scheduler: Callable[[Optimizer, int], LRScheduler] | None = None,
        scheduler_interval: Literal["step", "epoch"] = "step",
        gradient_clip: float | None = None,
        average_decay: float | None = None,
    ) -> None:
        """Put the parts together.

        :param model: The architecture.
        :param head: What the task needs after it; without one, what the model returns is taken as it is.
        :param metrics: Metrics by name, computed over whole epochs of each stage.
        :param training_metrics: Those of the training, if they are others: some take long.
        :param optimizer: Makes the optimiser for the weights; not needed to evaluate.
        :param scheduler: Makes the schedule of the learning rate for that optimiser and the number of steps, or epochs,
            to come.
        :param scheduler_interval: Whether the schedule counts optimiser steps or epochs.
        :param gradient_clip: The largest norm of all gradients of a step together; no limit by default.
        :param average_decay: Judge, test and export not the weights but their exponential moving average, of which each
            step keeps this share: 0.999. At the beginning, where there is little to average, it keeps less.
        """
        super().__init__()
        self.model = model
        self.head = nn.Identity() if head is None else head
        self.average = None
        if average_decay is not None:
            parts = {"model": deepcopy(model), "head": deepcopy(self.head)}
            self.average = nn.ModuleDict(parts).requires_grad_(requires_grad=False)
        self.average_decay = average_decay
        self.optimizer = optimizer
        self.scheduler = scheduler
        self.scheduler_interval = scheduler_interval
        self.gradient_clip = gradient_clip
        self.steps = 0
        self.epochs = 0
        self.monitor = "validation/loss"
        self.mode: Literal["min", "max"] = "min"
        self.results: dict[str, dict[str, Tensor]] = {}
        training_metrics = metrics if training_metrics is None else training_metrics
        self._metrics = {
            stage: EpochMetrics(deepcopy(dict(training_metrics if stage == "train" else metrics)))
            for stage in ("train", "validation", "test")
        }

    @abstractmethod
    def compute(self, batch: Any) -> Result:
        """Apply the model to a batch and compute the loss.

        :param batch: A batch as the loader makes it.
        :return: Loss, prediction and target, and how much counts.
        """

    def select_inputs(self, batch: Any) -> tuple[Tensor, ...]:
        """Take out of a batch what the network is applied to; of several views, the first.

        :param batch: Inputs ``(batch, ...)`` or views of them, alone or followed by what belongs to them.
        :return: The network's arguments.
        """
        inputs = batch if isinstance(batch, Tensor) else batch[0]
        return (inputs if isinstance(inputs, Tensor) else inputs[0],)

    @property
    def parts(self) -> tuple[nn.Module, nn.Module]:
        """Model and head as they are used now: for judging, the moving average of their weights, if one is kept."""
        if self.average is None or self.training:
            return self.model, self.head
        return self.average["model"], self.average["head"]

    def forward(self, *inputs: Any) -> Any:
        """Apply the model, and the head to its representations."""
        model, head = self.parts
        return head(model(*inputs))

    def make_network(self) -> nn.Module:
        """Put together what maps inputs to outputs, without anything of learning, as it is used now."""
        return nn.Sequential(*self.parts)

    def combine(self, outputs: Tensor) -> Tensor:
        """Make one of the outputs of several models for the same inputs; here their mean.

        :param outputs: What :meth:`forward` of each returns, ``(models, batch, ...)``.
        :return: Such an output again, ``(batch, ...)``.
        """
        return outputs.mean(dim=0)

    def derive(self, metrics: dict[str, Tensor]) -> dict[str, Tensor]:
        """Return further metrics of an epoch that follow from those that were computed; none here.

        :param metrics: The epoch's metrics by name, the loss among them.
        :return: More of them.
        """
        del metrics
        return {}

    def training_step(self, batch: Any, index: int) -> Tensor:
        """Compute the loss to minimise."""
        loss, accumulate = self._step("train", batch), self.trainer.accumulate_grad_batches
        rest = int(self.trainer.num_training_batches) % accumulate
        if index < self.trainer.num_training_batches - rest:
            return loss
        return loss * (accumulate / rest)  # Lightning divides by all that a step takes, also where fewer are left

    def validation_step(self, batch: Any, *_: Any) -> None:
        """Take a batch of the validation set in."""
        self._step("validation", batch)

    def test_step(self, batch: Any, *_: Any) -> dict[str, Tensor]:
        """Take a batch of the test set in, and return what was predicted of it."""
        result = self.compute(batch)
        self._metrics["test"].update(*result)
        return result._asdict()

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
        """Make the optimiser and, if there is one, the schedule.

        :raises UsageError: If the schedule waits for the smallest of what is best where it is largest, or the reverse.
        """
        if self.optimizer is None:
            raise TypeError(f"this {type(self).__name__} cannot be trained: it was made without an optimizer")
        optimizer = self.optimizer(parameter for parameter in self.parameters() if parameter.requires_grad)
        if self.scheduler is None:
            return optimizer
        scheduler = self.scheduler(optimizer, self.steps if self.scheduler_interval == "step" else self.epochs)
        description: dict[str, object] = {"scheduler": scheduler, "interval": self.scheduler_interval}
        if isinstance(scheduler, ReduceLROnPlateau):
            if scheduler.mode != self.mode:
                raise UsageError(
                    f"the best {self.monitor} is its {self.mode}, and the schedule waits for its {scheduler.mode}:"
                    f" choose ReduceLROnPlateau(mode='{self.mode}')."
                )
            # It looks at validations, of which steps know nothing, and not every epoch has one.
            every = self.trainer.check_val_every_n_epoch or 1
            description |= {"interval": "epoch", "frequency": every, "monitor": self.monitor, "strict": False}
        return {"optimizer": optimizer, "lr_scheduler": description}

    def optimizer_step(self, *arguments: Any, **named: Any) -> None:
        """Take a step, and move the average of the weights after them."""
        super().optimizer_step(*arguments, **named)
        if self.average is not None and self.average_decay is not None:
            steps = self.trainer.global_step
            self._move(self.average, min(self.average_decay, (1 + steps) / (STEPS_OF_FULL_AVERAGE + steps)))

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

    @torch.no_grad()
    def _move(self, average: nn.ModuleDict, decay: float) -> None:
        """Move an average towards the weights; what a layer only remembers, such as statistics, is taken over."""
        for name, part in {"model": self.model, "head": self.head}.items():
            for mean, weight in zip(average[name].parameters(), part.parameters(), strict=True):
                mean.lerp_(weight, 1 - decay)
            for copy, buffer in zip(average[name].buffers(), part.buffers(), strict=True):
                copy.copy_(buffer)

    def _record(self, stage: Stage) -> None:
        metrics = self._metrics[stage]
        values = metrics.compute()
        values |= self.derive(values)
        self.results[stage] = values
        metrics.reset()
        scalars = {f"{stage}/{name}": float(value) for name, value in values.items() if value.numel() == 1}
        # Lightning's callbacks, such as early stopping, look here; the logger gets them below, with our own step.
        self.log_dict(scalars, logger=False, sync_dist=True)
        if self.logger is not None:
            self.logger.log_metrics(scalars, step=self.trainer.global_step)
