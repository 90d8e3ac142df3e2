"""The models: architectures that make representations of all pixels of an image."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Final, Literal

if TYPE_CHECKING:
    from torch import nn

Architecture = Literal["mlp", "unet"]
"""A new one is a function below and its name here; torch is imported there, so that `train --help` answers at once."""


def mlp(shape: Sequence[int], features: int, neighbourhood: int = 9) -> "nn.Module":
    """Make a multi-layer perceptron that looks at each pixel's neighbourhood, and at nothing else.

    :param shape: The shape of an input: channels, height, width.
    :param features: The length of a pixel's representation.
    :param neighbourhood: Its height and width in pixels, an odd number.
    :return: A module from ``(batch, *shape)`` to ``(batch, features, height, width)``.
    """
    from torch import nn

    return nn.Sequential(
        nn.Conv2d(shape[0], features, neighbourhood, padding=neighbourhood // 2),
        nn.ReLU(),
        nn.Conv2d(features, features, 1),
        nn.ReLU(),
    )


def unet(shape: Sequence[int], features: int) -> "nn.Module":
    """Make a small U-Net, which looks at each pixel's neighbourhood at several resolutions.

    :param shape: The shape of an input: channels, height, width; the latter two divisible by 4.
    :param features: The length of a pixel's representation.
    :return: A module from ``(batch, *shape)`` to ``(batch, features, height, width)``.
    """
    from .unet import UNet

    return UNet(shape[0], features)


ARCHITECTURES: Final[dict[Architecture, Callable[[Sequence[int], int], "nn.Module"]]] = {"mlp": mlp, "unet": unet}
