import random
from collections.abc import Iterable, Iterator
from itertools import islice

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.utils.data import Dataset, IterableDataset, TensorDataset

from labkit.command import UsageError
from labkit.data.loading import Loader
from labkit.data.order import Balanced, Shuffled

LENGTH = 13
BATCHES = 4


class Noise(Dataset[Tensor]):
    """Samples that draw from every global stream, as code written without a thought of repetition does."""

    def __len__(self) -> int:
        return LENGTH

    def __getitem__(self, index: int) -> Tensor:
        return torch.tensor([index, random.random(), np.random.random(), torch.rand(()).item()], dtype=torch.float64)


def jitter(sample: Tensor, generator: torch.Generator) -> Tensor:
    return torch.cat([sample, torch.rand(1, generator=generator, dtype=torch.float64)])


def make_loader(*, workers: int = 0, seed: int = 5, shuffle: bool = True) -> Loader:
    return Loader(Noise(), batch_size=4, seed=seed, shuffle=shuffle, workers=workers, transform=jitter)


def to_lists(batches: Iterable[Tensor]) -> list[list[list[float]]]:
    return [batch.tolist() for batch in batches]


def iterate(loader: Loader) -> Iterator[Tensor]:
    """Yield batches of one epoch after the other, without end."""
    while True:
        yield from loader


@pytest.fixture(scope="module")
def uninterrupted() -> list[list[list[float]]]:
    """The batches of two epochs, loaded in one process."""
    return to_lists(islice(iterate(make_loader()), 2 * BATCHES))


def test_every_sample_comes_once_an_epoch(uninterrupted: list[list[list[float]]]) -> None:
    for epoch in (uninterrupted[:BATCHES], uninterrupted[BATCHES:]):
        assert [len(batch) for batch in epoch] == [4, 4, 4, 1]
        assert sorted(sample[0] for batch in epoch for sample in batch) == list(range(LENGTH))


def test_no_two_samples_share_their_chance(uninterrupted: list[list[list[float]]]) -> None:
    samples = [sample for batch in uninterrupted for sample in batch]
    for column in range(1, 5):
        assert len({sample[column] for sample in samples}) == 2 * LENGTH


@pytest.mark.parametrize("workers", [1, 2])
def test_batches_are_the_same_for_any_number_of_workers(workers: int, uninterrupted: list[list[list[float]]]) -> None:
    assert to_lists(islice(iterate(make_loader(workers=workers)), 2 * BATCHES)) == uninterrupted


@pytest.mark.parametrize(("workers_before", "workers_after"), [(0, 0), (0, 2), (2, 0)])
@pytest.mark.parametrize("position", [1, BATCHES - 1, BATCHES, BATCHES + 2])
def test_a_resumed_loader_goes_on_as_if_nothing_had_happened(
    position: int, workers_before: int, workers_after: int, uninterrupted: list[list[list[float]]]
) -> None:
    interrupted = make_loader(workers=workers_before)
    assert to_lists(islice(iterate(interrupted), position)) == uninterrupted[:position]
    resumed = make_loader(workers=workers_after)
    resumed.load_state_dict(interrupted.state_dict())
    assert to_lists(islice(iterate(resumed), 2 * BATCHES - position)) == uninterrupted[position:]


def test_the_place_is_after_the_batch_that_came_last() -> None:
    loader = make_loader()
    assert loader.state_dict() == {"epoch": 0, "position": 0}
    batches = iterate(loader)
    places = [(next(batches), loader.state_dict())[1] for _ in range(BATCHES + 1)]
    assert places == [
        {"epoch": 0, "position": 1},
        {"epoch": 0, "position": 2},
        {"epoch": 0, "position": 3},
        {"epoch": 1, "position": 0},
        {"epoch": 1, "position": 1},
    ]


@pytest.mark.parametrize("workers", [0, 2])
def test_a_sample_that_comes_again_in_an_epoch_has_its_own_augmentation(workers: int) -> None:
    def make() -> Loader:
        order = Balanced([index == 0 for index in range(LENGTH)], 26)
        return Loader(Noise(), batch_size=4, seed=5, order=order, workers=workers, transform=jitter)

    whole = to_lists(islice(iterate(make()), 14))
    samples = [sample for batch in whole for sample in batch]
    assert [len(batch) for batch in whole] == 2 * [4, 4, 4, 4, 4, 4, 2]
    assert sum(sample[0] == 0 for sample in samples) == 26
    assert len({sample[4] for sample in samples}) == 52

    interrupted, resumed = make(), make()
    assert to_lists(islice(iterate(interrupted), 9)) == whole[:9]
    resumed.load_state_dict(interrupted.state_dict())
    assert to_lists(islice(iterate(resumed), 5)) == whole[9:]


def test_a_batch_holds_samples_of_one_group() -> None:
    groups = [index % 3 for index in range(LENGTH)]
    loader = Loader(Noise(), batch_size=4, seed=5, shuffle=True, groups=groups)
    batches = to_lists(loader)
    assert len(batches) == len(loader) == 4
    assert [len({int(sample[0]) % 3 for sample in batch}) for batch in batches] == [1, 1, 1, 1]
    assert sorted(sample[0] for batch in batches for sample in batch) == list(range(LENGTH))


