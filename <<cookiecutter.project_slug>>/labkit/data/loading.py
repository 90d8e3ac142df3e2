"""From a data set to batches: the same ones for any number of workers, and after any interruption."""

import contextlib
import itertools
import random
from collections.abc import Callable, Generator, Hashable, Iterable, Iterator, Sequence, Sized
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, TensorDataset, default_collate, get_worker_info

from labkit.command import UsageError
from labkit.data.order import Order, Sequential, Shuffled
from labkit.data.sampling import Batch, ResumableBatchSampler
from labkit.seed import derive_seed

Sample = TypeVar("Sample")
Transform = Callable[[Any, torch.Generator], Any]
"""Makes a sample of a sample; all that is random in it comes from the generator, the sample's own."""


class Loader(DataLoader[Any]):
    """A data loader that knows its place: what was yielded, in which epoch, and how to go on from there."""

    def __init__(
        self,
        dataset: Dataset[Any],
        *,
        batch_size: int,
        seed: int,
        shuffle: bool = False,
        order: Order | None = None,
        groups: Iterable[Hashable] | None = None,
        workers: int = 0,
        transform: Transform | None = None,
        drop_last: bool = False,
        collate: Callable[[list[Any]], Any] = default_collate,
    ) -> None:
        """Describe the batches.

        :param dataset: Samples by index.
        :param batch_size: How many samples a batch has.
        :param seed: The run's seed.
        :param shuffle: Whether to learn from it: the order is random, and each epoch has its own. Without, every pass
            is the same, whatever is random in the samples included: a set to judge by.
        :param order: Which samples an epoch takes, rather than each one once: see :mod:`labkit.data.order`.
        :param groups: The group of each sample, if a batch shall hold samples of one group only, such as images of one
            shape.
        :param workers: How many processes load; 0 loads in this one.
        :param transform: Applied to each sample, with the sample's own random numbers of the epoch.
        :param drop_last: Whether a last batch that is smaller is left out.
        :param collate: Makes a batch of samples.
        :raises UsageError: If a batch has no sample, there are fewer workers than none, or the order is one of another
            number of samples.
        """
        if batch_size < 1:
            raise UsageError(f"a batch of {batch_size} samples cannot be: it has at least 1.")
        if workers < 0:
            raise UsageError(f"{workers} workers cannot be: give 0 to load in the process itself, or more.")
        samples: Dataset[Any] = _Samples(dataset, transform, seed)
        if type(dataset) is TensorDataset and transform is None and collate is default_collate:
            # The same batches, cut out of the tensors at once: sample by sample takes ten times as long.
            samples, collate = _Tensors(dataset.tensors), _leave
        if not isinstance(dataset, Sized):
            raise TypeError(f"a data set must have a length: {type(dataset).__name__} has none")
        order = order or (Shuffled if shuffle else Sequential)(len(dataset))
        if order.length != len(dataset):
            raise UsageError(f"the order is one of {order.length} samples, and the data set has {len(dataset)}.")
        self.batches = ResumableBatchSampler(order, batch_size, seed=seed, drop_last=drop_last, groups=groups)
        super().__init__(
            samples,
            batch_sampler=self.batches,  # pyright: ignore[reportArgumentType]  the data set reads what it yields
            num_workers=workers,
            persistent_workers=workers > 0,
            collate_fn=collate,
            # The loader draws a number for its workers; it must not come from the stream that dropout draws from.
            generator=torch.Generator().manual_seed(derive_seed(seed, "workers")),
        )

    def __iter__(self) -> Iterator[Any]:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Iterate over the rest of the epoch."""
        if not self.batches.order.is_random:
            yield from super().__iter__()
            return
        for batch in super().__iter__():
            self.batches.position += 1
            if self.batches.position == len(self.batches):
                self.batches.epoch, self.batches.position = self.batches.epoch + 1, 0
            yield batch

    def state_dict(self) -> dict[str, int]:
        """Return the place after the batch that was yielded last."""
        return {"epoch": self.batches.epoch, "position": self.batches.position}

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Go to a place.

        :param state: What :meth:`state_dict` returned.
        """
        self.batches.epoch, self.batches.position = state["epoch"], state["position"]


class _Samples(Dataset[Any]):
    """A data set as its loader asks for it: a batch at a time, every stream of random numbers set for that batch."""

    def __init__(self, dataset: Any, transform: Transform | None, seed: int) -> None:
        self.dataset = dataset
        self.transform = transform
        self.seed = seed

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitems__(self, batch: Batch) -> list[Any]:
        with _own_random_numbers(derive_seed(self.seed, "loading", batch.epoch, batch.number)):
            samples = [self.dataset[index] for index in batch.indices]
            if self.transform is None:
                return samples
            generator = torch.Generator()
            repetitions = itertools.chain(batch.repetitions, itertools.repeat(0))
            for place, (index, repetition) in enumerate(zip(batch.indices, repetitions, strict=False)):
                indices = (batch.epoch, index, repetition) if repetition else (batch.epoch, index)
                generator.manual_seed(derive_seed(self.seed, "augmentation", *indices))
                samples[place] = self.transform(samples[place], generator)
            return samples


class _Tensors(Dataset[Any]):
    """Tensors in memory as their loader asks for them: batches that need no collating."""

    def __init__(self, tensors: Sequence[Tensor]) -> None:
        self.tensors = tensors

    def __len__(self) -> int:
        return len(self.tensors[0])

    def __getitems__(self, batch: Batch) -> list[Tensor]:
        indices = torch.tensor(batch.indices)
        return [tensor[indices] for tensor in self.tensors]


def _leave(batch: Any) -> Any:
    return batch


@contextlib.contextmanager
def _own_random_numbers(seed: int) -> Generator[None]:
    """Give code that draws from the global streams its own numbers, then put the streams back."""
    in_worker = get_worker_info() is not None
    states = None if in_worker else (random.getstate(), np.random.get_state(), torch.get_rng_state())
    random.seed(seed)
    np.random.seed(seed % 2**32)
    torch.default_generator.manual_seed(seed)  # `torch.manual_seed` would spend a millisecond on accelerators
    try:
        yield
    finally:
        if states:
            random.setstate(states[0])
            np.random.set_state(states[1])
            torch.set_rng_state(states[2])
