"""The data: scenes of handwritten digits, in the parts that they are used in."""

from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import TensorDataset

from labkit.data.catalogue import read_images
from labkit.data.footprint import Footprint, identify_data, measure_arrays
from labkit.data.split import Split, read_split
from labkit.data.storage import Storage
from labkit.environment import Environment

from .digits import fold_by_image, read_digits
from .scene import SCENES, SHAPE, make_scenes


class Parts(NamedTuple):
    """Data sets of scenes ``(1, 32, 32)``, each with its pixels' classes ``(32, 32)``; and which data these are."""

    training: TensorDataset
    validation: TensorDataset
    test: TensorDataset
    footprint: Footprint


def find_parts(environment: Environment, source: str | None = None, fold: int = 0) -> Parts:
    """Make scenes of the digits to learn from, 60 percent, of 20 to judge by, and of 20 to test once.

    :param environment: Where buckets and caches are.
    :param source: What `prepare` made, a folder or an address; by default, the digits that come with scikit-learn.
    :param fold: Which quarter of those that are not for testing is to judge by.
    :return: The parts, the same in every run, or runs could not be compared.
    :raises UsageError: If there are no such data, or they are not as recorded.
    :raises StorageError: If they cannot be had.
    """
    if source is None:
        digits = read_digits()
        footprint = measure_arrays({"images": digits.images, "classes": digits.classes})
        return make_parts(digits.images, digits.classes, fold_by_image(digits), fold, footprint)
    with Storage(environment) as storage:
        folder = storage.localize(source)
        footprint = identify_data(folder)
        return make_parts(*read_images(folder), read_split(folder / "split.json"), fold, footprint)


def make_parts(
    images: NDArray[np.uint8], classes: NDArray[np.int64], split: Split, fold: int, footprint: Footprint
) -> Parts:
    """Make scenes of the digits of each part of a fold, so that no digit is in two parts."""
    training, validation, test = (
        TensorDataset(*map(torch.from_numpy, make_scenes(images[part], classes[part], SCENES[name], seed)))
        for seed, (name, part) in enumerate((name, split.folds[fold][name]) for name in SCENES)
    )
    return Parts(training, validation, test, footprint)


def shift(sample: tuple[Tensor, Tensor], generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Move a scene and its mask around, what leaves it on one side coming in on the other.

    :param sample: A scene ``(1, 32, 32)`` and the class of each pixel ``(32, 32)``.
    :param generator: Where chance comes from.
    :return: Both, moved alike.
    """
    image, mask = sample
    by = tuple(torch.randint(SHAPE[1], (2,), generator=generator).tolist())
    return image.roll(by, dims=(1, 2)), mask.roll(by, dims=(0, 1))
