"""Sequences that belong to one of several classes."""

from typing import Any

import torch
from torch import Tensor, nn

from labkit.training.task import Result
from labkit.training.tasks.classification import Classification


class SequenceClassification(Classification):
    """Each sequence belongs to one of several classes; of its tokens' representations the head gets the mean.

    So a model that has learned to foretell tokens can go on with this.
    """

    def forward(self, *inputs: Tensor) -> Tensor:
        """Apply the model, and the head to the mean of its representations.

        :param inputs: Tokens ``(batch, length)``, and how many of each sequence count ``(batch,)``; all by default.
        :return: Logits ``(batch, classes)``.
        """
        return self.make_network()(*inputs)

    def make_network(self) -> nn.Module:
        """Put together what maps tokens, and how many of them count, to logits."""
        return Pooled(*self.parts)

    def select_inputs(self, batch: Any) -> tuple[Tensor, ...]:
        """Take out of a batch the tokens, and their lengths where these are given."""
        inputs, _ = batch
        return (inputs,) if isinstance(inputs, Tensor) else tuple(inputs)

    def compute(self, batch: Any) -> Result:
        """Compute the loss.

        :param batch: Tokens ``(batch, length)``, or these and the lengths ``(batch,)`` without padding as
            :func:`labkit.data.sequence.pad_sequences` makes them; and class numbers ``(batch,)``.
        :return: Loss, logits and class numbers.
        """
        _, target = batch
        logits = self(*self.select_inputs(batch))
        return Result(self.loss(logits, target), logits, target)


class Pooled(nn.Module):
    """A model, the mean of its representations of each sequence, and a head."""

    def __init__(self, model: nn.Module, head: nn.Module) -> None:
        """Put them together.

        :param model: Maps tokens ``(batch, length)`` to representations ``(batch, length, features)``.
        :param head: Maps their means ``(batch, features)`` to logits.
        """
        super().__init__()
        self.model = model
        self.head = head

    def forward(self, tokens: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Compute logits of tokens, and of how many of each sequence count ``(batch,)``; all by default."""
        return self.head(compute_mean(self.model(tokens), lengths))


def compute_mean(representations: Tensor, lengths: Tensor | None = None) -> Tensor:
    """Compute the mean of each sequence's representations.

    :param representations: Those of tokens ``(batch, length, features)``.
    :param lengths: How many tokens of each sequence count ``(batch,)``; all by default.
    :return: The means ``(batch, features)``.
    """
    if lengths is None:
        return representations.mean(dim=1)
    counts = torch.arange(representations.shape[1], device=lengths.device) < lengths[:, None]
    return (representations * counts[..., None]).sum(dim=1) / lengths[:, None].clamp(min=1)
