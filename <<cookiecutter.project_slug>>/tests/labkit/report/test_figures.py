import io

import numpy as np
import pytest
from matplotlib.figure import Figure

from labkit.report.figures import plot_confusion, plot_curves


def draw(figure: Figure) -> None:
    """Draw the figure, which is when much of what can go wrong does."""
    figure.savefig(io.BytesIO(), dpi=20)


def read_curves(figure: Figure) -> dict[str, dict[str, list[tuple[float, float]]]]:
    """Return the points of every line by the title of its panel and its label."""
    return {
        axes.get_title(): {
            str(line.get_label()): [(float(x), float(y)) for x, y in np.asarray(line.get_xydata())]
            for line in axes.get_lines()
        }
        for axes in figure.axes
    }


def test_each_metric_has_a_panel_and_each_stage_a_line_in_it() -> None:
    figure = plot_curves(
        {
            "train/loss_step": ([1, 2, 3, 4], [4.0, 3.0, 2.0, 1.0]),
            "train/loss": ([2, 4], [3.5, 1.5]),
            "validation/loss": ([2, 4], [5.0, 6.0]),
            "validation/top-1_accuracy": ([4], [0.5]),
        }
    )
    draw(figure)
    assert read_curves(figure) == {
        "loss": {
            "train": [(2, 3.5), (4, 1.5)],
            "train, each step": [(1, 4.0), (2, 3.0), (3, 2.0), (4, 1.0)],
            "validation": [(2, 5.0), (4, 6.0)],
        },
        "top-1 accuracy": {"validation": [(4, 0.5)]},
    }
    for axes in figure.axes:
        assert axes.get_xlabel() == "optimiser steps"
        legend = axes.get_legend()
        assert legend is not None
        assert [text.get_text() for text in legend.get_texts()] == [line.get_label() for line in axes.get_lines()]


def test_a_single_point_can_be_seen() -> None:
    figure = plot_curves({"test/loss": ([4], [0.5]), "train/loss": ([2, 4], [0.5, 0.25])})
    markers = {line.get_label(): line.get_marker() for line in figure.axes[0].get_lines()}
    assert markers == {"test": "o", "train": "None"}


def test_what_is_recorded_each_step_only_has_a_panel_too() -> None:
    figure = plot_curves({"train/learning_rate_step": ([1, 2], [0.1, 0.2])})
    draw(figure)
    assert read_curves(figure) == {"learning rate": {"train, each step": [(1, 0.1), (2, 0.2)]}}


def test_values_that_are_no_numbers_are_gaps() -> None:
    figure = plot_curves({"train/loss": ([1, 2, 3], [1.0, float("nan"), 3.0])})
    draw(figure)
    (line,) = figure.axes[0].get_lines()
    assert np.isnan(np.asarray(line.get_ydata(), dtype=float)).tolist() == [False, True, False]


def test_without_a_history_the_figure_is_empty() -> None:
    figure = plot_curves({})
    draw(figure)
    assert figure.axes == []


def test_a_confusion_matrix_shows_shares_as_colours_and_counts_as_numbers() -> None:
    figure = plot_confusion(np.array([[3, 1, 0], [0, 2, 0], [0, 0, 0]]), ["cat", "dog", "owl"])
    draw(figure)
    axes = figure.axes[0]
    (image,) = axes.get_images()
    # A class without a sample has no share of anything.
    assert np.asarray(image.get_array()).tolist() == [[0.75, 0.25, 0], [0, 1, 0], [0, 0, 0]]
    assert image.get_clim() == (0, 1)
    texts = {text.get_position(): text.get_text() for text in axes.texts}
    assert texts == {(0, 0): "3", (1, 0): "1", (1, 1): "2"}
    assert [label.get_text() for label in axes.get_xticklabels()] == ["cat", "dog", "owl"]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["cat", "dog", "owl"]
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("predicted class", "true class")


def test_numbers_can_be_read_on_their_colour() -> None:
    figure = plot_confusion(np.array([[9, 1], [1, 1]]))
    colours = {text.get_position(): text.get_color() for text in figure.axes[0].texts}
    assert colours == {(0, 0): "white", (1, 0): "black", (0, 1): "black", (1, 1): "black"}


@pytest.mark.parametrize("classes", [1, 2, 10, 60])
def test_any_number_of_classes_is_shown(classes: int) -> None:
    figure = plot_confusion(np.eye(classes, dtype=int) * 7)
    draw(figure)
    axes = figure.axes[0]
    assert [label.get_text() for label in axes.get_xticklabels()] == [str(number) for number in range(classes)]
    assert [text.get_text() for text in axes.texts] == ["7"] * classes
    assert {text.get_position() for text in axes.texts} == {(number, number) for number in range(classes)}
