import math
from collections import Counter
from fractions import Fraction

import hypothesis
import pytest
import torch
from hypothesis import strategies

from labkit.command import UsageError
from labkit.data.order import Balanced, Order, Sequential, Shuffled, Weighted, group_by_aspect_ratio

SEEDS = strategies.integers(0, 2**32 - 1)


def count(order: Order, seed: int, epochs: range) -> Counter[int]:
    """Count how often each sample is taken."""
    return Counter(index for epoch in epochs for index in order.draw(seed, epoch).tolist())


def test_the_order_never_changes_or_runs_could_not_be_repeated() -> None:
    assert Shuffled(8).draw(1, 0).tolist() == [7, 2, 5, 0, 1, 3, 4, 6]
    assert Shuffled(8).draw(1, 1).tolist() == [1, 3, 6, 4, 7, 5, 2, 0]
    assert Shuffled(8, 4).draw(1, 3).tolist() == [7, 5, 2, 0]
    assert Weighted([1, 2, 5]).draw(1, 0).tolist() == [2, 0, 2]
    assert Balanced("aaaaabbc").draw(1, 0).tolist() == [1, 7, 6, 7, 2, 5, 0, 7]


def test_without_shuffling_samples_come_as_they_are() -> None:
    assert Sequential(4).draw(1, 2).tolist() == [0, 1, 2, 3]


@pytest.mark.parametrize(
    "order", [Shuffled(50), Shuffled(50, 20), Weighted(range(1, 51)), Balanced([number % 3 for number in range(50)])]
)
def test_the_order_depends_on_seed_and_epoch_only(order: Order) -> None:
    orders = {(seed, epoch): order.draw(seed, epoch).tolist() for seed in range(3) for epoch in range(3)}
    torch.rand(1)
    assert orders[1, 2] == order.draw(1, 2).tolist()
    assert len(set(map(tuple, orders.values()))) == 9


@hypothesis.given(length=strategies.integers(1, 40), seed=SEEDS, epoch=strategies.integers(0, 50))
def test_each_sample_comes_once(length: int, seed: int, epoch: int) -> None:
    assert sorted(Shuffled(length).draw(seed, epoch).tolist()) == list(range(length))


@hypothesis.given(length=strategies.integers(1, 40), seed=SEEDS, data=strategies.data())
def test_short_epochs_take_no_sample_twice_before_a_permutation_is_used_up(
    length: int, seed: int, data: strategies.DataObject
) -> None:
    samples = data.draw(strategies.integers(1, length))
    order = Shuffled(length, samples)
    epochs = length // samples
    taken = count(order, seed, range(3 * epochs, 4 * epochs))
    assert sum(taken.values()) == epochs * samples
    assert set(taken.values()) == {1}


@hypothesis.given(
    weights=strategies.lists(strategies.integers(0, 1000), min_size=1, max_size=30).filter(any),
    samples=strategies.integers(1, 100),
    seed=SEEDS,
    epoch=strategies.integers(0, 5),
)
def test_a_sample_is_taken_as_often_as_its_weight_says_to_within_one(
    weights: list[int], samples: int, seed: int, epoch: int
) -> None:
    taken = count(Weighted(weights, samples), seed, range(epoch, epoch + 1))
    assert sum(taken.values()) == samples
    for index, weight in enumerate(weights):
        share = Fraction(weight * samples, sum(weights))
        assert math.floor(share) <= taken[index] <= math.ceil(share)


@pytest.mark.parametrize("weight", [5e-324, 1e-300, 0.1, 1e300])
def test_equal_weights_take_each_sample_once_however_large_they_are(weight: float) -> None:
    assert sorted(Weighted([weight] * 1000).draw(3, 0).tolist()) == list(range(1000))


def test_weights_may_lie_far_apart() -> None:
    assert count(Weighted([1e-9, 1, 1e9], 1000), 0, range(100)) == {2: 100_000}
    assert count(Weighted([1, 10**6], 1000), 0, range(5000))[0] == pytest.approx(5, abs=8)


