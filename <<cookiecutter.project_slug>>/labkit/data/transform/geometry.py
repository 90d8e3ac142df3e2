"""Transforms that move pixels, and masks and boxes with them."""

import math
from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor
from torch.nn import functional

from labkit.command import UsageError
from labkit.data.transform.compose import Kind, Transform

ATTEMPTS: Final = 10

Size = tuple[int, int]
Region = tuple[int, int, int, int]
"""Top, left, height and width in pixels; it may reach beyond the image."""


@dataclass(frozen=True)
class RandomCrop(Transform[Region]):
    """Cut a region of one size out of the image, anywhere."""

    size: Size
    """Height and width."""
    padding: int = 0
    """How many pixels of zeros to put around the image first."""

    def draw(self, size: Size, generator: torch.Generator, /) -> Region:
        """Draw where; see :meth:`Transform.draw`."""
        starts: list[int] = []
        for length, wanted in zip(size, self.size, strict=True):
            room = length + 2 * self.padding - wanted
            if room < 0:
                raise UsageError(
                    f"A region of {self.size[0]}x{self.size[1]} cannot be cut out of an image of {size[0]}x{size[1]} "
                    f"with padding {self.padding}: choose a smaller region or a wider padding."
                )
            starts.append(_draw_integer(room + 1, generator) - self.padding)
        return (starts[0], starts[1], *self.size)

    def apply(self, leaf: Tensor, kind: Kind, size: Size, draw: Region, /) -> Tensor:
        """Cut; see :meth:`Transform.apply`."""
        return _crop(leaf, kind, size, draw)


