"""The data: 1,797 handwritten digits, 8 by 8 pixels, that come with scikit-learn."""

from typing import Final, NamedTuple

import numpy as np
import torch
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch import Tensor
from torch.utils.data import TensorDataset

CLASSES: Final = 10
SHAPE: Final = (1, 8, 8)
LARGEST_VALUE: Final = 16


class Parts(NamedTuple):
    """Data sets of images ``(1, 8, 8)``, values 0 to 1, each with its class."""

    training: TensorDataset
    validation: TensorDataset
    test: TensorDataset


def load_parts() -> Parts:
    """Load the digits and split them: 60 percent to learn from, 20 to judge by, 20 to test once.

    The split is the same in every run, or runs could not be compared.

    :return: The three parts, each with the same share of every class.
    """
    images, classes = load_digits(return_X_y=True)
    everything = np.arange(len(images))
    remaining, test = train_test_split(everything, test_size=0.2, stratify=classes, random_state=0)
    training, validation = train_test_split(remaining, test_size=0.25, stratify=classes[remaining], random_state=0)
    inputs = torch.from_numpy(images).float().reshape(-1, *SHAPE) / LARGEST_VALUE
    targets = torch.from_numpy(classes).long()

    return Parts(*(TensorDataset(inputs[part], targets[part]) for part in (training, validation, test)))


def shift(sample: tuple[Tensor, Tensor], generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Move an image by at most one pixel in each direction, a small augmentation.

    :param sample: An image ``(1, 8, 8)`` and its class.
    :param generator: Where chance comes from.
    :return: The moved image and its class.
    """
    image, target = sample
    down, right = torch.randint(-1, 2, (2,), generator=generator).tolist()
    return image.roll((down, right), dims=(1, 2)), target
