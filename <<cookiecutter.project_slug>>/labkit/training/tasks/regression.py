"""Inputs to which numbers belong."""

from collections.abc import Callable, Mapping
from typing import Any

from torch import Tensor, nn
from torch.nn import functional
from torchmetrics import MeanAbsoluteError, MeanSquaredError, Metric

from labkit.training.task import Result, Task


class Regression(Task):
    """Each input has one number, or several."""

    def __init__(
        self,
        model: nn.Module,
        head: nn.Module | None = None,
        *,
        loss: Callable[[Tensor, Tensor], Tensor] = functional.mse_loss,
        metrics: Mapping[str, Metric] | None = None,
        **arguments: Any,
    ) -> None:
        """Put the parts together.

        :param model: Maps inputs ``(batch, ...)`` to representations.
        :param head: Maps these to numbers, as many as the target has; without one, the model does.
        :param loss: A function of prediction and target of one shape.
        :param metrics: By default the mean absolute error and the root of the mean squared one.
        :param arguments: Further ones of :class:`~labkit.training.task.Task`.
        """
        default = {"absolute_error": MeanAbsoluteError(), "root_mean_squared_error": MeanSquaredError(squared=False)}
        super().__init__(model, head, metrics=default if metrics is None else metrics, **arguments)
        self.loss = loss

    def compute(self, batch: Any) -> Result:
        """Compute the loss.

        :param batch: Inputs ``(batch, ...)`` and targets ``(batch,)`` or ``(batch, numbers)``.
        :return: Loss, prediction and target, both of the target's shape: ``(batch, 1)`` and ``(batch,)`` would be
            compared each with each.
        """
        inputs, target = batch
        prediction = self(inputs).reshape(target.shape)
        return Result(self.loss(prediction, target), prediction, target)
