import io

import numpy as np
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure

from labkit.report.figures import choose_colours
from labkit.report.gallery import find_neighbours, plot_masks, plot_neighbours, plot_reconstructions

IMAGES = np.arange(5)[:, None, None, None] / 4 * np.ones((5, 1, 2, 3))
"""Five images, from black to white."""


def draw(figure: Figure) -> None:
    figure.savefig(io.BytesIO(), dpi=20)


def read_greys(figure: Figure) -> list[float]:
    """Return the grey of the picture at the bottom of each panel that has one."""
    return [float(np.asarray(axes.get_images()[0].get_array()).mean()) for axes in figure.axes if axes.get_images()]


def test_below_each_image_is_what_was_made_of_it() -> None:
    figure = plot_reconstructions(IMAGES, 1 - IMAGES, count=3)
    draw(figure)
    assert read_greys(figure) == [0, 0.5, 1, 1, 0.5, 0]
    assert [axes.get_ylabel() for axes in figure.axes] == ["input", "", "", "reconstruction", "", ""]


def test_neighbours_are_nearest_first_and_nobody_is_its_own() -> None:
    angles = np.radians([0, 10, 25, 90, 94])
    vectors = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    assert find_neighbours(vectors, 2).tolist() == [[1, 2], [0, 2], [1, 0], [4, 2], [3, 2]]
    assert find_neighbours(vectors, 9).shape == (5, 4)


def test_what_a_search_finds_is_framed_by_whether_it_is_right() -> None:
    angles = np.radians([0, 10, 25, 90, 94])
    vectors = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    figure = plot_neighbours(IMAGES, vectors, np.array([0, 0, 1, 1, 1]), queries=2, neighbours=4)
    draw(figure)
    assert read_greys(figure) == [0, 0.25, 0.5, 0.75, 1, 0.5, 0.25, 0, 0.75, 1]
    found = [axes for place, axes in enumerate(figure.axes) if place % 5]
    right = [axes.spines["top"].get_edgecolor() == to_rgba("C2") for axes in found]
    assert right == [True, False, False, False, False, False, True, True]


def test_masks_cover_all_but_the_background_in_the_colours_of_the_classes() -> None:
    target = np.array([[[0, 1, 2], [0, 0, 2]]])
    figure = plot_masks(IMAGES[:1], np.zeros_like(target), target, ["background", "one", "two"])
    draw(figure)
    _, true, predicted = (axes.get_images() for axes in figure.axes)
    layer = np.asarray(true[1].get_array())
    assert (layer[..., 3] > 0).tolist() == (target[0] > 0).tolist()
    assert np.array_equal(layer[0, 1:, :3], choose_colours(2))
    assert not np.asarray(predicted[1].get_array())[..., 3].any()
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == ["one", "two"]
