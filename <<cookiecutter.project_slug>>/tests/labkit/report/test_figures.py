import io
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from labkit.report.figures import (
    choose_colours,
    compute_scores,
    embed,
    find_most_wrong,
    plot_boundaries,
    plot_confusion,
    plot_confusion_rates,
    plot_curves,
    plot_distributions,
    plot_embedding,
    plot_most_wrong,
    plot_repetitions,
    plot_scores,
)
from labkit.report.projector import write_projection


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


COUNTS = np.array([[8, 2, 0], [1, 3, 0], [0, 0, 0]])


def read_texts(figure: Figure) -> list[str]:
    return [text.get_text() for text in figure.axes[0].texts]


def test_rates_are_of_the_true_class_and_an_absent_class_has_none() -> None:
    figure = plot_confusion_rates(COUNTS)
    draw(figure)
    assert read_texts(figure) == ["80", "20", "25", "75"]


def test_precision_recall_and_f1_are_of_each_class() -> None:
    scores = compute_scores(COUNTS)
    assert scores["precision"].tolist() == pytest.approx([8 / 9, 3 / 5, 0])
    assert scores["recall"].tolist() == pytest.approx([0.8, 0.75, 0])
    assert scores["F1"].tolist() == pytest.approx([16 / 19, 6 / 9, 0])
    figure = plot_scores(COUNTS, ["a", "b", "c"])
    draw(figure)
    assert [bar.get_height() for bar in figure.axes[0].patches if isinstance(bar, Rectangle)] == pytest.approx(
        [value for values in scores.values() for value in values]
    )


def test_many_runs_are_a_mean_in_bands() -> None:
    figure = plot_repetitions({"a": [([1, 2], [0.0, 2.0]), ([1, 2], [2.0, 4.0])]}, "loss")
    draw(figure)
    (line,) = figure.axes[0].get_lines()
    assert np.asarray(line.get_ydata()).tolist() == [1.0, 3.0]
    outer = figure.axes[0].collections[0].get_paths()[0].vertices
    assert (np.asarray(outer)[:, 1].min(), np.asarray(outer)[:, 1].max()) == (0.0, 4.0)


@pytest.mark.parametrize("classes", [2, 3, 7, 25])
def test_boundaries_are_drawn_for_any_number_of_classes(classes: int) -> None:
    """The true boundaries of classes that are stripes: each pixel has the colour of its stripe."""
    points = np.stack([np.repeat(np.arange(classes) + 0.5, 4), np.tile(np.arange(4.0), classes)], axis=1)
    targets = np.repeat(np.arange(classes), 4)

    def predict(places: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        return -50 * (places[:, :1] - np.arange(classes) - 0.5) ** 2

    figure = plot_boundaries(predict, points, targets, resolution=20 * classes)
    draw(figure)
    image = np.asarray(figure.axes[0].images[0].get_array())
    left, right, *_ = figure.axes[0].images[0].get_extent()
    for number in range(classes):
        column = round((number + 0.5 - left) / (right - left) * (image.shape[1] - 1))
        expected = choose_colours(classes)[number] * 0.75 + 0.25
        assert image[0, column] == pytest.approx(expected, abs=0.02), number
    assert len(np.unique(choose_colours(classes).round(3), axis=0)) == classes


@pytest.mark.parametrize("method", ["pca", "t-sne"])
@pytest.mark.parametrize("dimensions", [2, 3])
def test_an_embedding_keeps_together_what_is_alike(method: Literal["pca", "t-sne"], dimensions: Literal[2, 3]) -> None:
    generator = np.random.default_rng(1)
    targets = np.repeat([0, 1], 20)
    places = embed(generator.normal(size=(40, 8)) + 20 * targets[:, None], method=method, dimensions=dimensions)
    assert places.shape == (40, dimensions)
    centres = np.stack([places[targets == number].mean(axis=0) for number in (0, 1)])
    nearest = np.linalg.norm(places[:, None] - centres, axis=2).argmin(axis=1)
    assert nearest.tolist() == targets.tolist()
    draw(plot_embedding(places, targets))


def test_a_distribution_leaves_out_what_is_no_number_and_says_so() -> None:
    figure = plot_distributions({"a": np.array([[0.0, 1.0]]), "b": np.array([np.nan, np.inf, 1.0])}, "weights")
    draw(figure)
    assert [axes.get_title() for axes in figure.axes] == ["a", "b, 2 not finite"]


def test_the_most_wrong_are_those_whose_class_is_least_probable() -> None:
    probabilities = np.array([[0.9, 0.1], [0.6, 0.4], [0.2, 0.8], [0.99, 0.01]])
    targets = np.array([1, 1, 1, 1])
    assert find_most_wrong(probabilities, targets, 2).tolist() == [3, 0]
    figure = plot_most_wrong(np.zeros((4, 1, 2, 2)), probabilities, targets, count=2, names=["cat", "dog"])
    draw(figure)
    assert [axes.get_title() for axes in figure.axes] == ["cat (99%),\nnot dog", "cat (90%),\nnot dog"]
    draw(plot_most_wrong(np.zeros((1, 3, 2, 2)), np.array([[0.0, 1.0]]), np.array([1])))


def test_the_projector_of_tensorboard_gets_its_files(tmp_path: Path) -> None:
    write_projection(tmp_path / "projector", np.array([[1.0, 2.5], [3.0, 4.0]]), ["a\tb", "c"])
    assert (tmp_path / "projector" / "features.tsv").read_text() == "1\t2.5\n3\t4\n"
    assert (tmp_path / "projector" / "classes.tsv").read_text() == "a b\nc\n"
    assert 'tensor_path: "features.tsv"' in (tmp_path / "projector" / "projector_config.pbtxt").read_text()
