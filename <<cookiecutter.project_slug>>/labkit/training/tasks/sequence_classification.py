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
        tokens, *lengths = inputs
        model, head = self.parts
        return head(compute_mean(model(tokens), *lengths))

    def make_network(self) -> nn.Module:
        """Put together what maps tokens, all of which count, to logits."""
        model, head = self.parts
        return nn.Sequential(model, Mean(), head)

    def compute(self, batch: Any) -> Result:
        """Compute the loss.

        :param batch: Tokens ``(batch, length)``, or these and the lengths ``(batch,)`` without padding as
            :func:`labkit.data.sequence.pad_sequences` makes them; and class numbers ``(batch,)``.
        :return: Loss, logits and class numbers.
        """
        inputs, target = batch
        logits = self(inputs) if isinstance(inputs, Tensor) else self(*inputs)
        return Result(self.compute_loss(logits, target), logits, target)


class Mean(nn.Module):
    """The mean of a sequence's representations, as a layer."""

    def forward(self, representations: Tensor) -> Tensor:
        """Compute the mean ``(batch, features)`` of ``(batch, length, features)``."""
        return compute_mean(representations)


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
