"""Several models that answer together."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from labkit.training.task import Task


class Ensemble(nn.Module):
    """Models that answer together, as one model."""

    def __init__(self, members: Sequence[Task]) -> None:
        """Put models together.

        :param members: Tasks of one kind, each with a model that has learned.
        """
        super().__init__()
        self.members = nn.ModuleList(members)
        self.combine = members[0].combine

    def forward(self, *inputs: Tensor) -> Tensor:
        """Ask all members, and combine what they say as their task does."""
        return self.combine(torch.stack([member(*inputs) for member in self.members]))


def let_answer(task: Task, ensemble: Ensemble) -> None:
    """Let an ensemble answer for a task, which keeps its loss and its metrics.

    :param task: The task, which is changed: from its inputs to its outputs there is nothing but the ensemble.
    :param ensemble: Made of tasks of its kind.
    """
    task.model, task.head, task.average = ensemble, nn.Identity(), None
    task.forward = ensemble.forward
