"""The models: architectures that make representations of points, and nothing about what these are good for."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Final, Literal

if TYPE_CHECKING:
    from torch import nn

Architecture = Literal["linear", "mlp"]
"""A new one is a function below and its name here; torch is imported there, so that `train --help` answers at once."""


def linear(features: int) -> "nn.Module":
    """Make a layer that cannot bend a boundary, to compare with.

    :param features: The length of a representation.
    :return: A module from ``(batch, 2)`` to ``(batch, features)``.
    """
    from torch import nn

    return nn.Linear(2, features)


def mlp(features: int) -> "nn.Module":
    """Make the two hidden layers of a multi-layer perceptron.

    :param features: The length of a representation.
    :return: A module from ``(batch, 2)`` to ``(batch, features)``.
    """
    from torch import nn

    return nn.Sequential(nn.Linear(2, features), nn.ReLU(), nn.Linear(features, features), nn.ReLU())


ARCHITECTURES: Final[dict[Architecture, Callable[[int], "nn.Module"]]] = {"linear": linear, "mlp": mlp}
