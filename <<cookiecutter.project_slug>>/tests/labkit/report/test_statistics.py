import itertools
import math

import numpy as np
import pytest

from labkit.report.statistics import Estimate, correct, estimate, find_p_value, find_smallest_p


class TestEstimate:
    def test_of_one_value_nothing_is_known_but_itself(self) -> None:
        assert estimate([0.5]) == Estimate(n=1, mean=0.5, deviation=None, interval=None, interquartile_mean=0.5)

    def test_two_values_have_a_deviation_and_no_interval(self) -> None:
        found = estimate([1.0, 3.0])
        assert (found.mean, found.deviation, found.interval) == (2.0, pytest.approx(math.sqrt(2)), None)

    def test_equal_values_leave_no_doubt(self) -> None:
        assert estimate([0.9, 0.9, 0.9]).interval == (0.9, 0.9)

    @pytest.mark.parametrize(
        ("values", "mean"),
        [([0.0, 10.0, 12.0, 100.0], 11.0), ([0.0, 1.0, 2.0, 6.0, 100.0], 3.0), ([5.0, 1.0, 3.0], 3.0)],
    )
    def test_the_interquartile_mean_is_that_of_the_middle_half(self, values: list[float], mean: float) -> None:
        assert estimate(values).interquartile_mean == mean

    def test_the_interval_is_the_same_each_time(self) -> None:
        assert estimate([1.0, 2.0, 4.0]) == estimate([1.0, 2.0, 4.0])

    def test_the_interval_holds_the_true_mean_as_often_as_it_says(self) -> None:
        generator = np.random.default_rng(seed := 11)
        held = 0
        for _ in range(100):
            low, high = estimate(generator.normal(3.0, 1.0, size=20).tolist(), 0.9).interval or (0.0, 0.0)
            held += low <= 3.0 <= high
        assert 80 <= held <= 97, f"seed {seed}"


class TestPermutationTest:
    @pytest.mark.parametrize(
        ("first", "second", "paired", "p_value"),
        [
            ([1, 2, 3], [4, 5, 6], False, 2 / 20),
            ([1, 2, 3, 4], [5, 6, 7, 8], False, 2 / 70),
            ([1, 2, 3], [4, 5, 6, 7], False, 2 / 35),
            ([1, 2, 3], [1, 2, 3], False, 1.0),
            ([1, 2, 3], [2, 4, 6], True, 2 / 8),
            ([1, 20, 300, 4000, 50000, 600000], [2, 21, 301, 4001, 50001, 600001], True, 2 / 64),
        ],
    )
    def test_it_counts_permutations(
        self, first: list[float], second: list[float], p_value: float, *, paired: bool
    ) -> None:
        assert find_p_value(first, second, paired=paired) == pytest.approx(p_value)
        assert find_p_value(second, first, paired=paired) == pytest.approx(p_value)
        assert find_smallest_p(len(first), len(second), paired=paired) <= p_value + 1e-12

    def test_it_agrees_with_counting_by_hand(self) -> None:
        first, second = [0.2, 1.4, 0.9, 3.1], [1.0, 2.2, 4.0, 3.3]
        pooled = [*first, *second]
        chosen = itertools.combinations(range(8), 4)
        differences = [
            sum(pooled[index] for index in one) - sum(pooled[index] for index in set(range(8)) - set(one))
            for one in chosen
        ]
        observed = sum(first) - sum(second)
        below = sum(difference <= observed + 1e-12 for difference in differences)
        assert find_p_value(first, second) == pytest.approx(2 * below / 70)

    def test_many_permutations_are_sampled(self) -> None:
        first, second = list(range(10)), list(range(100, 110))
        assert math.comb(20, 10) > 9_999
        assert find_p_value(first, second) == find_p_value(first, second) == find_smallest_p(10, 10) == 2 / 10_000

    def test_what_is_drawn_from_the_same_is_rarely_told_apart(self) -> None:
        generator = np.random.default_rng(seed := 5)
        found = [find_p_value(*generator.exponential(size=(2, 4)).tolist()) for _ in range(300)]
        # Of 70 permutations, p is at most 0.2 in at most 14.
        assert 35 <= sum(p_value <= 0.2 for p_value in found) <= 85, f"seed {seed}"


class TestCorrection:
    def test_it_is_that_of_holm(self) -> None:
        assert correct([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])

    def test_it_never_passes_one_and_keeps_the_order(self) -> None:
        assert correct([0.9, 0.5, 0.6]) == [1.0, 1.0, 1.0]
        assert correct([]) == []
        assert correct([0.2]) == [0.2]
