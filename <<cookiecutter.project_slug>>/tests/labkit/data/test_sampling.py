import random

import hypothesis
import pytest
from hypothesis import strategies

from labkit.command import UsageError
from labkit.data.order import Balanced, Order, Sequential, Shuffled, Weighted
from labkit.data.sampling import Batch, ResumableBatchSampler


def share(
    order: Order,
    batch_size: int,
    world_size: int,
    *,
    drop_last: bool = False,
    groups: list[str] | None = None,
    epoch: int = 0,
    position: int = 0,
) -> list[list[Batch]]:
    """Return the batches of each of several processes."""
    batches: list[list[Batch]] = []
    for rank in range(world_size):
        sampler = ResumableBatchSampler(order, batch_size, seed=3, drop_last=drop_last, groups=groups)
        sampler.distribute(rank, world_size)
        sampler.epoch, sampler.position = epoch, position
        batches.append(list(sampler))
        assert len(batches[-1]) <= len(sampler)
    return batches


def taken_by(batches: list[list[Batch]]) -> list[int]:
    return sorted(index for of_rank in batches for batch in of_rank for index in batch.indices)


def test_without_shuffling_batches_follow_the_order_of_the_samples() -> None:
    sampler = ResumableBatchSampler(Sequential(5), 2, seed=0)
    assert list(sampler) == [Batch(0, 0, [0, 1]), Batch(0, 1, [2, 3]), Batch(0, 2, [4])]
    assert len(sampler) == 3


def test_a_smaller_last_batch_can_be_left_out() -> None:
    sampler = ResumableBatchSampler(Sequential(5), 2, seed=0, drop_last=True)
    assert list(sampler) == [Batch(0, 0, [0, 1]), Batch(0, 1, [2, 3])]
    assert len(sampler) == 2


@pytest.mark.parametrize("position", [0, 1, 14])
def test_an_epoch_can_be_entered_at_any_batch(position: int) -> None:
    whole = ResumableBatchSampler(Shuffled(100), 7, seed=1)
    rest = ResumableBatchSampler(Shuffled(100), 7, seed=1)
    whole.epoch = rest.epoch = 2
    rest.position = position
    assert list(rest) == list(whole)[position:]
    assert [batch.number for batch in rest] == list(range(position, 15))
    assert len(rest) == 15