def test_over_many_epochs_shares_are_met_without_a_bias() -> None:
    # Each count of an epoch is its share rounded up or down; the chance of either is what is tested.
    weights = [0.3, 0.7, 1.1, 2.9]
    epochs = 4000
    taken = count(Weighted(weights, 3), 5, range(epochs))
    for index, weight in enumerate(weights):
        share = 3 * weight / sum(weights)
        deviation = math.sqrt(epochs * (share % 1) * (1 - share % 1))
        assert abs(taken[index] - epochs * share) < 4 * deviation


def test_heavy_samples_are_spread_over_the_epoch() -> None:
    order = Weighted([1] * 900 + [9] * 100).draw(0, 0)
    heavy = (order >= 900).reshape(10, 100).sum(dim=1).tolist()
    assert sum(heavy) == 500
    assert min(heavy) > 30
    assert max(heavy) < 70


@pytest.mark.parametrize(
    ("weights", "sentence"),
    [
        ([1, -2], "the weight of sample 1 is -2.0: give finite ones from 0 up."),
        ([math.nan], "the weight of sample 0 is nan: give finite ones from 0 up."),
        ([0, 0], "the sum of the weights is 0.0: give weights with a finite sum above 0."),
        ([], "the sum of the weights is 0.0: give weights with a finite sum above 0."),
        ([1e308, 1e308], "the sum of the weights is inf: give weights with a finite sum above 0."),
    ],
)
def test_weights_that_say_nothing_are_refused(weights: list[float], sentence: str) -> None:
    with pytest.raises(UsageError) as caught:
        Weighted(weights)
    assert str(caught.value) == sentence


@hypothesis.given(
    labels=strategies.lists(strategies.integers(0, 5), min_size=1, max_size=40),
    samples=strategies.integers(1, 60),
    seed=SEEDS,
    epochs=strategies.integers(1, 6),
)
def test_classes_and_their_samples_are_taken_equally_often_to_within_one(
    labels: list[int], samples: int, seed: int, epochs: int
) -> None:
    order = Balanced(labels, samples)
    classes = set(labels)
    for epoch in range(epochs):
        drawn = [labels[index] for index in order.draw(seed, epoch).tolist()]
        assert len(drawn) == samples
        for start in range(0, samples, len(classes)):
            # Each round holds every class once; the last one may be short.
            of_round = drawn[start : start + len(classes)]
            assert len(set(of_round)) == len(of_round)
    taken = count(order, seed, range(epochs))
    of_class = Counter(labels[index] for index in taken.elements())
    for label in classes:
        members = [taken[index] for index, each in enumerate(labels) if each == label]
        assert of_class[label] in {
            math.floor(epochs * samples / len(classes)),
            math.ceil(epochs * samples / len(classes)),
        }
        assert max(members) - min(members) <= 1


def test_an_epoch_can_take_more_or_fewer_samples_than_there_are() -> None:
    labels = ["common"] * 90 + ["rare"] * 10
    taken = count(Balanced(labels, 400), 0, range(1))
    assert Counter(taken[index] for index in range(90)) == {2: 70, 3: 20}
    assert {taken[index] for index in range(90, 100)} == {20}
    taken = count(Balanced(labels, 10), 0, range(1))
    assert sum(taken[index] for index in range(90)) == 5
    assert set(taken.values()) == {1}
    with pytest.raises(UsageError, match=r"^an epoch of 0 samples cannot be: it takes at least 1\.$"):
        Balanced(labels, 0)
    with pytest.raises(UsageError, match=r"^an epoch of 101 samples cannot be had of 100, each at most once\.$"):
        Shuffled(100, 101)


def test_images_are_grouped_by_the_nearest_aspect_ratio() -> None:
    sizes = [(100, 50), (100, 99), (50, 100), (100, 71), (100, 70), (10, 1000)]
    assert group_by_aspect_ratio(sizes, [0.5, 1, 2]) == [0, 1, 2, 1, 0, 2]
    for ratios in ([], [0.0, 1.0]):
        with pytest.raises(UsageError, match="give at least one, all above 0"):
            group_by_aspect_ratio(sizes, ratios)
