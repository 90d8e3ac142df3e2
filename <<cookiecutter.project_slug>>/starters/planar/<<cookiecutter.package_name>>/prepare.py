"""Prepare the data: `prepare --help`."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from labkit.tracking.entry_point import entry_point
from labkit.tracking.run import Run

from .distribution import Distribution, Points, draw_points

if TYPE_CHECKING:
    from labkit.data.split import Split


@entry_point
def prepare(
    run: Run,
    *,
    distribution: Distribution = "spiral",
    folder: Path | None = None,
    push: str | None = None,
) -> None:
    """Prepare points: a table of them, and folds for cross-validation.

    Examples: prepare --distribution donut, prepare --push s3://bucket/spiral

    :param distribution: How classes lie in the plane.
    :param folder: Where the points go; the distribution's name in DATA_PATH by default.
    :param push: An address in the bucket to send them to as well.
    """
    # Imported here, so that `prepare --help` answers at once.
    from functools import partial

    from labkit.data.pipeline import Pipeline
    from labkit.tracking.preparation import keep_data

    environment = run.environment
    target = folder or (environment.data_path or environment.project_path / "data") / distribution
    pipeline = Pipeline(extract=partial(draw_points, distribution), transform=add_folds, load=partial(write, target))
    keep_data(run, pipeline(), push)


def add_folds(points: Points) -> "tuple[Points, Split]":
    """Transform: say which points are in which part."""
    from .data import fold_points

    return points, fold_points(points)


def write(folder: Path, prepared: "tuple[Points, Split]") -> Path:
    """Load: write ``points.csv`` and ``split.json``, both or nothing.

    :param folder: Where they go.
    :param prepared: The points, and which are in which part.
    :return: The folder.
    :raises UsageError: If there is something else already.
    """
    from labkit.data.pipeline import make_folder
    from labkit.data.split import write_split

    points, split = prepared
    rows = zip(*points.places.T.tolist(), points.classes.tolist(), strict=True)
    with make_folder(folder) as unfinished:
        lines = ["x,y,class", *(f"{x},{y},{number}" for x, y, number in rows)]
        (unfinished / "points.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
        write_split(split, unfinished / "split.json")
    return folder.absolute()


if __name__ == "__main__":
    sys.exit(prepare.main())
