"""The models: architectures that make a representation of each word of a text, and nothing about what these are for."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Final, Literal

if TYPE_CHECKING:
    from torch import nn

Architecture = Literal["mlp", "cnn"]
"""A new one is a function below and its name here; torch is imported there, so that `train --help` answers at once."""


def mlp(vocabulary: int, features: int) -> "nn.Module":
    """Make a network that looks at each word by itself: of a text, only which words it holds counts.

    :param vocabulary: How many different words there are; number 0 is padding, whose representation is 0.
    :param features: The length of a representation.
    :return: A module from ``(batch, length)`` to ``(batch, length, features)``.
    """
    from torch import nn

    return nn.Sequential(
        nn.Embedding(vocabulary, features, padding_idx=0),
        nn.Dropout(0.5),
        nn.Linear(features, features, bias=False),
        nn.ReLU(),
    )


def cnn(vocabulary: int, features: int) -> "nn.Module":
    """Make a network that looks at each word with its two neighbours.

    :param vocabulary: How many different words there are; number 0 is padding.
    :param features: The length of a representation.
    :return: A module from ``(batch, length)`` to ``(batch, length, features)``.
    """
    from torch import nn

    from .layer import Convolution

    return nn.Sequential(
        nn.Embedding(vocabulary, features, padding_idx=0), nn.Dropout(0.5), Convolution(features), nn.ReLU()
    )


ARCHITECTURES: Final[dict[Architecture, Callable[[int, int], "nn.Module"]]] = {"mlp": mlp, "cnn": cnn}
