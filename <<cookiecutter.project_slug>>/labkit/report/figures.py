"""Pictures: each a pure function from arrays to a figure."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, Literal

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from labkit.report.page.curve import summarise

COLOURS: Final = {"train": "C0", "validation": "C1", "test": "C2"}
"""A stage has the same colour in every panel."""

FEWEST_FOR_T_SNE: Final = 4

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
    totals = counts.sum(axis=1, keepdims=True)
    shares = np.divide(counts, totals, out=np.zeros(counts.shape), where=totals > 0)
    return _plot_matrix(shares, [[str(count) for count in row] for row in counts], counts > 0, names)


def plot_confusion_rates(counts: NDArray[np.integer], names: Sequence[str] | None = None) -> Figure:
    """Plot a confusion matrix of rates, each in percent of the true class: sizes of classes do not matter.

    :param counts: How often a sample of the row's class was taken for one of the column's, ``(classes, classes)``.
    :param names: The classes' names; their numbers by default.
    :return: The figure.
    """
    totals = counts.sum(axis=1, keepdims=True)
    shares = np.divide(counts, totals, out=np.zeros(counts.shape), where=totals > 0)
    return _plot_matrix(shares, [[f"{100 * share:.0f}" for share in row] for row in shares], shares > 0, names)


def compute_scores(counts: NDArray[np.integer]) -> dict[str, NDArray[np.float64]]:
    """Compute precision, recall and F1 of each class.

    :param counts: A confusion matrix with true classes as rows, ``(classes, classes)``.
    :return: Scores ``(classes,)`` by name; 0 where nothing was predicted, or nothing was there.
    """
    hits = np.diagonal(counts).astype(float)

    def divide(above: NDArray[np.float64], below: NDArray[Any]) -> NDArray[np.float64]:
        return np.divide(above, below, out=np.zeros(len(hits)), where=below > 0)

    predicted, actual = counts.sum(axis=0), counts.sum(axis=1)
    return {
        "precision": divide(hits, predicted),
        "recall": divide(hits, actual),
        "F1": divide(2 * hits, predicted + actual),
    }


def plot_scores(counts: NDArray[np.integer], names: Sequence[str] | None = None) -> Figure:
    """Plot precision, recall and F1 of each class, beside each other.

    :param counts: A confusion matrix with true classes as rows, ``(classes, classes)``.
    :param names: The classes' names; their numbers by default.
    :return: The figure.
    """
    scores = compute_scores(counts)
    places = np.arange(len(counts))
    figure = Figure(figsize=(2 + 0.6 * len(counts), 3.5), layout="constrained")
    axes = figure.add_subplot()
    for number, (name, values) in enumerate(scores.items()):
        axes.bar(places + 0.27 * (number - 1), values, width=0.25, label=name)
    axes.set_xticks(places, _name(len(counts), names))
    axes.set_ylim(0, 1)
    axes.set_xlabel("class")
    figure.legend(loc="outside upper center", ncols=len(scores), frameon=False)
    return figure


def plot_repetitions(curves: Mapping[str, Sequence[tuple[Sequence[int], Sequence[float]]]], metric: str) -> Figure:
    """Plot the learning curves of many runs: the mean, in it the standard deviation, and minimum and maximum.

    :param curves: For each configuration the steps and values of its runs.
    :param metric: What the values are.
    :return: The figure.
    """
    figure = Figure(figsize=(6.5, 4), layout="constrained")
    axes = figure.add_subplot()
    for number, (name, runs) in enumerate(curves.items()):
        summary = summarise([(np.asarray(steps, float), np.asarray(values, float)) for steps, values in runs])
        colour = f"C{number}"
        deviation = np.nan_to_num(summary.deviation)
        axes.fill_between(summary.steps, summary.minimum, summary.maximum, color=colour, alpha=0.12, linewidth=0)
        low, high = summary.mean - deviation, summary.mean + deviation
        axes.fill_between(summary.steps, low, high, color=colour, alpha=0.2, linewidth=0)
        axes.plot(summary.steps, summary.mean, color=colour, label=f"{name} (n = {len(runs)})")
    axes.set_xlabel("optimiser steps")
    axes.set_ylabel(metric)
    axes.legend()
    return figure


def plot_boundaries(
    predict: Callable[[NDArray[np.float64]], NDArray[np.floating]],
    points: NDArray[np.floating],
    classes: NDArray[np.integer],
    *,
    resolution: int = 200,
) -> Figure:
    """Plot where a model of a problem in two dimensions decides for which class, for any number of classes.

    :param predict: Maps points ``(points, 2)`` to logits or probabilities ``(points, classes)``.
    :param points: The samples, ``(samples, 2)``.
    :param classes: The class number of each, ``(samples,)``.
    :param resolution: How many points are tried along each axis.
    :return: The figure: areas in the colours of the classes, paler where the model is less sure, and the samples.
    """
    low, high = points.min(axis=0), points.max(axis=0)
    margin = 0.08 * np.maximum(high - low, 1e-9)
    xs, ys = (np.linspace(low[axis] - margin[axis], high[axis] + margin[axis], resolution) for axis in (0, 1))
    grid = np.stack(np.meshgrid(xs, ys), axis=-1).reshape(-1, 2)
    scores = np.asarray(predict(grid), float)
    exponents = np.exp(scores - scores.max(axis=1, keepdims=True))
    probabilities = exponents / exponents.sum(axis=1, keepdims=True)
    colours = choose_colours(max(scores.shape[1], int(classes.max(initial=0)) + 1))
    decided = probabilities.argmax(axis=1)
    sureness = probabilities.max(axis=1, keepdims=True)
    paleness = 0.75 - 0.5 * (sureness - 1 / scores.shape[1]) / (1 - 1 / scores.shape[1] + 1e-12)
    areas = (colours[decided] * (1 - paleness) + paleness).reshape(resolution, resolution, 3)
    figure = Figure(figsize=(5, 5), layout="constrained")
    axes = figure.add_subplot()
    extent = (float(xs[0]), float(xs[-1]), float(ys[0]), float(ys[-1]))
    axes.imshow(areas.clip(0, 1), origin="lower", extent=extent, aspect="auto", interpolation="bilinear")
    axes.scatter(points[:, 0], points[:, 1], c=colours[classes], s=14, edgecolors="white", linewidths=0.5)
    return figure


def choose_colours(count: int) -> NDArray[np.float64]:
    """Choose colours that can be told apart, for any number of classes.

    :param count: How many.
    :return: Red, green and blue from 0 to 1, ``(count, 3)``.
    """
    import matplotlib as mpl

    palette = mpl.colormaps["tab10" if count <= 10 else "tab20" if count <= 20 else "hsv"]  # noqa: PLR2004
    places = np.arange(count) if count <= 20 else np.linspace(0, 0.95, count)  # noqa: PLR2004  of the palettes
    return palette(places)[:, :3]


def embed(
    features: NDArray[np.floating],
    *,
    method: Literal["pca", "t-sne"] = "pca",
    dimensions: Literal[2, 3] = 2,
    seed: int = 0,
) -> NDArray[np.float64]:
    """Place samples in two or three dimensions, near each other where their features are.

    :param features: ``(samples, features)``.
    :param method: Principal components, or t-SNE (van der Maaten and Hinton, JMLR 2008).
    :param dimensions: How many.
    :param seed: For t-SNE, which draws.
    :return: Places, ``(samples, dimensions)``.
    """
    from sklearn.decomposition import PCA
    from sklearn.manifold import TSNE
    from threadpoolctl import threadpool_limits

    if method == "pca" or len(features) <= FEWEST_FOR_T_SNE:
        return PCA(dimensions, random_state=seed).fit_transform(features)
    perplexity = min(30.0, (len(features) - 1) / 3)
    t_sne = TSNE(dimensions, perplexity=perplexity, init="pca", random_state=seed)
    # So few samples take one thread a second; several wait for each other at each step, on a busy machine for long.
    with threadpool_limits(1):
        return t_sne.fit_transform(features)


def plot_embedding(
    places: NDArray[np.floating], classes: NDArray[np.integer], names: Sequence[str] | None = None
) -> Figure:
    """Plot samples where :func:`embed` placed them, in the colours of their classes.

    :param places: ``(samples, 2)`` or ``(samples, 3)``.
    :param classes: The class number of each, ``(samples,)``.
    :param names: The classes' names; their numbers by default.
    :return: The figure.
    """
    count = int(classes.max(initial=0)) + 1
    colours, shown = choose_colours(count), _name(count, names)
    figure = Figure(figsize=(6, 5), layout="constrained")
    axes: Any = figure.add_subplot(projection="3d" if places.shape[1] > 2 else None)  # noqa: PLR2004
    for number in np.unique(classes):
        own = places[classes == number]
        axes.scatter(*own.T, color=colours[number], s=10, label=shown[number])
    axes.set_xticks([])
    axes.set_yticks([])
    figure.legend(loc="outside right upper", frameon=False)
    return figure


def plot_distributions(values: Mapping[str, NDArray[np.floating]], title: str) -> Figure:
    """Plot how the values of tensors are distributed, such as those of weights, gradients or activations.

    :param values: Tensors of any shape by name, such as a module's; what is not finite is counted in the panel's title.
    :param title: What they are.
    :return: The figure, one panel a tensor.
    """
    columns = min(4, max(1, len(values)))
    rows = -(-len(values) // columns) or 1
    figure = Figure(figsize=(2.8 * columns, 2.1 * rows + 0.4), layout="constrained")
    figure.suptitle(title)
    for place, (name, tensor) in enumerate(values.items(), start=1):
        axes = figure.add_subplot(rows, columns, place)
        flat = np.asarray(tensor, float).ravel()
        finite = flat[np.isfinite(flat)]
        if len(finite):
            axes.stairs(*np.histogram(finite, bins=50), fill=True, color="C0")
        left_out = f", {len(flat) - len(finite)} not finite" if len(finite) < len(flat) else ""
        axes.set_title(f"{name}{left_out}", fontsize="small")
        axes.set_yticks([])
    return figure


def plot_most_wrong(
    images: NDArray[np.floating],
    probabilities: NDArray[np.floating],
    classes: NDArray[np.integer],
    *,
    count: int = 16,
    names: Sequence[str] | None = None,
) -> Figure:
    """Plot the samples that a model is surest of and yet wrong: those to which it gives their class the least.

    :param images: ``(samples, channels, height, width)``, values 0 to 1; one channel is grey, three are colours.
    :param probabilities: ``(samples, classes)``.
    :param classes: The true class numbers, ``(samples,)``.
    :param count: How many at most.
    :param names: The classes' names; their numbers by default.
    :return: The figure, the most wrong first.
    """
    shown_names = _name(probabilities.shape[1], names)
    chosen = find_most_wrong(probabilities, classes, count)
    columns = 8
    rows = max(1, -(-len(chosen) // columns))
    figure = Figure(figsize=(1.2 * columns, 1.6 * rows), layout="constrained")
    if not len(chosen):
        figure.text(0.5, 0.5, "none is wrong", ha="center", va="center")
    for place, index in enumerate(chosen.tolist(), start=1):
        axes = figure.add_subplot(rows, columns, place)
        image = np.moveaxis(images[index], 0, -1)
        axes.imshow(image.squeeze(-1) if image.shape[-1] == 1 else image, cmap="gray", vmin=0, vmax=1)
        taken = int(probabilities[index].argmax())
        sure = f"{100 * probabilities[index, taken]:.0f}%"
        axes.set_title(f"{shown_names[taken]} ({sure}),\nnot {shown_names[int(classes[index])]}", fontsize="x-small")
        axes.set_axis_off()
    return figure


def find_most_wrong(
    probabilities: NDArray[np.floating], classes: NDArray[np.integer], count: int
) -> NDArray[np.integer]:
    """Find the samples that are taken for another class, those first whose own class is the least probable.

    :param probabilities: ``(samples, classes)``.
    :param classes: The true class numbers, ``(samples,)``.
    :param count: How many at most.
    :return: Their indices.
    """
    own = np.take_along_axis(probabilities, classes[:, None], axis=1)[:, 0]
    wrong = np.flatnonzero(probabilities.argmax(axis=1) != classes)
    return wrong[np.argsort(own[wrong], kind="stable")][:count]


def _name(count: int, names: Sequence[str] | None) -> Sequence[str]:
    return names or [str(number) for number in range(count)]


def _plot_matrix(
    shares: NDArray[np.float64], texts: Sequence[Sequence[str]], shown: NDArray[np.bool_], names: Sequence[str] | None
) -> Figure:
    """Plot a matrix of classes: the colour is the share of the true class, and the text what it is given."""
    classes = len(shares)
    names = _name(classes, names)
    # In inches. A layout that is computed would take longer than the drawing, at every validation.
    side, left, bottom = 0.5 + 0.45 * classes, 0.6 + 0.09 * max(map(len, names)), 0.6
    width, height = left + side + 1.2, bottom + side + 0.2
    figure = Figure(figsize=(width, height))
    axes = figure.add_axes((left / width, bottom / height, side / width, side / height))
    bar = figure.add_axes(((left + side + 0.2) / width, bottom / height, 0.2 / width, side / height))
    image = axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    for row, column in np.argwhere(shown).tolist():
        colour = "white" if shares[row, column] > 1 / 2 else "black"
        axes.text(column, row, texts[row][column], ha="center", va="center", color=colour)
    axes.set_xticks(range(classes), names)
    axes.set_yticks(range(classes), names)
    axes.set_xlabel("predicted class")
    axes.set_ylabel("true class")
    figure.colorbar(image, cax=bar, label="share of the true class")
    return figure
