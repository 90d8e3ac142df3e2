"""The pictures of what a task found out, whatever the task."""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Final

from labkit.report.figures import plot_confusion

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from torch import Tensor

PICTURES: Final[Mapping[str, Callable[..., "Figure"]]] = {"confusion": plot_confusion}
"""For a metric that is no number, what makes a picture of it."""


def plot_results(results: "Mapping[str, Tensor]") -> "dict[str, Figure]":
    """Plot the metrics that are no numbers, as far as there is a picture of them.

    :param results: Metrics by name.
    :return: Figures by the same names.
    """
    return {name: PICTURES[name](value.numpy()) for name, value in results.items() if name in PICTURES}
