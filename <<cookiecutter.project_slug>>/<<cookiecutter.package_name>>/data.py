"""The data: 1,797 handwritten digits, 8 by 8 pixels, that come with scikit-learn."""

from pathlib import Path
from typing import Final, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.datasets import load_digits
from torch import Tensor
from torch.utils.data import TensorDataset

from labkit.data.archive import open_archive
from labkit.data.footprint import Footprint, identify_data, measure_arrays
from labkit.data.image import decode_image
from labkit.data.split import Split, make_folds, read_samples, read_split
from labkit.data.storage import Storage
from labkit.environment import Environment

CLASSES: Final = 10
SHAPE: Final = (1, 8, 8)
LARGEST_VALUE: Final = 16
WRITERS: Final = 13
FOLDS: Final = 4
SHARE_FOR_TESTING: Final = 0.2


class Digits(NamedTuple):
    """Images, and what is known about each."""

    images: NDArray[np.uint8]
    """``(digits, 8, 8)``, values 0 to 16."""
    classes: NDArray[np.int64]
    """``(digits,)``"""
    writers: list[str]


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
        return make_parts(*read_prepared(folder), read_split(folder / "split.json"), fold, footprint)


def read_digits() -> Digits:
    """Read the digits that come with scikit-learn.

    Who wrote which is not told. The forms of the 13 writers follow each other; equal stretches stand for them here.

    :return: The digits.
    """
    images, classes = load_digits(return_X_y=True)
    writers = [f"writer-{number * WRITERS // len(images):02d}" for number in range(len(images))]
    return Digits(np.asarray(images, np.uint8).reshape(-1, *SHAPE[1:]), np.asarray(classes, np.int64), writers)


def read_prepared(folder: Path) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Read what `prepare` wrote.

    :param folder: Where it is.
    :return: Images ``(digits, 8, 8)`` and their classes.
    """
    labels = read_samples(folder / "labels.csv")
    names = labels.values("file")
    with open_archive(folder / "images.zip") as archive:
        images = np.stack([decode_image(archive.read(name), name) for name in names])
    return images, np.array(labels.values("label"), np.int64)


def fold_by_image(digits: Digits) -> Split:
    """Draw images for testing, and deal the others into folds, each with its share of every class."""
    labels = digits.classes.astype(str).tolist()
    return make_folds(len(labels), FOLDS, labels=labels, test=SHARE_FOR_TESTING)


def fold_by_writer(digits: Digits) -> Split:
    """Do so with writers: who has seen a hand knows it again, so that nobody is in two parts."""
    labels = digits.classes.astype(str).tolist()
    return make_folds(len(labels), FOLDS, labels=labels, groups=digits.writers, test=SHARE_FOR_TESTING)


def make_parts(
    images: NDArray[np.uint8], classes: NDArray[np.int64], split: Split, fold: int, footprint: Footprint
) -> Parts:
    """Make data sets of the parts of a fold."""
    inputs = torch.from_numpy(images).float().reshape(-1, *SHAPE) / LARGEST_VALUE
    targets = torch.from_numpy(classes)
    part = split.folds[fold]
    training, validation, test = (
        TensorDataset(inputs[part[name]], targets[part[name]]) for name in ("train", "validation", "test")
    )
    return Parts(training, validation, test, footprint)


def shift(sample: tuple[Tensor, Tensor], generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Move an image by at most one pixel in each direction, a small augmentation.

    :param sample: An image ``(1, 8, 8)`` and its class.
    :param generator: Where chance comes from.
    :return: The moved image and its class.
    """
    image, target = sample
    down, right = torch.randint(-1, 2, (2,), generator=generator).tolist()
    return image.roll((down, right), dims=(1, 2)), target