@dataclass(frozen=True)
class CentreCrop(Transform[None]):
    """Cut a region of one size out of the image's middle; what lies beyond the image is zero."""

    size: Size
    """Height and width."""

    def draw(self, _size: Size, _generator: torch.Generator, /) -> None:
        """Draw nothing."""

    def apply(self, leaf: Tensor, kind: Kind, size: Size, _draw: None, /) -> Tensor:
        """Cut; see :meth:`Transform.apply`."""
        top, left = ((length - wanted) // 2 for length, wanted in zip(size, self.size, strict=True))
        return _crop(leaf, kind, size, (top, left, *self.size))


@dataclass(frozen=True)
class RandomResizedCrop(Transform[Region]):
    """Cut a region of random area and aspect ratio out of the image, and resize it (Szegedy et al. 2015, section 6)."""

    size: Size
    """Height and width of the result."""
    scale: tuple[float, float] = (0.08, 1.0)
    """The smallest and largest share of the image's area."""
    ratio: tuple[float, float] = (3 / 4, 4 / 3)
    """The smallest and largest ratio of width to height."""

    def draw(self, size: Size, generator: torch.Generator, /) -> Region:
        """Draw the region; the largest one of a permitted ratio if none fits in ten attempts."""
        height, width = size
        for _ in range(ATTEMPTS):
            area = height * width * _draw_number(self.scale, generator)
            ratio = math.exp(_draw_number((math.log(self.ratio[0]), math.log(self.ratio[1])), generator))
            region_height, region_width = round(math.sqrt(area / ratio)), round(math.sqrt(area * ratio))
            if 0 < region_height <= height and 0 < region_width <= width:
                top = _draw_integer(height - region_height + 1, generator)
                left = _draw_integer(width - region_width + 1, generator)
                return top, left, region_height, region_width
        ratio = min(max(width / height, self.ratio[0]), self.ratio[1])
        region_height, region_width = min(height, round(width / ratio)), min(width, round(height * ratio))
        return (height - region_height) // 2, (width - region_width) // 2, region_height, region_width

    def apply(self, leaf: Tensor, kind: Kind, size: Size, draw: Region, /) -> Tensor:
        """Cut and resize; see :meth:`Transform.apply`."""
        return _resize(_crop(leaf, kind, size, draw), kind, draw[2:], self.size)


@dataclass(frozen=True)
class Resize(Transform[None]):
    """Resize the image, with antialiasing."""

    size: Size
    """Height and width."""

    def draw(self, _size: Size, _generator: torch.Generator, /) -> None:
        """Draw nothing."""

    def apply(self, leaf: Tensor, kind: Kind, size: Size, _draw: None, /) -> Tensor:
        """Resize; see :meth:`Transform.apply`."""
        return _resize(leaf, kind, size, self.size)


@dataclass(frozen=True)
class RandomFlip(Transform[bool]):
    """Mirror the image left to right, or top to bottom."""

    probability: float = 0.5
    vertical: bool = False
    """Whether top and bottom change places, rather than left and right."""

    def draw(self, _size: Size, generator: torch.Generator, /) -> bool:
        """Draw whether; see :meth:`Transform.draw`."""
        return _draw_number((0, 1), generator) < self.probability

    def apply(self, leaf: Tensor, kind: Kind, size: Size, draw: bool, /) -> Tensor:
        """Mirror; see :meth:`Transform.apply`."""
        if not draw:
            return leaf
        if kind is not Kind.BOXES:
            return leaf.flip(-2 if self.vertical else -1)
        left, top, right, bottom = leaf.unbind(-1)
        if self.vertical:
            return torch.stack((left, size[0] - bottom, right, size[0] - top), -1)
        return torch.stack((size[1] - right, top, size[1] - left, bottom), -1)


@dataclass(frozen=True)
class RandomRotation(Transform[float]):
    """Turn the image about its middle; what comes from beyond it is zero, and boxes become those around turned ones."""

    degrees: float
    """The largest angle, in either direction; counter-clockwise is positive."""

    def draw(self, _size: Size, generator: torch.Generator, /) -> float:
        """Draw the angle in degrees; see :meth:`Transform.draw`."""
        return _draw_number((-self.degrees, self.degrees), generator)

    def apply(self, leaf: Tensor, kind: Kind, size: Size, draw: float, /) -> Tensor:
        """Turn; see :meth:`Transform.apply`."""
        angle = math.radians(draw)
        if kind is Kind.BOXES:
            return _rotate_boxes(leaf, size, angle)
        return _rotate_pixels(leaf, kind, size, angle)


def have_area(boxes: Tensor) -> Tensor:
    """Tell which boxes still have an area; those that were cut off altogether have none.

    Boxes are not removed by transforms, so that they stay in step with their classes.

    :param boxes: Boxes ``(boxes, 4)``.
    :return: Truth values ``(boxes,)``.
    """
    return (boxes[..., 2] > boxes[..., 0]) & (boxes[..., 3] > boxes[..., 1])


def _draw_number(limits: tuple[float, float], generator: torch.Generator) -> float:
    low, high = limits
    return low + (high - low) * float(torch.rand((), dtype=torch.float64, generator=generator))


def _draw_integer(count: int, generator: torch.Generator) -> int:
    return int(torch.randint(count, (), generator=generator))


def _clip(boxes: Tensor, size: Size) -> Tensor:
    limits = boxes.new_tensor((size[1], size[0], size[1], size[0]))
    return torch.minimum(boxes.clamp(min=0), limits)


def _crop(leaf: Tensor, kind: Kind, size: Size, region: Region) -> Tensor:
    top, left, height, width = region
    if kind is Kind.BOXES:
        return _clip(leaf - leaf.new_tensor((left, top, left, top)), (height, width))
    inside = leaf[..., max(top, 0) : max(top + height, 0), max(left, 0) : max(left + width, 0)]
    beyond = (max(-left, 0), max(left + width - size[1], 0), max(-top, 0), max(top + height - size[0], 0))
    return functional.pad(inside, beyond) if any(beyond) else inside


def _resize(leaf: Tensor, kind: Kind, size: Size, wanted: Size) -> Tensor:
    if kind is Kind.BOXES:
        down, across = wanted[0] / size[0], wanted[1] / size[1]
        return leaf * leaf.new_tensor((across, down, across, down))
    if size == wanted:
        return leaf
    if kind is Kind.MASK:
        return leaf[..., _nearest(size[0], wanted[0])[:, None], _nearest(size[1], wanted[1])]
    resized = functional.interpolate(leaf[None].float(), wanted, mode="bilinear", antialias=True)[0]
    return _like(resized, leaf)


def _nearest(length: int, wanted: int) -> Tensor:
    """Return the pixel whose middle is nearest to that of each resized one."""
    return ((torch.arange(wanted, dtype=torch.float64) + 0.5) * (length / wanted)).floor().long().clamp(max=length - 1)


def _rotate_pixels(leaf: Tensor, kind: Kind, size: Size, angle: float) -> Tensor:
    height, width = size
    cosine, sine = math.cos(angle), math.sin(angle)
    # grid_sample counts from -1 to 1 over the image, so that the angle is sheared where it is not square.
    matrix = torch.tensor([[[cosine, -sine * height / width, 0], [sine * width / height, cosine, 0]]])
    planes = leaf.reshape(1, -1, height, width)
    grid = functional.affine_grid(matrix, [1, 1, height, width], align_corners=False)
    mode = "nearest" if kind is Kind.MASK else "bilinear"
    exact = planes.double() if kind is Kind.MASK else planes.float()
    turned = functional.grid_sample(exact, grid.to(exact.dtype), mode=mode, align_corners=False)
    return _like(turned.reshape(leaf.shape), leaf)


def _rotate_boxes(boxes: Tensor, size: Size, angle: float) -> Tensor:
    middle = boxes.new_tensor((size[1] / 2, size[0] / 2))
    cosine, sine = math.cos(angle), math.sin(angle)
    corners = boxes[..., [[0, 1], [2, 1], [0, 3], [2, 3]]] - middle
    turned = corners @ boxes.new_tensor([[cosine, -sine], [sine, cosine]]) + middle
    return _clip(torch.cat((turned.amin(-2), turned.amax(-2)), -1), size)


def _like(result: Tensor, leaf: Tensor) -> Tensor:
    """Give a result the type of the leaf it came from, rounded where that has no fractions."""
    if leaf.is_floating_point():
        return result.to(leaf.dtype)
    limits = torch.iinfo(leaf.dtype)
    return result.round().clamp(limits.min, limits.max).to(leaf.dtype)
