"""Metrics over a whole epoch: exact, one set a stage, and resumable in the middle of it."""

import math
from collections.abc import Mapping, Sequence
from typing import Any, Final

import torch
from torch import Tensor
from torchmetrics import Metric

from labkit.training.distribution import gather

LIMIT_OF_BATCHES: Final = 32
LIMIT_OF_ELEMENTS: Final = 2**18
HALF_PRECISION: Final = {torch.float16, torch.bfloat16}
"""In which a step may be computed, but no mean of an epoch."""


class EpochMetrics:
    """The mean loss and any metrics of torchmetrics over one epoch of one stage.

    A metric's update costs much more than the numbers it adds, so predictions are gathered and passed on many batches
    at a time. When that happens depends on the data alone: an interruption changes nothing, not even the order in which
    numbers are added.
    """

    def __init__(self, metrics: Mapping[str, Metric]) -> None:
        """Begin an epoch.

        :param metrics: Metrics by name; each stage needs copies of its own.
        :raises ValueError: If one has the name of the loss.
        """
        if "loss" in metrics:
            raise ValueError("a metric cannot be named 'loss': so is the mean loss, which is always there")
        self.metrics = dict(metrics)
        self._loss_sum = 0.0
        self._count = 0
        self._pending: list[tuple[Tensor, int | Tensor, Tensor, Tensor]] = []

    def update(self, loss: Tensor, prediction: Tensor, target: Tensor, size: int | Tensor | None = None) -> None:
        """Take in one batch.

        :param loss: The mean loss of what counts in it, a scalar.
        :param prediction: What the metrics compare, its first dimension the samples.
        :param target: What they compare it with.
        :param size: Of how much the loss is the mean; by default the length of the target.
        """
        size = len(target) if size is None else size
        self._pending.append((loss.detach(), size, prediction.detach(), target))
        elements = sum(entry[2].numel() for entry in self._pending)
        if len(self._pending) >= LIMIT_OF_BATCHES or elements >= LIMIT_OF_ELEMENTS:
            self._pass_on()

    def compute(self) -> dict[str, Tensor]:
        """Return the loss and the metrics of all that was taken in, over all processes.

        :return: Tensors by name, on the CPU; scalars, but for metrics such as a confusion matrix.
        """
        self._pass_on()
        sums, counts = zip(*gather((self._loss_sum, self._count)), strict=True)
        loss = sum(sums) / sum(counts) if any(counts) else math.nan
        return {
            "loss": torch.tensor(loss, dtype=torch.float64),
            **{name: metric.compute().cpu() for name, metric in self.metrics.items()},
        }

    def reset(self) -> None:
        """Begin another epoch."""
        self._loss_sum, self._count = 0.0, 0
        self._pending.clear()
        for metric in self.metrics.values():
            metric.reset()

    def state_dict(self) -> dict[str, Any]:
        """Return all from which another process can go on in the middle of the epoch."""
        return {
            "loss_sum": self._loss_sum,
            "count": self._count,
            "pending": [list(entry) for entry in self._pending],
            "metrics": {
                name: {"count": metric._update_count, "states": metric.metric_state}  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]
                for name, metric in self.metrics.items()
            },
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from a state.

        :param state: What :meth:`state_dict` returned.
        """
        self._loss_sum, self._count = state["loss_sum"], state["count"]
        self._pending = [(loss, size, prediction, target) for loss, size, prediction, target in state["pending"]]
        for name, metric in self.metrics.items():
            metric.reset()
            for attribute, value in state["metrics"][name]["states"].items():
                setattr(metric, attribute, value)
            metric._update_count = state["metrics"][name]["count"]  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]

    def _pass_on(self) -> None:
        if not self._pending:
            return
        losses = torch.stack(_on_one_device([loss for loss, *_ in self._pending])).tolist()
        for loss, (_, size, *_) in zip(losses, self._pending, strict=True):
            self._loss_sum += loss * int(size)
            self._count += int(size)
        prediction = torch.cat(_on_one_device([entry[2] for entry in self._pending]))
        if prediction.dtype in HALF_PRECISION:
            prediction = prediction.float()
        target = torch.cat(_on_one_device([entry[3] for entry in self._pending]))
        self._pending.clear()
        for metric in self.metrics.values():
            metric.to(prediction.device).update(prediction, target)


def _on_one_device(tensors: Sequence[Tensor]) -> list[Tensor]:
    """Bring tensors to the device of the newest: those that came from a checkpoint are on the CPU."""
    return [tensor.to(tensors[-1].device) for tensor in tensors]
