"""The models: encoders that make short representations of images, and the decoder that makes images of these again."""

from collections.abc import Callable, Sequence
from math import prod
from typing import TYPE_CHECKING, Final, Literal

if TYPE_CHECKING:
    from torch import nn

Architecture = Literal["mlp", "cnn"]
"""A new one is a function below and its name here; torch is imported there, so that `train --help` answers at once."""


def mlp(shape: Sequence[int], features: int, width: int = 256) -> "nn.Module":
    """Make an encoder of fully connected layers.

    :param shape: The shape of an input.
    :param features: The length of a representation.
    :param width: The length of what is between.
    :return: A module from ``(batch, *shape)`` to ``(batch, features)``.
    """
    from torch import nn

    return nn.Sequential(nn.Flatten(), nn.Linear(prod(shape), width), nn.GELU(), nn.Linear(width, features))


def cnn(shape: Sequence[int], features: int, width: int = 32) -> "nn.Module":
    """Make an encoder of convolutions.

    :param shape: The shape of an input: channels, height, width; the latter two divisible by 4.
    :param features: The length of a representation.
    :param width: The channels of the first convolution.
    :return: A module from ``(batch, *shape)`` to ``(batch, features)``.
    """
    from torch import nn

    channels, height, length = shape
    return nn.Sequential(
        nn.Conv2d(channels, width, 3, padding=1),
        nn.GELU(),
        nn.Conv2d(width, 2 * width, 3, stride=2, padding=1),
        nn.GELU(),
        nn.Conv2d(2 * width, 2 * width, 3, stride=2, padding=1),
        nn.GELU(),
        nn.Flatten(),
        nn.Linear(2 * width * (height // 4) * (length // 4), features),
    )


def decoder(shape: Sequence[int], features: int, width: int = 256) -> "nn.Module":
    """Make a decoder, the same for all encoders.

    :param shape: The shape of an image.
    :param features: The length of a representation.
    :param width: The length of what is between.
    :return: A module from ``(batch, features)`` to ``(batch, prod(shape))``, values 0 to 1.
    """
    from torch import nn

    return nn.Sequential(
        nn.Linear(features, width),
        nn.GELU(),
        nn.Linear(width, width),
        nn.GELU(),
        nn.Linear(width, prod(shape)),
        nn.Sigmoid(),
    )


ARCHITECTURES: Final[dict[Architecture, Callable[[Sequence[int], int], "nn.Module"]]] = {"mlp": mlp, "cnn": cnn}
