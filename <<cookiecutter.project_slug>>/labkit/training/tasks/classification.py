"""Inputs that belong to one of several classes, or to any number of them."""

from collections.abc import Callable, Mapping
from typing import Any

from torch import Tensor, nn
from torch.nn import functional
from torchmetrics import Metric
from torchmetrics.classification import (
    MulticlassAccuracy,
    MulticlassConfusionMatrix,
    MultilabelExactMatch,
    MultilabelF1Score,
)

from labkit.training.averaging import average_label_probabilities, average_probabilities
from labkit.training.task import Result, Task


class Classification(Task):
    """Each input belongs to one of several classes."""

    def __init__(
        self,
        model: nn.Module,
        head: nn.Module | None = None,
        *,
        classes: int,
        loss: Callable[[Tensor, Tensor], Tensor] = functional.cross_entropy,
        metrics: Mapping[str, Metric] | None = None,
        **arguments: Any,
    ) -> None:
        """Put the parts together.

        :param model: Maps inputs ``(batch, ...)`` to representations.
        :param head: Maps these to logits ``(batch, classes)``; without one, the model does.
        :param classes: How many classes there are.
        :param loss: A function of logits and class numbers, such as
            ``choose_loss("CrossEntropyLoss(label_smoothing=0.1)")``.
        :param metrics: Accuracy and confusion matrix by default.
        :param arguments: Further ones of :class:`~labkit.training.task.Task`.
        """
        default = {
            "accuracy": MulticlassAccuracy(classes, average="micro"),
            "confusion": MulticlassConfusionMatrix(classes),
        }
        super().__init__(model, head, metrics=default if metrics is None else metrics, **arguments)
        self.loss = loss

    def compute(self, batch: Any) -> Result:
        """Compute the loss.

        :param batch: Inputs ``(batch, ...)`` and class numbers ``(batch,)``.
        :return: Loss, logits and class numbers.
        """
        inputs, target = batch
        logits = self(inputs)
        return Result(self.loss(logits, target), logits, target)

    def combine(self, outputs: Tensor) -> Tensor:
        """Average the models' probabilities of classes, given as logits ``(models, batch, classes)``."""
        return average_probabilities(outputs, dim=2)


class MultiLabelClassification(Task):
    """Each input belongs to any number of several classes, or to none."""

    def __init__(
        self,
        model: nn.Module,
        head: nn.Module | None = None,
        *,
        classes: int,
        loss: Callable[[Tensor, Tensor], Tensor] = functional.binary_cross_entropy_with_logits,
        metrics: Mapping[str, Metric] | None = None,
        **arguments: Any,
    ) -> None:
        """Put the parts together.

        :param model: Maps inputs ``(batch, ...)`` to representations.
        :param head: Maps these to logits ``(batch, classes)``; without one, the model does.
        :param classes: How many classes there are.
        :param loss: A function of logits and targets, both of floating point.
        :param metrics: By default the F1 score, mean of the classes, and the share of inputs with all labels right.
        :param arguments: Further ones of :class:`~labkit.training.task.Task`.
        """
        default = {"f1": MultilabelF1Score(classes), "exact_match": MultilabelExactMatch(classes)}
        super().__init__(model, head, metrics=default if metrics is None else metrics, **arguments)
        self.loss = loss

    def compute(self, batch: Any) -> Result:
        """Compute the loss.

        :param batch: Inputs ``(batch, ...)`` and labels ``(batch, classes)``, 1 where a class is there and else 0.
        :return: Loss, logits and labels.
        """
        inputs, target = batch
        logits = self(inputs)
        return Result(self.loss(logits, target.to(logits.dtype)), logits, target.long())

    def combine(self, outputs: Tensor) -> Tensor:
        """Average the models' probabilities of labels, given as logits ``(models, batch, classes)``."""
        return average_label_probabilities(outputs)
