"""Several models that answer together."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn


def average_probabilities(logits: Tensor) -> Tensor:
    """Average the probabilities of members.

    :param logits: ``(members, batch, classes, ...)``.
    :return: Logarithms of the mean probabilities, which are logits again, ``(batch, classes, ...)``.
    """
    return logits.log_softmax(dim=2).logsumexp(dim=0) - torch.log(torch.tensor(float(len(logits))))


class Ensemble(nn.Module):
    """Models that answer together, as one model."""

    def __init__(
        self, members: Sequence[nn.Module], combine: Callable[[Tensor], Tensor] = average_probabilities
    ) -> None:
        """Put models together.

        :param members: Models of the same task.
        :param combine: From the members' outputs ``(members, batch, ...)`` to that of the ensemble.
        """
        super().__init__()
        self.members = nn.ModuleList(members)
        self.combine = combine

    def forward(self, *inputs: Tensor) -> Tensor:
        """Ask all members, and combine what they say."""
        return self.combine(torch.stack([member(*inputs) for member in self.members]))
