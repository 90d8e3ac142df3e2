"""What results over seeds tell, and what they do not.

The statistics are those that Agarwal et al., "Deep reinforcement learning at the edge of the statistical precipice"
(NeurIPS 2021), recommend for few runs: interval estimates and the interquartile mean. Tests are permutation tests,
which assume nothing about the distribution; several of them are corrected after Holm (1979).
"""

import math
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

FEWEST: Final = 3
"""Seeds below which nothing is claimed."""
RESAMPLES: Final = 9_999
LARGEST: Final = sys.float_info.max
"""What a store keeps for infinity."""
SEED: Final = 0
"""The same runs give the same table."""


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """What several values tell about what they were drawn from."""

    n: int
    mean: float
    deviation: float | None
    """The standard deviation of the values, with n - 1; None for fewer than two."""
    interval: tuple[float, float] | None
    """A bootstrap confidence interval of the mean; None for fewer than three values."""
    interquartile_mean: float
    """The mean of the middle half."""


def is_finite(value: float) -> bool:
    """Tell whether a value of a metric is a number; a store keeps the largest one for infinity."""
    return abs(value) < LARGEST  # NaN is not


def estimate(values: Sequence[float], confidence: float = 0.95) -> Estimate:
    """Estimate what values were drawn from.

    :param values: Finite numbers, at least one.
    :param confidence: How often such an interval holds the true mean.
    :return: The estimate.
    """
    import numpy as np
    from scipy import stats

    sample = np.asarray(values, float)
    return Estimate(
        n=len(sample),
        mean=float(sample.mean()),
        deviation=float(sample.std(ddof=1)) if len(sample) > 1 else None,
        interval=_bootstrap(sample.tolist(), confidence) if len(sample) >= FEWEST else None,
        interquartile_mean=float(stats.trim_mean(sample, 0.25)),
    )


def _bootstrap(values: list[float], confidence: float) -> tuple[float, float]:
    """Bias-corrected and accelerated, after Efron (1987)."""
    import numpy as np
    from scipy import stats

    if len(set(values)) == 1:
        return values[0], values[0]
    found = stats.bootstrap(
        (values,), np.mean, confidence_level=confidence, n_resamples=RESAMPLES, rng=np.random.default_rng(SEED)
    ).confidence_interval
    return float(found.low), float(found.high)


def find_p_value(first: Sequence[float], second: Sequence[float], *, paired: bool = False) -> float:
    """Test whether the means of two samples differ by more than chance, from both sides.

    All permutations are tried where they are no more than ten thousand, else as many random ones.

    :param first: Values of the one.
    :param second: Values of the other; in the same order, if paired.
    :param paired: Whether the values belong together in pairs, as those of the same fold do.
    :return: The p-value.
    """
    import numpy as np
    from scipy import stats

    found = stats.permutation_test(
        (np.asarray(first, float), np.asarray(second, float)),
        lambda one, other, axis: np.mean(one, axis=axis) - np.mean(other, axis=axis),
        permutation_type="samples" if paired else "independent",
        vectorized=True,
        n_resamples=RESAMPLES,
        rng=np.random.default_rng(SEED),
    )
    return float(found.pvalue)


def find_smallest_p(first: int, second: int, *, paired: bool = False) -> float:
    """Return the smallest p-value that :func:`find_p_value` has for samples of a size, however far they are apart.

    :param first: The size of the one.
    :param second: The size of the other.
    :param paired: Whether they are paired.
    :return: The p-value.
    """
    permutations = 2**first if paired else math.comb(first + second, first)
    return 2 / min(permutations, RESAMPLES + 1)


def correct(p_values: Sequence[float]) -> list[float]:
    """Correct the p-values of several tests, so that all of them together are rarely wrong (Holm 1979).

    :param p_values: One a test.
    :return: The corrected values, in the same order.
    """
    corrected = [0.0] * len(p_values)
    largest = 0.0
    for rank, index in enumerate(sorted(range(len(p_values)), key=p_values.__getitem__)):
        largest = max(largest, min(1.0, (len(p_values) - rank) * p_values[index]))
        corrected[index] = largest
    return corrected
