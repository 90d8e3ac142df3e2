"""The data: scenes with several handwritten digits, made of the 1,797 that come with scikit-learn."""

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
"""Of digits."""
NAMES: Final = ("background", *map(str, range(CLASSES)))
"""Of the classes of a pixel: 0 is the background, 1 to 10 are the digits 0 to 9."""
SHAPE: Final = (1, 32, 32)
SIZE_OF_DIGIT: Final = 8
LARGEST_VALUE: Final = 16
INK: Final = 5
"""The value from which a pixel belongs to its digit."""
NOISE: Final = 0.1
"""The deviation of what is added to each pixel."""
DIGITS_IN_A_SCENE: Final = 5
SCENES: Final = {"train": 800, "validation": 200, "test": 200}
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
        return make_parts(*read_prepared(folder), read_split(folder / "split.json"), fold, footprint)


def read_digits() -> Digits:
    """Read the digits that come with scikit-learn.

    Who wrote which is not told. The forms of the 13 writers follow each other; equal stretches stand for them here.

    :return: The digits.
    """
    images, classes = load_digits(return_X_y=True)
    writers = [f"writer-{number * WRITERS // len(images):02d}" for number in range(len(images))]
    shape = (-1, SIZE_OF_DIGIT, SIZE_OF_DIGIT)
    return Digits(np.asarray(images, np.uint8).reshape(shape), np.asarray(classes, np.int64), writers)


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
    """Make scenes of the digits of each part of a fold, so that no digit is in two parts."""
    training, validation, test = (
        TensorDataset(*make_scenes(images[part], classes[part], SCENES[name], seed))
        for seed, (name, part) in enumerate((name, split.folds[fold][name]) for name in SCENES)
    )
    return Parts(training, validation, test, footprint)


def make_scenes(images: NDArray[np.uint8], classes: NDArray[np.int64], count: int, seed: int) -> tuple[Tensor, Tensor]:
    """Put digits into scenes, anywhere, so that later ones may cover earlier ones; and add noise.

    :param images: Digits ``(digits, 8, 8)``, values 0 to 16.
    :param classes: Their classes.
    :param count: How many scenes.
    :param seed: Another one gives other scenes.
    :return: Scenes ``(count, 1, 32, 32)``, values 0 to 1, and the class of each pixel ``(count, 32, 32)``.
    """
    random = np.random.default_rng(seed)
    _, height, width = SHAPE
    scenes = np.zeros((count, height, width), np.float32)
    masks = np.zeros((count, height, width), np.int64)
    for scene, mask in zip(scenes, masks, strict=True):
        for index in random.integers(len(images), size=DIGITS_IN_A_SCENE):
            top, left = random.integers((height - SIZE_OF_DIGIT + 1, width - SIZE_OF_DIGIT + 1))
            place = slice(top, top + SIZE_OF_DIGIT), slice(left, left + SIZE_OF_DIGIT)
            inked = images[index] >= INK
            scene[place][inked] = images[index][inked] / LARGEST_VALUE
            mask[place][inked] = classes[index] + 1
    scenes += random.normal(0, NOISE, scenes.shape)
    return torch.from_numpy(scenes.clip(0, 1))[:, None], torch.from_numpy(masks)


def shift(sample: tuple[Tensor, Tensor], generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Move a scene and its mask around, what leaves it on one side coming in on the other.

    :param sample: A scene ``(1, 32, 32)`` and the class of each pixel ``(32, 32)``.
    :param generator: Where chance comes from.
    :return: Both, moved alike.
    """
    image, mask = sample
    by = tuple(torch.randint(SHAPE[1], (2,), generator=generator).tolist())
    return image.roll(by, dims=(1, 2)), mask.roll(by, dims=(0, 1))
