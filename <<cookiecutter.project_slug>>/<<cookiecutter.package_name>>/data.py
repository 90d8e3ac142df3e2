"""The data: handwritten digits, in the parts that they are used in."""

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

from .digits import LARGEST_VALUE, SHAPE, fold_by_image, read_digits


class Parts(NamedTuple):
    """Data sets of images ``(1, 8, 8)``, values 0 to 1, each with its class; and which data these are."""

    training: TensorDataset
    validation: TensorDataset
    test: TensorDataset
    footprint: Footprint


def find_parts(environment: Environment, source: str | None = None, fold: int = 0) -> Parts:
    """Load the digits in their parts: 60 percent to learn from, 20 to judge by, 20 to test once.

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
    """Make data sets of the parts of a fold."""
    inputs = torch.from_numpy(images).float().reshape(-1, *SHAPE) / LARGEST_VALUE
    targets = torch.from_numpy(classes)
    return Parts(*split.cut(fold, inputs, targets), footprint)


def shift(sample: tuple[Tensor, Tensor], generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Move an image by at most one pixel in each direction, a small augmentation.

    :param sample: An image ``(1, 8, 8)`` and its class.
    :param generator: Where chance comes from.
    :return: The moved image and its class.
    """
    image, target = sample
    down, right = torch.randint(-1, 2, (2,), generator=generator).tolist()
    return image.roll((down, right), dims=(1, 2)), target
