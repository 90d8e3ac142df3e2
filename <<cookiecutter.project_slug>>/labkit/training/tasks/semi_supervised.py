"""Inputs of which some have a class and most have none."""

from collections.abc import Mapping
from functools import partial
from typing import Any, Final

import torch
from torch import Tensor, nn
from torch.nn import functional
from torchmetrics import Metric
from torchmetrics.classification import MulticlassAccuracy, MulticlassConfusionMatrix

from labkit.training.task import Result
from labkit.training.tasks.classification import Classification

UNLABELLED: Final = -1
"""The class number of an input whose class is not known."""


class SemiSupervised(Classification):
    """Each input belongs to one of several classes, but of many it is not known to which.

    Where the model is sure of the class of an unlabelled input, it learns that class from another, stronger view of it:
    FixMatch (Sohn et al., "FixMatch: Simplifying Semi-Supervised Learning with Consistency and Confidence", 2020). With
    one view this is learning from pseudo-labels (Lee, 2013).
    """

    def __init__(
        self,
        model: nn.Module,
        head: nn.Module | None = None,
        *,
        classes: int,
        confidence: float = 0.95,
        weight: float = 1.0,
        label_smoothing: float = 0.0,
        metrics: Mapping[str, Metric] | None = None,
        **arguments: Any,
    ) -> None:
        """Put the parts together.

        :param model: Maps inputs ``(batch, ...)`` to representations.
        :param head: Maps these to logits ``(batch, classes)``; without one, the model does.
        :param classes: How many classes there are.
        :param confidence: The probability from which the model is sure, 0 to 1.
        :param weight: How much the unlabelled inputs count beside the labelled ones.
        :param label_smoothing: The share of each known class that goes to all classes alike, 0 to 1.
        :param metrics: By default those of a classification, of the inputs whose class is known.
        :param arguments: Further ones of :class:`~labkit.training.task.Task`.
        """
        default = {
            "accuracy": MulticlassAccuracy(classes, average="micro", ignore_index=UNLABELLED),
            "confusion": MulticlassConfusionMatrix(classes, ignore_index=UNLABELLED),
        }
        loss = partial(
            functional.cross_entropy, ignore_index=UNLABELLED, label_smoothing=label_smoothing, reduction="none"
        )
        metrics = default if metrics is None else metrics
        super().__init__(model, head, classes=classes, loss=loss, metrics=metrics, **arguments)
        self.confidence = confidence
        self.weight = weight

    def compute(self, batch: Any) -> Result:
        """Compute the loss of the labelled and of the unlabelled inputs.

        :param batch: Inputs ``(batch, ...)``, or a weak and a strong view of them as
            :class:`labkit.data.transform.Views` makes them, and class numbers ``(batch,)``, -1 where unknown.
        :return: Loss, logits of the weak view, and class numbers.
        """
        inputs, target = batch
        views = [inputs] if isinstance(inputs, Tensor) else list(inputs)
        logits = self(torch.cat(views)).chunk(len(views))
        labelled = target != UNLABELLED
        loss = self.loss(logits[0], target).sum() / labelled.sum().clamp(min=1)
        probability, guess = logits[0].detach().softmax(dim=1).max(dim=1)
        sure = (probability >= self.confidence) & ~labelled
        guesses = functional.cross_entropy(logits[-1], guess, reduction="none").where(sure, 0)
        loss = loss + self.weight * guesses.sum() / (~labelled).sum().clamp(min=1)
        return Result(loss, logits[0], target)