def test_an_order_of_another_data_set_is_refused() -> None:
    with pytest.raises(UsageError, match=r"^the order is one of 3 samples, and the data set has 13\.$"):
        Loader(Noise(), batch_size=4, seed=5, order=Shuffled(3))


def test_another_seed_is_another_order_and_another_augmentation(uninterrupted: list[list[list[float]]]) -> None:
    other = to_lists(make_loader(seed=6))
    assert [sample[0] for batch in other for sample in batch] != [
        sample[0] for batch in uninterrupted[:BATCHES] for sample in batch
    ]
    assert {sample[4] for batch in other for sample in batch}.isdisjoint(
        sample[4] for batch in uninterrupted for sample in batch
    )


def test_the_augmentation_of_a_sample_depends_on_the_epoch_and_not_on_its_batch() -> None:
    def augment(batch_size: int) -> list[dict[float, float]]:
        loader = Loader(Noise(), batch_size=batch_size, seed=5, shuffle=True, transform=jitter)
        return [{sample[0]: sample[4] for batch in loader for sample in batch.tolist()} for _ in range(2)]

    assert augment(4) == augment(5)
    first, second = augment(4)
    assert all(first[index] != second[index] for index in first)


def test_a_set_to_judge_by_is_the_same_in_every_pass() -> None:
    loader = make_loader(shuffle=False)
    first = to_lists(loader)
    assert [sample[0] for batch in first for sample in batch] == list(range(LENGTH))
    next(iter(loader))  # a pass that is not finished
    assert to_lists(loader) == first


@pytest.mark.parametrize("workers", [0, 2])
def test_loading_leaves_the_global_streams_alone(workers: int) -> None:
    random.seed(1)
    np.random.seed(1)
    torch.manual_seed(1)
    expected = random.random(), np.random.random(), torch.rand(()).item()
    random.seed(1)
    np.random.seed(1)
    torch.manual_seed(1)
    for batch in make_loader(workers=workers):
        del batch
    assert (random.random(), np.random.random(), torch.rand(()).item()) == expected


@pytest.mark.parametrize("workers", [0, 2])
def test_what_was_drawn_before_changes_no_batch(workers: int, uninterrupted: list[list[list[float]]]) -> None:
    random.random()
    np.random.random()
    torch.rand(())
    assert to_lists(make_loader(workers=workers)) == uninterrupted[:BATCHES]


def test_the_global_streams_are_put_back_if_a_sample_fails() -> None:
    class Broken(Noise):
        def __getitem__(self, index: int) -> Tensor:
            raise OSError("unreadable")

    torch.manual_seed(1)
    expected = torch.rand(()).item()
    torch.manual_seed(1)
    with pytest.raises(OSError, match="unreadable"):
        next(iter(Loader(Broken(), batch_size=4, seed=5)))
    assert torch.rand(()).item() == expected


def test_loading_leaves_the_accelerators_stream_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    # Dropout on an accelerator would draw the same numbers after each batch.
    seeds: list[int] = []
    monkeypatch.setattr(torch.cuda, "manual_seed_all", seeds.append)
    next(iter(make_loader()))
    assert seeds == []


def test_without_a_transform_samples_come_as_they_are() -> None:
    loader = Loader(TensorDataset(torch.arange(3), torch.arange(3) * 2), batch_size=2, seed=0)
    assert [[part.tolist() for part in batch] for batch in loader] == [[[0, 1], [0, 2]], [[2], [4]]]
    assert len(loader) == 2


@pytest.mark.parametrize("workers", [0, 2])
def test_tensors_in_memory_come_in_the_batches_that_their_samples_make(workers: int) -> None:
    class Pairs(TensorDataset):
        """What may have samples of its own is asked for each of them."""

    tensors = torch.rand(LENGTH, 2, 3), torch.arange(LENGTH)
    at_once = Loader(TensorDataset(*tensors), batch_size=4, seed=5, shuffle=True, workers=workers)
    one_by_one = Loader(Pairs(*tensors), batch_size=4, seed=5, shuffle=True)
    for batch, expected in zip(at_once, one_by_one, strict=True):
        assert len(batch) == len(expected) == 2
        for tensor, expected_tensor in zip(batch, expected, strict=True):
            assert torch.equal(tensor, expected_tensor)
            assert tensor.dtype is expected_tensor.dtype


def test_batches_are_made_as_one_says() -> None:
    loader = Loader(Noise(), batch_size=4, seed=0, collate=len, drop_last=True)
    assert list(loader) == [4, 4, 4]


def test_processes_share_the_samples() -> None:
    loaders = [Loader(Noise(), batch_size=4, seed=5, shuffle=True) for _ in range(2)]
    for rank, loader in enumerate(loaders):
        loader.batches.distribute(rank, 2)
    taken = [int(sample[0]) for loader in loaders for batch in loader for sample in batch]
    assert sorted(taken) == list(range(LENGTH))


def test_a_data_set_without_a_length_is_refused() -> None:
    class Stream(IterableDataset[int]):
        def __iter__(self) -> Iterator[int]:
            yield 1

    with pytest.raises(TypeError, match=r"^a data set must have a length: Stream has none$"):
        Loader(Stream(), batch_size=1, seed=0)
