"""Batches of an epoch: which samples are taken together, by which process, from any batch on."""

from collections.abc import Hashable, Iterable, Iterator
from dataclasses import dataclass, field

import torch
from torch import Tensor
from torch.utils.data import Sampler

from labkit.command import UsageError
from labkit.data.order import Order
from labkit.seed import derive_seed


@dataclass(frozen=True)
class Batch:
    """What a loader asks a data set for: which samples, and where in the training they stand."""

    epoch: int
    number: int
    """The batch's number within its epoch, from 0."""
    indices: list[int]
    repetitions: list[int] = field(default_factory=list)
    """How often the epoch has taken each sample before; nothing where it takes none twice."""


class ResumableBatchSampler(Sampler[Batch]):
    """Batches of an epoch from a position on; each sample that the order takes once, over all processes together.

    Processes that learn together take every step together: samples that are fewer than processes are left out of an
    epoch in random order, at its end or, with groups, at that of a group.

    :ivar rank: This process's number among those that train together.
    :ivar world_size: How many they are.
    :ivar epoch: The epoch of the next batch.
    :ivar position: The number of that batch within its epoch.
    """

    def __init__(
        self,
        order: Order,
        batch_size: int,
        *,
        seed: int,
        drop_last: bool = False,
        groups: Iterable[Hashable] | None = None,
    ) -> None:
        """Describe the batches.

        :param order: Which samples an epoch takes, and in which order.
        :param batch_size: How many of them one process takes at a time.
        :param seed: The run's seed.
        :param drop_last: Whether a batch that is smaller, the last of all or of a group, is left out.
        :param groups: The group of each sample, if a step shall take samples of one group only, such as images of one
            shape (:func:`labkit.data.order.group_by_aspect_ratio`). In random order, groups take turns at random.
        :raises UsageError: If groups are not given for each sample, or an epoch would not take each sample once.
        """
        self.order = order
        self.batch_size = batch_size
        self.seed = seed
        self.drop_last = drop_last
        self.rank = 0
        self.world_size = 1
        self.epoch = 0
        self.position = 0
        self._limit: int | None = None
        self._is_fixed = False
        self._groups = None
        if groups is not None:
            numbers: dict[Hashable, int] = {}
            self._groups = torch.tensor([numbers.setdefault(group, len(numbers)) for group in groups], dtype=torch.long)
            if len(self._groups) != order.length:
                raise UsageError(f"there are {len(self._groups)} groups and {order.length} samples: each needs one.")
            if order.repeats or order.samples != order.length:
                raise UsageError("grouped batches need an order that takes each sample once: otherwise epochs differ.")

    def distribute(self, rank: int, world_size: int) -> None:
        """Share the batches among processes.

        :param rank: This process's number among those that train together.
        :param world_size: How many they are.
        """
        self.rank, self.world_size = rank, world_size

    def restrict(self, batches: int | None, *, fixed: bool = False) -> None:
        """Take only some batches of each epoch, to look for a fault.

        :param batches: How many; None for all.
        :param fixed: Whether each epoch takes those of the first one.
        """
        self._limit, self._is_fixed = batches, fixed

    def __len__(self) -> int:
        """Return the number of batches that each process takes in a whole epoch."""
        sizes = [self.order.samples] if self._groups is None else self._groups.bincount().tolist()
        together = self.batch_size * self.world_size
        batches = sum(size // together + (size % together >= self._smallest_step) for size in sizes)
        return batches if self._limit is None else min(batches, self._limit)

    def __iter__(self) -> Iterator[Batch]:
        """Iterate over the rest of the epoch."""
        epoch = 0 if self._is_fixed else self.epoch
        order = self.order.draw(self.seed, epoch)
        repetitions = _count_repetitions(order) if self.order.repeats else None
        for number, places in enumerate(self._steps(order, epoch)[self.position : self._limit], start=self.position):
            own = places[self.rank :: self.world_size]
            if len(own):
                repeated = [] if repetitions is None else repetitions[own].tolist()
                yield Batch(epoch, number, order[own].tolist(), repeated)

    @property
    def _smallest_step(self) -> int:
        """How many samples are enough for processes to take them together, though they are fewer than usual."""
        if self.drop_last:
            return self.batch_size * self.world_size
        return self.world_size if self.order.is_random else 1

    def _steps(self, order: Tensor, epoch: int) -> list[Tensor]:
        """Return for each step the places in the order whose samples all processes take together."""
        together = self.batch_size * self.world_size
        places = torch.arange(len(order))
        if self._groups is None:
            parts = [places]
        else:
            of_group = self._groups[order]
            parts = places[of_group.argsort(stable=True)].split(of_group.bincount().tolist())
        steps = [step for part in parts for step in part.split(together) if len(step) >= self._smallest_step]
        if self._groups is None:
            return steps
        if not self.order.is_random:
            return sorted(steps, key=lambda step: int(step[0]))
        generator = torch.Generator().manual_seed(derive_seed(self.seed, "turns of groups", epoch))
        return [steps[number] for number in torch.randperm(len(steps), generator=generator).tolist()]


def _count_repetitions(order: Tensor) -> Tensor:
    """Count for each place how often its sample has come before."""
    by_sample = order.argsort(stable=True)
    counts = order.bincount()
    starts = counts.cumsum(0) - counts
    repetitions = torch.empty_like(order)
    repetitions[by_sample] = torch.arange(len(order)) - starts[order[by_sample]]
    return repetitions
