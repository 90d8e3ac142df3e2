"""The data: points in the plane, in the parts that they are used in."""

from pathlib import Path
from typing import Final, NamedTuple, cast, get_args

import numpy as np
import torch
from torch.utils.data import TensorDataset

from labkit.command import UsageError
from labkit.data.footprint import Footprint, identify_data, measure_arrays
from labkit.data.split import Split, make_folds, read_samples, read_split
from labkit.data.storage import NotFoundError, Storage
from labkit.environment import Environment

from .distribution import Distribution, Points, draw_points

FOLDS: Final = 4
SHARE_FOR_TESTING: Final = 0.2


class Parts(NamedTuple):
    """Data sets of points ``(2,)``, each with its class; and which data these are."""

    training: TensorDataset
    validation: TensorDataset
    test: TensorDataset
    footprint: Footprint


def find_parts(environment: Environment, source: str | None = None, fold: int = 0) -> Parts:
    """Draw or load points in their parts: 60 percent to learn from, 20 to judge by, 20 to test once.

    :param environment: Where buckets and caches are.
    :param source: A distribution, or what `prepare` made of one, a folder or an address; by default, the spiral.
    :param fold: Which quarter of those that are not for testing is to judge by.
    :return: The parts, the same in every run, or runs could not be compared.
    :raises UsageError: If there are no such data, or they are not as recorded.
    :raises StorageError: If they cannot be had.
    """
    source = source or "spiral"
    if source in get_args(Distribution):
        points = draw_points(cast("Distribution", source))
        return make_parts(points, fold_points(points), fold, measure_arrays(points._asdict()))
    with Storage(environment) as storage:
        try:
            folder = storage.localize(source)
        except NotFoundError as error:
            names = ", ".join(get_args(Distribution))
            raise UsageError(f"There are no data '{source}': name a folder, an address or one of {names}.") from error
        return make_parts(read_points(folder), read_split(folder / "split.json"), fold, identify_data(folder))


def fold_points(points: Points) -> Split:
    """Draw points for testing, and deal the others into folds, each with its share of every class."""
    labels = points.classes.astype(str).tolist()
    return make_folds(len(labels), FOLDS, labels=labels, test=SHARE_FOR_TESTING)


def read_points(folder: Path) -> Points:
    """Read what `prepare` wrote.

    :param folder: Where it is.
    :return: The points.
    """
    table = read_samples(folder / "points.csv")
    places = np.array([table.values("x"), table.values("y")], np.float64).T
    return Points(places, np.array(table.values("class"), np.int64))


def make_parts(points: Points, split: Split, fold: int, footprint: Footprint) -> Parts:
    """Make data sets of the parts of a fold."""
    inputs, targets = torch.from_numpy(points.places).float(), torch.from_numpy(points.classes)
    return Parts(*split.cut(fold, inputs, targets), footprint)
