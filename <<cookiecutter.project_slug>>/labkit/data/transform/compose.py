"""Functions applied to chosen leaves of a nested sample, with one random draw for all of them."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from enum import Enum
from typing import Any, Generic, TypeVar, cast

import torch
from torch import Tensor

from labkit.command import UsageError

Sample = TypeVar("Sample")
Draw = TypeVar("Draw")

Key = str | int
Path = Key | tuple[Key, ...]
"""Where a leaf is: a key or an index, or several for a leaf further down."""
LARGEST_SEED = 2**63 - 1


class Kind(Enum):
    """What a leaf is, where that decides how it moves."""

    IMAGE = "image"
    """A tensor ``(channels, height, width)``; values between pixels are interpolated."""
    MASK = "mask"
    """A tensor ``(..., height, width)`` of classes; the nearest pixel's value is taken."""
    BOXES = "boxes"
    """A floating-point tensor ``(boxes, 4)``: left, top, right, bottom, in pixels from the upper left corner."""


class Transform(ABC, Generic[Draw]):
    """A transform that first draws what it will do, and then does the same to each leaf."""

    @abstractmethod
    def draw(self, size: tuple[int, int], generator: torch.Generator, /) -> Draw:
        """Draw what to do.

        :param size: Height and width of the images before the transform.
        :param generator: Where chance comes from.
        :return: What to do.
        """

    @abstractmethod
    def apply(self, leaf: Tensor, kind: Kind, size: tuple[int, int], draw: Draw, /) -> Tensor:
        """Do it to a leaf.

        :param leaf: The leaf, which stays as it is.
        :param kind: What it is.
        :param size: Height and width of the images before the transform.
        :param draw: What to do.
        :return: The new leaf.
        """


Step = tuple[Transform[Any] | Callable[[Any], Any], Path | Sequence[Path]]
"""A function, and the leaves that it is applied to: a path, or a list of paths."""


class ComposeTree:
    """Steps one after the other, each applied to the leaves that it names.

    Besides the transforms of this package any function of one leaf can be a step, for example those of
    ``torchvision.transforms.v2`` and ``kornia.augmentation``. They draw from PyTorch's global generator, which is set
    anew before each leaf, to the same state for all leaves of a step, and put back afterwards.

    ``ComposeTree([(RandomFlip(), ["image", "mask"]), (ToDtype(), "image")], kinds={"mask": Kind.MASK})``
    """

    def __init__(self, steps: Iterable[Step], *, kinds: Mapping[Any, Kind] | None = None) -> None:
        """Describe the transform.

        :param steps: Functions and the leaves that they are applied to.
        :param kinds: What the leaf at a path is; an image by default.
        """
        self._steps = [
            (function, [_as_tuple(path) for path in (paths if isinstance(paths, list) else [cast("Path", paths)])])
            for function, paths in steps
        ]
        self._kinds = {_as_tuple(path): kind for path, kind in (kinds or {}).items()}

    def __call__(self, sample: Sample, generator: torch.Generator) -> Sample:
        """Transform a sample.

        :param sample: Nested dictionaries, lists and (named) tuples, which stay as they are.
        :param generator: The sample's own stream of random numbers.
        :return: A sample of the same structure.
        :raises UsageError: If a step names a leaf that is not there, or images of unequal sizes.
        """
        for function, paths in self._steps:
            leaves = [_get(sample, path) for path in paths]
            if isinstance(function, Transform):
                kinds = [self._kinds.get(path, Kind.IMAGE) for path in paths]
                leaves = _apply(function, leaves, kinds, paths, generator)
            else:
                leaves = _call(function, leaves, generator)
            for path, leaf in zip(paths, leaves, strict=True):
                sample = _put(sample, path, leaf)
        return sample


def _apply(
    transform: Transform[Any],
    leaves: list[Tensor],
    kinds: list[Kind],
    paths: list[tuple[Key, ...]],
    generator: torch.Generator,
) -> list[Tensor]:
    sizes = {
        path: (leaf.shape[-2], leaf.shape[-1])
        for path, leaf, kind in zip(paths, leaves, kinds, strict=True)
        if kind is not Kind.BOXES
    }
    if len(set(sizes.values())) != 1:
        found = ", ".join(f"{'.'.join(map(str, path))} {height}x{width}" for path, (height, width) in sizes.items())
        raise UsageError(
            f"{type(transform).__name__} does the same to all leaves, and needs images or masks of one size for that; "
            f"the sample has {found or 'none'}."
        )
    (size,) = set(sizes.values())
    draw = transform.draw(size, generator)
    return [transform.apply(leaf, kind, size, draw) for leaf, kind in zip(leaves, kinds, strict=True)]


def _call(function: Callable[[Any], Any], leaves: list[Any], generator: torch.Generator) -> list[Any]:
    seed = int(torch.randint(LARGEST_SEED, (), generator=generator))
    results: list[Any] = []
    with torch.random.fork_rng(devices=[]):
        for leaf in leaves:
            torch.default_generator.manual_seed(seed)
            results.append(function(leaf))
    return results


def _as_tuple(path: Path) -> tuple[Key, ...]:
    return path if isinstance(path, tuple) else (path,)


def _get(sample: Any, path: tuple[Key, ...]) -> Any:
    leaf = sample
    try:
        for key in path:
            leaf = leaf[key]
    except (KeyError, IndexError, TypeError) as error:
        raise UsageError(
            f"The sample has no leaf {'.'.join(map(str, path))}: {type(error).__name__} {error}."
        ) from error
    return leaf


def _put(sample: Any, path: tuple[Key, ...], leaf: Any) -> Any:
    """Return a sample with another leaf, and all else as it was."""
    if not path:
        return leaf
    key, *rest = path
    changed = _put(sample[key], tuple(rest), leaf)
    if isinstance(sample, Mapping):
        return {**sample, key: changed}
    position = range(len(sample))[cast("int", key)]
    items = [changed if index == position else item for index, item in enumerate(sample)]
    if hasattr(sample, "_make"):
        return sample._make(items)
    return type(sample)(items)
