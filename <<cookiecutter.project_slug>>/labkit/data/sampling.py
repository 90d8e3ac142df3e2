"""The order in which samples are seen: a function of seed and epoch alone, that can be entered at any batch."""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch.utils.data import Sampler

from labkit.seed import derive_seed


@dataclass(frozen=True)
class Batch:
    """What a loader asks a data set for: which samples, and where in the training they stand."""

    epoch: int
    number: int
    """The batch's number within its epoch, from 0."""
    indices: list[int]


class ResumableBatchSampler(Sampler[Batch]):
    """Batches of an epoch from a position on; each sample once an epoch, over all processes together.

    Processes that learn together take every step together: a last group with fewer samples than processes is left out
    of an epoch in random order.

    :ivar rank: This process's number among those that train together.
    :ivar world_size: How many they are.
    :ivar epoch: The epoch of the next batch.
    :ivar position: The number of that batch within its epoch.
    """

    def __init__(self, length: int, batch_size: int, *, seed: int, shuffle: bool, drop_last: bool = False) -> None:
        """Describe the order.

        :param length: How many samples there are.
        :param batch_size: How many of them one process takes at a time.
        :param seed: The run's seed.
        :param shuffle: Whether the order is random, another one each epoch.
        :param drop_last: Whether a last batch that is smaller is left out.
        """
        self.length = length
        self.batch_size = batch_size
        self.seed = seed
        self.shuffle = shuffle
        self.drop_last = drop_last
        self.rank = 0
        self.world_size = 1
        self.epoch = 0
        self.position = 0

    def distribute(self, rank: int, world_size: int) -> None:
        """Share the batches among processes.

        :param rank: This process's number among those that train together.
        :param world_size: How many they are.
        """
        self.rank, self.world_size = rank, world_size

    def __len__(self) -> int:
        """Return the number of batches that each process takes in a whole epoch."""
        whole, rest = divmod(self.length, self.batch_size * self.world_size)
        smallest = self.world_size if self.shuffle else 1
        return whole + (rest >= smallest and not self.drop_last)

    def __iter__(self) -> Iterator[Batch]:
        """Iterate over the rest of the epoch."""
        order = self.order(self.epoch)
        taken_together = self.batch_size * self.world_size
        for number in range(self.position, len(self)):
            group = order[number * taken_together : (number + 1) * taken_together]
            if indices := group[self.rank :: self.world_size].tolist():
                yield Batch(self.epoch, number, indices)

    def order(self, epoch: int) -> torch.Tensor:
        """Return the order of an epoch.

        :param epoch: Its number.
        :return: The indices of all samples, ``(length,)``.
        """
        if not self.shuffle:
            return torch.arange(self.length)
        generator = torch.Generator().manual_seed(derive_seed(self.seed, "order", epoch))
        return torch.randperm(self.length, generator=generator)
