"""What a task makes of data, as arrays for pictures and tables."""

from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from numpy.typing import NDArray
from torch import Tensor

if TYPE_CHECKING:
    from labkit.data.loading import Loader
    from labkit.training.task import Task


class Predictions(NamedTuple):
    """What a task made of samples, in their order."""

    inputs: NDArray[Any]
    predictions: NDArray[Any]
    targets: NDArray[Any]


def predict(task: "Task", loader: "Loader") -> Predictions:
    """Apply a task to batches, as it is used when it is judged.

    :param task: The task with its weights.
    :param loader: Batches whose first part are the inputs, a tensor.
    :return: Inputs, and the predictions and targets of the task's results.
    """
    task.eval()
    parts: list[tuple[Tensor, Tensor, Tensor]] = []
    with torch.no_grad():
        for inputs, *others in loader:
            result = task.compute([inputs.to(task.device), *(other.to(task.device) for other in others)])
            parts.append((inputs, result.prediction.cpu(), result.target.cpu()))
    return Predictions(*(torch.cat(part).numpy() for part in zip(*parts, strict=True)))