@hypothesis.given(
    length=strategies.integers(0, 60),
    world_size=strategies.integers(1, 5),
    batch_size=strategies.integers(1, 7),
    drop_last=strategies.booleans(),
    shuffle=strategies.booleans(),
)
def test_processes_share_each_epoch(
    *, length: int, world_size: int, batch_size: int, drop_last: bool, shuffle: bool
) -> None:
    order = Shuffled(length) if shuffle else Sequential(length)
    batches = share(order, batch_size, world_size, drop_last=drop_last)
    taken = taken_by(batches)
    sizes = [[len(batch.indices) for batch in of_rank] for of_rank in batches]
    together = world_size * batch_size
    if drop_last:
        assert len(taken) == len(set(taken)) == length // together * together
        assert sizes == [[batch_size] * (length // together)] * world_size
    elif shuffle:
        # Processes wait for each other at every batch: each must have as many.
        left_out = rest if (rest := length % together) < world_size else 0
        assert len(taken) == len(set(taken)) == length - left_out
        assert len({len(of_rank) for of_rank in sizes}) == 1
        assert all(0 < size <= batch_size for of_rank in sizes for size in of_rank)
    else:
        assert taken == list(range(length))
        assert all(0 < size <= batch_size for of_rank in sizes for size in of_rank)


def test_one_process_sees_what_many_see_together() -> None:
    alone = ResumableBatchSampler(Shuffled(96), 8, seed=3)
    pair = [ResumableBatchSampler(Shuffled(96), 4, seed=3) for _ in range(2)]
    for rank, sampler in enumerate(pair):
        sampler.distribute(rank, 2)
    together = [sorted(first.indices + second.indices) for first, second in zip(*pair, strict=True)]
    assert together == [sorted(batch.indices) for batch in alone]


ORDERS = [
    pytest.param(Shuffled(100), id="shuffled"),
    pytest.param(Shuffled(100, 30), id="subset"),
    pytest.param(Weighted(range(100), 60), id="weighted"),
    pytest.param(Balanced([number % 7 == 0 for number in range(100)], 55), id="balanced"),
]


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("world_size", [1, 3])
def test_any_epoch_can_be_entered_at_any_batch_by_all_processes(order: Order, world_size: int) -> None:
    whole = share(order, 4, world_size, epoch=5)
    for position in range(len(whole[0]) + 1):
        rest = share(order, 4, world_size, epoch=5, position=position)
        assert rest == [of_rank[position:] for of_rank in whole]


@pytest.mark.parametrize("order", ORDERS)
def test_many_processes_take_together_what_one_takes_alone(order: Order) -> None:
    (alone,) = share(order, 4, 1)
    pair = share(order, 2, 2)
    together = [sorted(one.indices + other.indices) for one, other in zip(*pair, strict=True)]
    assert together == [sorted(batch.indices) for batch in alone][: len(together)]
    assert len(alone) - len(together) == (order.samples % 4 == 1)


@hypothesis.given(
    group_sizes=strategies.lists(strategies.integers(1, 20), min_size=1, max_size=5),
    world_size=strategies.integers(1, 4),
    batch_size=strategies.integers(1, 6),
    drop_last=strategies.booleans(),
    shuffle=strategies.booleans(),
    epoch=strategies.integers(0, 3),
)
def test_a_step_takes_samples_of_one_group(
    *, group_sizes: list[int], world_size: int, batch_size: int, drop_last: bool, shuffle: bool, epoch: int
) -> None:
    groups = [f"group-{number}" for number, size in enumerate(group_sizes) for _ in range(size)]
    random.Random(0).shuffle(groups)
    order = Shuffled(len(groups)) if shuffle else Sequential(len(groups))
    batches = share(order, batch_size, world_size, drop_last=drop_last, groups=groups, epoch=epoch)

    together = batch_size * world_size
    for number in {batch.number for of_rank in batches for batch in of_rank}:
        step = [batch for of_rank in batches for batch in of_rank if batch.number == number]
        assert len({groups[index] for batch in step for index in batch.indices}) == 1
        assert max(len(batch.indices) for batch in step) - min(len(batch.indices) for batch in step) <= 1
    taken = taken_by(batches)
    assert len(set(taken)) == len(taken)
    smallest = together if drop_last else world_size if shuffle else 1
    sizes = {group: groups.count(group) for group in groups}
    left_out = [size % together if size % together < smallest else 0 for size in sizes.values()]
    assert len(taken) == len(groups) - sum(left_out)
    if shuffle or drop_last:
        assert len({len(of_rank) for of_rank in batches}) == 1
    for position in (1, len(batches[0]) // 2):
        rest = share(order, batch_size, world_size, drop_last=drop_last, groups=groups, epoch=epoch, position=position)
        assert rest == [[batch for batch in of_rank if batch.number >= position] for of_rank in batches]


def test_groups_take_turns_at_random_and_their_samples_change_company() -> None:
    groups = ["wide" if number % 3 else "tall" for number in range(90)]
    epochs = [share(Shuffled(90), 6, 1, groups=groups, epoch=epoch)[0] for epoch in range(2)]
    for batches in epochs:
        turns = [groups[batch.indices[0]] for batch in batches]
        assert (turns.count("wide"), turns.count("tall")) == (10, 5)
        assert turns != sorted(turns, reverse=True)
    companies = [{frozenset(batch.indices) for batch in batches} for batches in epochs]
    assert not companies[0] & companies[1]


def test_without_shuffling_groups_come_in_the_order_of_the_samples() -> None:
    batches = share(Sequential(7), 2, 1, groups=["a", "b", "a", "a", "c", "b", "a"])[0]
    assert [batch.indices for batch in batches] == [[0, 2], [1, 5], [3, 6], [4]]


def test_a_sample_that_comes_again_says_how_often_it_has_come() -> None:
    (batches,) = share(Weighted([1, 3], 4), 2, 1)
    seen: list[int] = []
    for batch in batches:
        for index, repetition in zip(batch.indices, batch.repetitions, strict=True):
            assert repetition == seen.count(index)
            seen.append(index)
    assert sorted(seen) == [0, 1, 1, 1]
    assert share(Shuffled(4), 4, 1)[0][0].repetitions == []


def test_groups_that_do_not_fit_are_refused() -> None:
    with pytest.raises(UsageError, match=r"^there are 2 groups and 3 samples: each needs one\.$"):
        ResumableBatchSampler(Shuffled(3), 2, seed=0, groups="ab")
    for order in (Weighted([1, 1, 1]), Shuffled(3, 2)):
        with pytest.raises(UsageError, match=r"^grouped batches need an order that takes each sample once"):
            ResumableBatchSampler(order, 2, seed=0, groups="aab")
