"""Pictures of samples beside what a model made of them: each a pure function from arrays to a figure.

Images are ``(samples, channels, height, width)``, values 0 to 1; one channel is grey, three are colours.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from labkit.report.figures import choose_colours

if TYPE_CHECKING:
    from matplotlib.axes import Axes

CELL: Final = 1.1
"""The height of a picture, in inches."""
OPACITY: Final = 0.6
"""Of a mask over its image."""


def plot_reconstructions(images: NDArray[Any], reconstructions: NDArray[Any], *, count: int = 12) -> Figure:
    """Plot images, and below each what was made of its representation.

    :param images: What was put in.
    :param reconstructions: What came out, of the same shape.
    :param count: How many at most, from the first to the last at equal distances.
    :return: The figure.
    """
    chosen = _spread(len(images), count)
    panels = _make_panels(("input", "reconstruction"), len(chosen), images.shape)
    for column, index in enumerate(chosen):
        _show(panels[0][column], images[index])
        _show(panels[1][column], reconstructions[index])
    return panels[0][0].get_figure()


def plot_neighbours(
    images: NDArray[Any],
    vectors: NDArray[Any],
    classes: NDArray[np.integer],
    *,
    queries: int = 8,
    neighbours: int = 6,
) -> Figure:
    """Plot what a search by example finds: a query, then what is nearest to it, framed in red where it is wrong.

    :param images: What is searched with, and among.
    :param vectors: What each is compared by, ``(samples, features)``, of length 1.
    :param classes: The class number of each, ``(samples,)``.
    :param queries: How many searches at most, each by the first sample of another class.
    :param neighbours: How much each finds.
    :return: The figure, a row a search.
    """
    _, first = np.unique(classes, return_index=True)
    chosen = first[_spread(len(first), queries)].tolist()
    found = find_neighbours(vectors, neighbours)
    panels = _make_panels([""] * len(chosen), 1 + found.shape[1], images.shape)
    panels[0][0].set_title("query", fontsize="small")
    panels[0][1].set_title("nearest, and on", fontsize="small", loc="left")
    for row, query in zip(panels, chosen, strict=True):
        _show(row[0], images[query])
        for axes, index in zip(row[1:], found[query], strict=True):
            _show(axes, images[index])
            _frame(axes, "C2" if classes[index] == classes[query] else "C3")
    return panels[0][0].get_figure()


def find_neighbours(vectors: NDArray[Any], count: int) -> NDArray[np.integer]:
    """Find for each sample the others that are nearest to it, by the cosine.

    :param vectors: ``(samples, features)``, of length 1.
    :param count: How many for each; fewer where there are not so many.
    :return: Indices, the nearest first, ``(samples, count)``.
    """
    similarity = vectors @ vectors.T
    np.fill_diagonal(similarity, -np.inf)
    return np.argsort(-similarity, axis=1, kind="stable")[:, : min(count, len(vectors) - 1)]


def plot_masks(
    images: NDArray[Any],
    predicted: NDArray[np.integer],
    target: NDArray[np.integer],
    names: Sequence[str],
    *,
    count: int = 6,
) -> Figure:
    """Plot images, and over them the class of each pixel: the true one, and the one that was predicted.

    :param images: The images.
    :param predicted: Class numbers ``(samples, height, width)``; 0 is the background, which is left as it is.
    :param target: The true ones.
    :param names: The classes' names, the background's first.
    :param count: How many images at most, from the first to the last at equal distances.
    :return: The figure.
    """
    chosen = _spread(len(images), count)
    panels = _make_panels(("image", "true", "predicted"), len(chosen), images.shape)
    colours = choose_colours(len(names) - 1)
    for column, index in enumerate(chosen):
        _show(panels[0][column], images[index])
        for row, masks in ((1, target), (2, predicted)):
            _show(panels[row][column], images[index])
            _cover(panels[row][column], masks[index], colours)
    figure = panels[0][0].get_figure()
    handles = [figure.gca().scatter([], [], color=colour, marker="s") for colour in colours]
    figure.legend(handles, names[1:], loc="outside right upper", frameon=False)
    return figure


def _spread(samples: int, count: int) -> list[int]:
    """Choose indices at equal distances, from the first to the last."""
    return np.linspace(0, samples - 1, min(count, samples)).round().astype(int).tolist()


def _make_panels(titles: Sequence[str], columns: int, shape: tuple[int, ...]) -> list[list[Any]]:
    """Make rows of empty pictures in the proportions of images, the first of each row with its title."""
    width = CELL * shape[-1] / shape[-2]
    figure = Figure(figsize=(width * columns + 1, CELL * len(titles) + 0.3), layout="constrained")
    panels = figure.subplots(len(titles), columns, squeeze=False)
    for axes in panels.flat:
        axes.set_xticks([])
        axes.set_yticks([])
    for row, title in zip(panels, titles, strict=True):
        row[0].set_ylabel(title, fontsize="small")
    return panels.tolist()


def _show(axes: "Axes", image: NDArray[Any]) -> None:
    last = np.moveaxis(image, 0, -1)
    axes.imshow(last.squeeze(-1) if last.shape[-1] == 1 else last, cmap="gray", vmin=0, vmax=1)


def _frame(axes: "Axes", colour: str) -> None:
    for spine in axes.spines.values():
        spine.set(color=colour, linewidth=2)


def _cover(axes: "Axes", mask: NDArray[np.integer], colours: NDArray[np.float64]) -> None:
    """Lay the colour of each pixel's class over an image; nothing over the background."""
    layer = np.zeros((*mask.shape, 4))
    inside = mask > 0
    layer[inside, :3] = colours[mask[inside] - 1]
    layer[inside, 3] = OPACITY
    axes.imshow(layer)
