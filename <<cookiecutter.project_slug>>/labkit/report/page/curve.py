"""Curves of many runs: put together, and thinned out to what a screen can show."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, TypeAlias

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

POINTS: Final = 600
"""Of a curve on a page; a screen has hardly more columns of dots for one."""

Curve: TypeAlias = "tuple[NDArray[np.float64], NDArray[np.float64]]"
"""Steps, rising, and the values at them."""


@dataclass(frozen=True, kw_only=True)
class Summary:
    """Curves of repetitions in one, each ``(steps,)``; where a run has no value, the others count."""

    steps: "NDArray[np.float64]"
    mean: "NDArray[np.float64]"
    deviation: "NDArray[np.float64]"
    """With n - 1; not a number where there is one run only."""
    minimum: "NDArray[np.float64]"
    maximum: "NDArray[np.float64]"
    runs: "NDArray[np.int64]"
    """How many runs have a value."""


def summarise(curves: Sequence[Curve], points: int = POINTS) -> Summary:
    """Put the curves of several runs together.

    Between two steps of a run its values lie on a line; before its first and after its last step it has none.

    :param curves: Of each run.
    :param points: The most steps to keep.
    :return: The summary, at the steps that any run has, or at as many between the first and the last.
    """
    import numpy as np

    steps = np.unique(np.concatenate([steps for steps, _ in curves])) if curves else np.empty(0)
    if len(steps) > points:
        steps = np.linspace(steps[0], steps[-1], points)
    with_points = [curve for curve in curves if len(curve[0])]
    values = np.empty((len(with_points), len(steps)))
    for row, curve in zip(values, with_points, strict=True):
        row[:] = np.interp(steps, *curve, left=np.nan, right=np.nan)
    present = ~np.isnan(values)
    runs = present.sum(axis=0)
    total = np.where(present, values, 0.0).sum(axis=0)
    mean = np.divide(total, runs, out=np.full(len(steps), np.nan), where=runs > 0)
    squares = np.where(present, (values - mean) ** 2, 0.0).sum(axis=0)
    variance = np.divide(squares, runs - 1, out=np.full(len(steps), np.nan), where=runs > 1)
    return Summary(
        steps=steps,
        mean=mean,
        deviation=np.sqrt(variance),
        minimum=np.where(runs > 0, np.where(present, values, np.inf).min(axis=0, initial=np.inf), np.nan),
        maximum=np.where(runs > 0, np.where(present, values, -np.inf).max(axis=0, initial=-np.inf), np.nan),
        runs=runs,
    )


def thin(curve: Curve, points: int = POINTS) -> Curve:
    """Thin a curve out, and keep its peaks: of each stretch the smallest and the largest value.

    :param curve: The curve.
    :param points: The most points to keep.
    :return: A curve of points of the first.
    """
    import numpy as np

    steps, values = curve
    if len(steps) <= points:
        return curve
    kept = {0, len(steps) - 1}
    for stretch in np.array_split(np.arange(len(steps)), (points - 2) // 2):
        part = values[stretch]
        if not np.isnan(part).all():
            kept |= {int(stretch[np.nanargmin(part)]), int(stretch[np.nanargmax(part)])}
    chosen = sorted(kept)
    return steps[chosen], values[chosen]
