"""The models: architectures that make representations of clips, and nothing about what these are good for."""

from collections.abc import Callable, Sequence
from functools import partial
from math import prod
from typing import TYPE_CHECKING, Final, Literal

if TYPE_CHECKING:
    from torch import nn

Architecture = Literal["mlp", "cnn"]
"""A new one is a function below and its name here; torch is imported there, so that `train --help` answers at once."""


def mlp(shape: Sequence[int], features: int) -> "nn.Module":
    """Make a perceptron that looks at each frame by itself, and takes the mean: it cannot see what moves how.

    :param shape: The shape of a clip: one channel, frames, height, width.
    :param features: The length of a representation.
    :return: A module from ``(batch, *shape)`` to ``(batch, features)``.
    """
    from torch import nn

    return nn.Sequential(
        nn.Flatten(1, 2),
        nn.Flatten(2),
        nn.Linear(prod(shape[2:]), features),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d((1, features)),
        nn.Flatten(),
    )


def cnn(shape: Sequence[int], features: int, width: int = 16) -> "nn.Module":
    """Make a small network of convolutions over time and space, which has no edges.

    :param shape: The shape of a clip: channels, frames, of which it takes four or more, height, width.
    :param features: The length of a representation.
    :param width: The channels of the first convolution.
    :return: A module from ``(batch, *shape)`` to ``(batch, features)``.
    """
    from torch import nn

    convolution = partial(nn.Conv3d, kernel_size=(2, 3, 3), padding=(0, 1, 1), padding_mode="circular")
    return nn.Sequential(
        convolution(shape[0], width),
        nn.ReLU(),
        nn.MaxPool3d((1, 2, 2)),
        convolution(width, 2 * width),
        nn.ReLU(),
        convolution(2 * width, 2 * width),
        nn.ReLU(),
        nn.AdaptiveMaxPool3d(1),
        nn.Flatten(),
        nn.Linear(2 * width, features),
        nn.ReLU(),
    )


ARCHITECTURES: Final[dict[Architecture, Callable[[Sequence[int], int], "nn.Module"]]] = {"mlp": mlp, "cnn": cnn}
