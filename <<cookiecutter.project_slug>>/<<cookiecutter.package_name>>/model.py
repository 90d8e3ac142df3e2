"""The models: architectures that make representations of images, and nothing about what these are good for."""

from collections.abc import Callable, Sequence
from math import prod
from typing import TYPE_CHECKING, Final, Literal

if TYPE_CHECKING:
    from torch import nn

Architecture = Literal["mlp", "cnn"]
"""A new one is a function below and its name here; torch is imported there, so that `train --help` answers at once."""


def mlp(shape: Sequence[int], features: int) -> "nn.Module":
    """Make the hidden layer of a multi-layer perceptron.

    :param shape: The shape of an input.
    :param features: The length of a representation.
    :return: A module from ``(batch, *shape)`` to ``(batch, features)``.
    """
    from torch import nn

    return nn.Sequential(nn.Flatten(), nn.Linear(prod(shape), features), nn.ReLU())


def cnn(shape: Sequence[int], features: int, width: int = 32) -> "nn.Module":
    """Make a small convolutional network.

    :param shape: The shape of an input: channels, height, width; the latter two divisible by 4.
    :param features: The length of a representation.
    :param width: The channels of the first convolution.
    :return: A module from ``(batch, *shape)`` to ``(batch, features)``.
    """
    from torch import nn

    channels, height, length = shape
    return nn.Sequential(
        nn.Conv2d(channels, width, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(width, 2 * width, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Dropout(0.25),
        nn.Linear(2 * width * (height // 4) * (length // 4), features),
        nn.ReLU(),
    )


ARCHITECTURES: Final[dict[Architecture, Callable[[Sequence[int], int], "nn.Module"]]] = {"mlp": mlp, "cnn": cnn}
