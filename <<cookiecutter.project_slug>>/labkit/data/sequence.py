"""Sequences of different lengths, in one batch."""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence


def pad_sequences(samples: Sequence[tuple[Tensor, int]], padding: int = 0) -> tuple[tuple[Tensor, Tensor], Tensor]:
    """Make a batch of sequences, for a loader's ``collate``.

    :param samples: Tokens ``(length,)`` and class numbers.
    :param padding: The token that fills the shorter ones up at their ends.
    :return: Tokens ``(batch, longest)`` with their lengths ``(batch,)``, and class numbers ``(batch,)``.
    """
    tokens, target = zip(*samples, strict=True)
    lengths = torch.tensor([len(each) for each in tokens])
    return (pad_sequence(list(tokens), batch_first=True, padding_value=padding), lengths), torch.tensor(target)
