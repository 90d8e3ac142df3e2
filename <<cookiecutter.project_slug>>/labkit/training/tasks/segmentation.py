"""Images of which each pixel belongs to a class."""

from collections.abc import Callable, Mapping
from typing import Any

from torch import Tensor, nn
from torch.nn import functional
from torchmetrics import Metric
from torchmetrics.classification import MulticlassAccuracy, MulticlassConfusionMatrix, MulticlassJaccardIndex

from labkit.training.averaging import average_probabilities
from labkit.training.task import Result, Task


class Segmentation(Task):
    """Each pixel belongs to one of several classes."""

    def __init__(
        self,
        model: nn.Module,
        head: nn.Module | None = None,
        *,
        classes: int,
        ignored: int = -100,
        loss: Callable[[Tensor, Tensor], Tensor] | None = None,
        metrics: Mapping[str, Metric] | None = None,
        **arguments: Any,
    ) -> None:
        """Put the parts together.

        :param model: Maps images ``(batch, channels, height, width)`` to representations of their pixels.
        :param head: Maps these to logits ``(batch, classes, height, width)``; without one, the model does.
        :param classes: How many classes there are.
        :param ignored: The number that stands in a target for pixels that do not count.
        :param loss: A function of logits and class numbers; by default the cross entropy.
        :param metrics: By default intersection over union, mean of the classes, and the pixels' accuracy and confusion
            matrix.
        :param arguments: Further ones of :class:`~labkit.training.task.Task`.
        """
        # Not validated: predictions are right by their making, targets by the loss, and to sort pixels takes long.
        pixels: dict[str, Any] = {"ignore_index": ignored, "validate_args": False}
        default = {
            "iou": MulticlassJaccardIndex(classes, **pixels),
            "accuracy": MulticlassAccuracy(classes, average="micro", **pixels),
            "confusion": MulticlassConfusionMatrix(classes, **pixels),
        }
        super().__init__(model, head, metrics=default if metrics is None else metrics, **arguments)
        self.ignored = ignored
        self.loss = loss

    def compute(self, batch: Any) -> Result:
        """Compute the loss.

        :param batch: Images and class numbers ``(batch, height, width)``.
        :return: Loss, predicted class numbers and true ones.
        """
        images, target = batch
        logits = self(images)
        size = (target != self.ignored).sum()
        if self.loss is None:
            losses = functional.cross_entropy(logits, target, ignore_index=self.ignored, reduction="sum")
            loss = losses / size.clamp(min=1)
        else:
            loss = self.loss(logits, target)
        return Result(loss, logits.argmax(dim=1), target, size)

    def combine(self, outputs: Tensor) -> Tensor:
        """Average the models' probabilities of each pixel's class, logits ``(models, batch, classes, ...)``."""
        return average_probabilities(outputs, dim=2)
