"""Pictures: each a pure function from arrays to a figure."""

from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

COLOURS: Final = {"train": "C0", "validation": "C1", "test": "C2"}
"""A stage has the same colour in every panel."""

History = Mapping[str, tuple[Sequence[int], Sequence[float]]]


def plot_curves(history: History) -> Figure:
    """Plot the course of every metric, one panel a metric, its stages together.

    :param history: Steps and values by name, such as ``train/loss``; ``train/loss_step`` goes with it, thin.
    :return: The figure.
    """
    metrics = sorted({name.partition("/")[2].removesuffix("_step") for name in history})
    figure = Figure(figsize=(4.5 * max(len(metrics), 1), 3.5), layout="constrained")
    for place, metric in enumerate(metrics, start=1):
        axes = figure.add_subplot(1, len(metrics), place)
        for name, (steps, values) in sorted(history.items()):
            stage, _, rest = name.partition("/")
            colour = COLOURS.get(stage)
            if rest == metric:
                axes.plot(steps, values, label=stage, color=colour, marker="o" if len(steps) == 1 else None)
            elif rest == f"{metric}_step":
                axes.plot(steps, values, label=f"{stage}, each step", color=colour, linewidth=0.5, alpha=0.6, zorder=1)
        axes.set_xlabel("optimiser steps")
        axes.set_title(metric.replace("_", " "))
        axes.legend()
    return figure


def plot_confusion(counts: NDArray[np.integer], names: Sequence[str] | None = None) -> Figure:
    """Plot a confusion matrix: the colour is the share of the true class, the number the count.

    :param counts: How often a sample of the row's class was taken for one of the column's, ``(classes, classes)``.
    :param names: The classes' names; their numbers by default.
    :return: The figure.
    """
    classes = len(counts)
    names = names or [str(number) for number in range(classes)]
    totals = counts.sum(axis=1, keepdims=True)
    shares = np.divide(counts, totals, out=np.zeros(counts.shape), where=totals > 0)
    size = 1.5 + 0.45 * classes
    figure = Figure(figsize=(size + 1, size), layout="constrained")
    axes = figure.add_subplot()
    image = axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    for row, column in np.argwhere(counts > 0):
        colour = "white" if shares[row, column] > 1 / 2 else "black"
        axes.text(column, row, str(counts[row, column]), ha="center", va="center", color=colour)
    axes.set_xticks(range(classes), names)
    axes.set_yticks(range(classes), names)
    axes.set_xlabel("predicted class")
    axes.set_ylabel("true class")
    figure.colorbar(image, label="share of the true class")
    return figure
