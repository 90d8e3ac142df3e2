"""Inputs that are made again from representations of them."""

from collections.abc import Callable, Mapping
from typing import Any

from torch import Tensor, nn
from torch.nn import functional
from torchmetrics import MeanAbsoluteError, Metric

from labkit.training.task import Result, Task


class Autoencoding(Task):
    """The model is the encoder, the head the decoder; no targets are needed."""

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
        :param head: Maps these to as many numbers as the inputs have.
        :param loss: A function of reconstructions and inputs.
        :param metrics: By default the mean absolute error.
        :param arguments: Further ones of :class:`~labkit.training.task.Task`.
        """
        default = {"absolute_error": MeanAbsoluteError()}
        super().__init__(model, head, metrics=default if metrics is None else metrics, **arguments)
        self.loss = loss

    def compute(self, batch: Any) -> Result:
        """Compute the loss.

        :param batch: Inputs ``(batch, ...)``, alone or followed by what is not looked at.
        :return: Loss, reconstructions and inputs.
        """
        (inputs,) = self.select_inputs(batch)
        reconstruction = self(inputs).reshape(inputs.shape)
        return Result(self.loss(reconstruction, inputs), reconstruction, inputs)
