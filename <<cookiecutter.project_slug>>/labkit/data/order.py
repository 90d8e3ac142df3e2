"""Which samples an epoch takes, and in which order: a function of the run's seed and the epoch's number alone.

Nothing is drawn one after the other, so that any epoch can be entered without those before it. Where samples are drawn
by weight or by class, chance decides which ones and when, not how many: counts are what was asked for, to within one.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Hashable, Iterable, Sequence
from typing import Final

import numpy as np
import torch
from torch import Tensor

from labkit.command import UsageError
from labkit.seed import derive_seed

LARGEST_SUM: Final = 2**62
"""Of integers, so that sums in 64 bits are exact."""


class Order(ABC):
    """An order of samples, epoch by epoch.

    :ivar length: How many samples the data set has.
    :ivar samples: How many of them an epoch takes, the same in every epoch.
    """

    is_random = True
    """Whether each epoch has its own order; otherwise all are alike, as is right for judging."""
    repeats = False
    """Whether an epoch may take a sample twice."""

    def __init__(self, length: int, samples: int | None) -> None:
        """Describe the size of an epoch.

        :param length: How many samples the data set has.
        :param samples: How many of them an epoch takes; as many as there are by default.
        :raises UsageError: If an epoch would take none.
        """
        if samples is not None and samples < 1:
            raise UsageError(f"an epoch of {samples} samples cannot be: it takes at least 1.")
        self.length = length
        self.samples = length if samples is None else samples

    @abstractmethod
    def draw(self, seed: int, epoch: int) -> Tensor:
        """Return what an epoch takes.

        :param seed: The run's seed.
        :param epoch: The epoch's number, from 0.
        :return: Indices of samples in their order, ``(samples,)``, 64-bit integers.
        """


class Sequential(Order):
    """All samples, as the data set has them."""

    is_random = False

    def __init__(self, length: int) -> None:
        """Take all samples.

        :param length: How many there are.
        """
        super().__init__(length, None)

    def draw(self, seed: int, epoch: int) -> Tensor:
        """Return all indices, ascending."""
        del seed, epoch
        return torch.arange(self.length)


class Shuffled(Order):
    """All samples in random order; or, for shorter epochs, some of them, none twice.

    A permutation of all samples is shared out among as many epochs as it makes whole, so that what one of them takes
    is not taken again by the next.
    """

    def __init__(self, length: int, samples: int | None = None) -> None:
        """Take each sample, or fewer, once.

        :param length: How many samples there are.
        :param samples: How many of them an epoch takes; all by default.
        :raises UsageError: If there are not so many.
        """
        super().__init__(length, samples)
        if self.samples > length:
            raise UsageError(f"an epoch of {samples} samples cannot be had of {length}, each at most once.")

    def draw(self, seed: int, epoch: int) -> Tensor:
        """Return the epoch's part of a permutation."""
        epochs = self.length // self.samples if self.samples else 1
        permutation = _permute(self.length, derive_seed(seed, "order", epoch // epochs))
        start = epoch % epochs * self.samples
        return permutation[start : start + self.samples]


class Weighted(Order):
    """Samples as often as their weights say: in every epoch, each so often as to be within one of its share.

    This is systematic sampling in random order (Madow and Madow, "On the Theory of Systematic Sampling", The Annals of
    Mathematical Statistics 15:1, 1944): expectations are those of independent draws, and variance is less.
    """

    repeats = True

    def __init__(self, weights: Sequence[float] | Tensor, samples: int | None = None) -> None:
        """Take samples by weight.

        :param weights: How often each sample is taken in relation to the others; 0 for never.
        :param samples: How many an epoch takes; as many as there are by default.
        :raises UsageError: If a weight is negative or not finite, or all are 0.
        """
        exact = torch.as_tensor(weights, dtype=torch.float64)
        super().__init__(len(exact), samples)
        unusable = ((exact < 0) | ~exact.isfinite()).nonzero()
        if len(unusable):
            position = int(unusable[0])
            raise UsageError(
                f"the weight of sample {position} is {float(exact[position])}: give finite ones from 0 up."
            )
        total = float(exact.sum())
        if not 0 < total < math.inf:
            raise UsageError(f"the sum of the weights is {total}: give weights with a finite sum above 0.")
        # A power of two leaves integers, and what is equal, exactly as they are.
        exponent = math.floor(math.log2(LARGEST_SUM / self.samples) - math.log2(total)) - 1
        self._units = torch.from_numpy(np.ldexp(exact.numpy(), exponent)).round().long()

    def draw(self, seed: int, epoch: int) -> Tensor:
        """Return samples at equal distances on a line on which each is as long as its weight, shuffled."""
        generator = _seeded(derive_seed(seed, "weighted order", epoch))
        line = torch.randperm(self.length, generator=generator)
        units = self._units[line]
        total = int(units.sum())
        start = torch.randint(total, (), generator=generator)
        places = torch.arange(self.samples) * total + start
        drawn = line[torch.searchsorted(units.cumsum(0) * self.samples, places, right=True)]
        return drawn[torch.randperm(self.samples, generator=generator)]


class Balanced(Order):
    """Samples of every class equally often, and of a class every sample equally often.

    Both hold to within one, in every epoch for classes and over any number of epochs from the first for samples. From
    the beginning of an epoch on, as many samples as there are classes always hold each class once, in random order.
    """

    repeats = True

    def __init__(self, labels: Iterable[Hashable], samples: int | None = None) -> None:
        """Take samples by class.

        :param labels: The class of each sample.
        :param samples: How many an epoch takes; as many as there are by default.
        """
        members: dict[Hashable, list[int]] = {}
        length = 0
        for label in labels:
            members.setdefault(label, []).append(length)
            length += 1
        super().__init__(length, samples)
        self._members = [torch.tensor(indices) for indices in members.values()]

    def draw(self, seed: int, epoch: int) -> Tensor:
        """Return rounds of one sample of each class; a last round may be of some classes only, in turns."""
        classes = len(self._members)
        generator = _seeded(derive_seed(seed, "balanced order", epoch))
        turns = _permute(classes, derive_seed(seed, "turns of classes")).tolist() if classes else []
        drawn: list[Tensor] = []
        rounds: list[Tensor] = []
        for number, turn in enumerate(turns):
            # All epochs together deal their samples to the classes in turn: so many to this class before and after.
            start, stop = ((each * self.samples + classes - 1 - turn) // classes for each in (epoch, epoch + 1))
            drawn.append(_draw_in_rounds(self._members[number], start, stop, seed, number))
            rounds.append(
                torch.arange(stop - start) + torch.rand(stop - start, dtype=torch.float64, generator=generator)
            )
        return torch.cat(drawn)[torch.cat(rounds).argsort()] if drawn else torch.arange(0)


def _draw_in_rounds(members: Tensor, start: int, stop: int, seed: int, number: int) -> Tensor:
    """Return a section of an endless row of samples of a class, in which one permutation follows the other."""
    first, last = start // len(members), -(-stop // len(members))
    permutations = [_permute(len(members), derive_seed(seed, "class", number, each)) for each in range(first, last)]
    row = torch.cat(permutations) if permutations else torch.arange(0)
    offset = first * len(members)
    return members[row[start - offset : stop - offset]]


def _seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def _permute(length: int, seed: int) -> Tensor:
    return torch.randperm(length, generator=_seeded(seed))


def group_by_aspect_ratio(sizes: Iterable[tuple[int, int]], ratios: Sequence[float]) -> list[int]:
    """Group images by shape, so that those of a batch need little padding or cropping.

    :param sizes: Height and width of each image.
    :param ratios: Aspect ratios, width by height, for example 0.5, 1 and 2.
    :return: For each image, the number of the ratio that its own is nearest to, on a logarithmic scale.
    :raises UsageError: If there are no ratios, or one is not positive.
    """
    if not ratios or min(ratios) <= 0:
        raise UsageError(f"the aspect ratios {list(ratios)} cannot be: give at least one, all above 0.")
    logarithms = [math.log(ratio) for ratio in ratios]
    groups: list[int] = []
    for height, width in sizes:
        own = math.log(width / height)
        groups.append(min(range(len(ratios)), key=lambda number: abs(logarithms[number] - own)))
    return groups
