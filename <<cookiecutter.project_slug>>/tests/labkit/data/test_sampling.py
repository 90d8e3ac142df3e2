import hypothesis
import pytest
from hypothesis import strategies

from labkit.data.sampling import Batch, ResumableBatchSampler


def test_without_shuffling_batches_follow_the_order_of_the_samples() -> None:
    sampler = ResumableBatchSampler(5, 2, seed=0, shuffle=False)
    assert list(sampler) == [Batch(0, 0, [0, 1]), Batch(0, 1, [2, 3]), Batch(0, 2, [4])]
    assert len(sampler) == 3


def test_a_smaller_last_batch_can_be_left_out() -> None:
    sampler = ResumableBatchSampler(5, 2, seed=0, shuffle=False, drop_last=True)
    assert list(sampler) == [Batch(0, 0, [0, 1]), Batch(0, 1, [2, 3])]
    assert len(sampler) == 2


def test_the_order_never_changes_or_runs_could_not_be_repeated() -> None:
    sampler = ResumableBatchSampler(8, 8, seed=1, shuffle=True)
    assert sampler.order(0).tolist() == [7, 2, 5, 0, 1, 3, 4, 6]
    assert sampler.order(1).tolist() == [1, 3, 6, 4, 7, 5, 2, 0]


def test_the_order_depends_on_seed_and_epoch_only() -> None:
    def order(seed: int, epoch: int) -> list[int]:
        return ResumableBatchSampler(100, 7, seed=seed, shuffle=True).order(epoch).tolist()

    sampler = ResumableBatchSampler(100, 7, seed=1, shuffle=True)
    list(sampler)
    sampler.epoch = 3
    sampler.position = 5
    assert sampler.order(2).tolist() == order(1, 2)
    assert len({tuple(order(seed, epoch)) for seed in range(3) for epoch in range(3)}) == 9
    assert sorted(order(1, 2)) == list(range(100))


@pytest.mark.parametrize("position", [0, 1, 14])
def test_an_epoch_can_be_entered_at_any_batch(position: int) -> None:
    whole = ResumableBatchSampler(100, 7, seed=1, shuffle=True)
    rest = ResumableBatchSampler(100, 7, seed=1, shuffle=True)
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
    samplers = [
        ResumableBatchSampler(length, batch_size, seed=3, shuffle=shuffle, drop_last=drop_last)
        for _ in range(world_size)
    ]
    for rank, sampler in enumerate(samplers):
        sampler.distribute(rank, world_size)
    batches = [list(sampler) for sampler in samplers]
    taken = sorted(index for of_rank in batches for batch in of_rank for index in batch.indices)
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
    alone = ResumableBatchSampler(96, 8, seed=3, shuffle=True)
    pair = [ResumableBatchSampler(96, 4, seed=3, shuffle=True) for _ in range(2)]
    for rank, sampler in enumerate(pair):
        sampler.distribute(rank, 2)
    together = [sorted(first.indices + second.indices) for first, second in zip(*pair, strict=True)]
    assert together == [sorted(batch.indices) for batch in alone]
