"""Digits: 1,797 handwritten ones, 8 by 8 pixels, that come with scikit-learn."""

from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from labkit.data.split import Split

CLASSES: Final = 10
SIZE: Final = 8
SHAPE: Final = (1, SIZE, SIZE)
"""Channels, height and width of an image."""
LARGEST_VALUE: Final = 16
WRITERS: Final = 13
FOLDS: Final = 4
SHARE_FOR_TESTING: Final = 0.2


class Digits(NamedTuple):
    """Images, and what is known about each."""

    images: "NDArray[np.uint8]"
    """``(digits, 8, 8)``, values 0 to 16."""
    classes: "NDArray[np.int64]"
    """``(digits,)``"""
    writers: list[str]


def read_digits() -> Digits:
    """Read the digits that come with scikit-learn.

    Who wrote which is not told. The forms of the 13 writers follow each other; equal stretches stand for them here.

    :return: The digits.
    """
    import numpy as np
    from sklearn.datasets import load_digits

    images, classes = load_digits(return_X_y=True)
    writers = [f"writer-{number * WRITERS // len(images):02d}" for number in range(len(images))]
    return Digits(np.asarray(images, np.uint8).reshape(-1, SIZE, SIZE), np.asarray(classes, np.int64), writers)


def fold_by_image(digits: Digits) -> "Split":
    """Draw images for testing, and deal the others into folds, each with its share of every class."""
    from labkit.data.split import make_folds

    labels = digits.classes.astype(str).tolist()
    return make_folds(len(labels), FOLDS, labels=labels, test=SHARE_FOR_TESTING)


def fold_by_writer(digits: Digits) -> "Split":
    """Do so with writers: who has seen a hand knows it again, so that nobody is in two parts."""
    from labkit.data.split import make_folds

    labels = digits.classes.astype(str).tolist()
    return make_folds(len(labels), FOLDS, labels=labels, groups=digits.writers, test=SHARE_FOR_TESTING)
