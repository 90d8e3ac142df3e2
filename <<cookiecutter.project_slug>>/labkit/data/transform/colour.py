"""Transforms of pixels' values, which leave masks and boxes as they are."""

import math
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from labkit.command import UsageError
from labkit.data.transform.compose import Kind, Transform
from labkit.data.transform.geometry import Size

LUMA = (0.299, 0.587, 0.114)
"""The weights of red, green and blue in brightness (ITU-R BT.601)."""
COLOURS = 3


class Jitter(NamedTuple):
    """How colours change."""

    brightness: float
    contrast: float
    saturation: float
    hue: float
    order: tuple[int, ...]


@dataclass(frozen=True)
class ColourJitter(Transform[Jitter]):
    """Change brightness, contrast, saturation and hue, in random order."""

    brightness: float = 0.0
    """The factor is drawn from 1 - this to 1 + this."""
    contrast: float = 0.0
    """Likewise."""
    saturation: float = 0.0
    """Likewise."""
    hue: float = 0.0
    """The largest turn in either direction, as a share of the circle of colours: at most 0.5."""

    def draw(self, _size: Size, generator: torch.Generator, /) -> Jitter:
        """Draw the factors, the turn and the order; see :meth:`Transform.draw`."""
        chance = (torch.rand(4, dtype=torch.float64, generator=generator) * 2 - 1).tolist()
        spreads = (self.brightness, self.contrast, self.saturation)
        factors = [max(1 + spread * each, 0) for spread, each in zip(spreads, chance, strict=False)]
        order = torch.randperm(4, generator=generator).tolist()
        return Jitter(factors[0], factors[1], factors[2], self.hue * chance[3], tuple(order))

    def apply(self, leaf: Tensor, kind: Kind, _size: Size, draw: Jitter, /) -> Tensor:
        """Change the colours; see :meth:`Transform.apply`."""
        if kind is not Kind.IMAGE:
            return leaf
        if leaf.shape[0] != COLOURS and (self.saturation or self.hue):
            raise UsageError(f"ColourJitter changes saturation and hue of images with 3 channels, not {leaf.shape[0]}.")
        image = leaf.float() / _largest(leaf)
        steps = (
            lambda image: image * draw.brightness,
            lambda image: _blend(image, _to_grey(image).mean(), draw.contrast),
            lambda image: _blend(image, _to_grey(image), draw.saturation),
            lambda image: _turn_hue(image, draw.hue) if self.hue else image,
        )
        for number in draw.order:
            image = steps[number](image).clamp(0, 1)
        image = image * _largest(leaf)
        return image.to(leaf.dtype) if leaf.is_floating_point() else image.round().to(leaf.dtype)


@dataclass(frozen=True)
class GaussianBlur(Transform[float]):
    """Blur the image with a bell curve of random width."""

    sigma: tuple[float, float] = (0.1, 2.0)
    """The smallest and largest standard deviation, in pixels."""

    def draw(self, _size: Size, generator: torch.Generator, /) -> float:
        """Draw the standard deviation; see :meth:`Transform.draw`."""
        low, high = self.sigma
        return low + (high - low) * float(torch.rand((), dtype=torch.float64, generator=generator))

    def apply(self, leaf: Tensor, kind: Kind, size: Size, draw: float, /) -> Tensor:
        """Blur; see :meth:`Transform.apply`."""
        if kind is not Kind.IMAGE:
            return leaf
        radius = min(math.ceil(3 * draw), size[0] - 1, size[1] - 1)
        offsets = torch.arange(-radius, radius + 1, dtype=torch.float32)
        weights = torch.exp(-(offsets**2) / (2 * draw**2))
        weights /= weights.sum()
        planes = functional.pad(leaf[:, None].float(), (radius,) * 4, mode="reflect")
        across = functional.conv2d(planes, weights.reshape(1, 1, 1, -1))
        blurred = functional.conv2d(across, weights.reshape(1, 1, -1, 1))[:, 0]
        return blurred.to(leaf.dtype) if leaf.is_floating_point() else blurred.round().clamp(0, 255).to(leaf.dtype)


@dataclass(frozen=True)
class ToDtype(Transform[None]):
    """Convert the image's values: whole numbers to floating point from 0 to 1, and back."""

    dtype: torch.dtype = torch.float32

    def draw(self, _size: Size, _generator: torch.Generator, /) -> None:
        """Draw nothing."""

    def apply(self, leaf: Tensor, kind: Kind, _size: Size, _draw: None, /) -> Tensor:
        """Convert; see :meth:`Transform.apply`."""
        if kind is not Kind.IMAGE or leaf.dtype == self.dtype:
            return leaf
        if not self.dtype.is_floating_point:
            limit = torch.iinfo(self.dtype).max
            return (leaf / _largest(leaf) * limit).round().clamp(0, limit).to(self.dtype)
        return leaf.to(self.dtype) / _largest(leaf)


@dataclass(frozen=True)
class Normalise(Transform[None]):
    """Subtract each channel's mean and divide by its standard deviation."""

    mean: tuple[float, ...]
    standard_deviation: tuple[float, ...]

    def draw(self, _size: Size, _generator: torch.Generator, /) -> None:
        """Draw nothing."""

    def apply(self, leaf: Tensor, kind: Kind, _size: Size, _draw: None, /) -> Tensor:
        """Normalise; see :meth:`Transform.apply`. A whole-numbered image is normalised in its own units."""
        if kind is not Kind.IMAGE:
            return leaf
        if leaf.shape[0] != len(self.mean):
            raise UsageError(f"Normalise knows {len(self.mean)} channels, and the image has {leaf.shape[0]}.")
        image = leaf if leaf.is_floating_point() else leaf.float()
        mean, deviation = (
            torch.tensor(values, dtype=image.dtype)[:, None, None] for values in (self.mean, self.standard_deviation)
        )
        return (image - mean) / deviation


def _largest(leaf: Tensor) -> float:
    return 1.0 if leaf.is_floating_point() else torch.iinfo(leaf.dtype).max


def _to_grey(image: Tensor) -> Tensor:
    if image.shape[0] != COLOURS:
        return image
    return (image * torch.tensor(LUMA)[:, None, None]).sum(0, keepdim=True)


def _blend(image: Tensor, other: Tensor, share: float) -> Tensor:
    return other + (image - other) * share


def _turn_hue(image: Tensor, turn: float) -> Tensor:
    """Turn the hue of an image with values from 0 to 1, through the HSV colour space."""
    value, _ = image.max(0)
    spread = value - image.min(0).values
    safe = torch.where(spread > 0, spread, 1)
    red, green, blue = image
    sector = torch.where(
        value == red,
        ((green - blue) / safe) % 6,
        torch.where(value == green, (blue - red) / safe + 2, (red - green) / safe + 4),
    )
    turned = (sector + 6 * turn) % 6
    channels = [
        value - spread * (torch.minimum((turned + start) % 6, 4 - (turned + start) % 6)).clamp(0, 1)
        for start in (5, 3, 1)
    ]
    return torch.stack(channels)
