"""Tasks: each says how a batch is unpacked and what the loss is."""

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional
from torchmetrics.classification import MulticlassAccuracy, MulticlassConfusionMatrix

from labkit.training.task import Result, Task


class Classification(Task):
    """Each input belongs to one of several classes."""

    def __init__(self, model: torch.nn.Module, *, classes: int, label_smoothing: float = 0.0, **arguments: Any) -> None:
        """Put the parts together.

        :param model: Maps inputs ``(batch, ...)`` to logits ``(batch, classes)``.
        :param classes: How many classes there are.
        :param label_smoothing: The share of each target that goes to all classes alike, 0 to 1.
        :param arguments: Those of :class:`~labkit.training.task.Task` but for the metrics.
        """
        metrics = {
            "accuracy": MulticlassAccuracy(classes, average="micro"),
            "confusion": MulticlassConfusionMatrix(classes),
        }
        super().__init__(model, metrics=metrics, **arguments)
        self.label_smoothing = label_smoothing

    def compute(self, batch: tuple[Tensor, Tensor]) -> Result:
        """Compute the cross entropy.

        :param batch: Inputs ``(batch, ...)`` and class numbers ``(batch,)``.
        :return: Loss, logits and class numbers.
        """
        inputs, target = batch
        logits = self.model(inputs)
        return Result(functional.cross_entropy(logits, target, label_smoothing=self.label_smoothing), logits, target)
