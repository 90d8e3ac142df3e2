"""The data: clips of moving digits, in the parts that they are used in."""

from pathlib import Path
from typing import Final, NamedTuple

import numpy as np
import torch
from torch.utils.data import TensorDataset

from labkit.data.footprint import Footprint, identify_data, measure_arrays
from labkit.data.split import Split, make_folds, read_split
from labkit.data.storage import Storage
from labkit.environment import Environment

from .clip import Clips, make_clips
from .digits import LARGEST_VALUE

FOLDS: Final = 4
SHARE_FOR_TESTING: Final = 0.2


class Parts(NamedTuple):
    """Data sets of clips ``(1, FRAMES, SIZE, SIZE)``, values 0 to 1, each with its class; and which data these are."""

    training: TensorDataset
    validation: TensorDataset
    test: TensorDataset
    footprint: Footprint


def find_parts(environment: Environment, source: str | None = None, fold: int = 0) -> Parts:
    """Make or load the clips in their parts: 60 percent to learn from, 20 to judge by, 20 to test once.

    :param environment: Where buckets and caches are.
    :param source: What `prepare` made, a folder or an address; by default, clips are made here.
    :param fold: Which quarter of those that are not for testing is to judge by.
    :return: The parts, the same in every run, or runs could not be compared.
    :raises UsageError: If there are no such data, or they are not as recorded.
    :raises StorageError: If they cannot be had.
    """
    if source is None:
        clips = make_clips()
        return make_parts(clips, fold_clips(clips), fold, measure_arrays(clips._asdict()))
    with Storage(environment) as storage:
        folder = storage.localize(source)
        return make_parts(read_clips(folder), read_split(folder / "split.json"), fold, identify_data(folder))


def read_clips(folder: Path) -> Clips:
    """Read what `prepare` wrote."""
    with np.load(folder / "clips.npz") as arrays:
        return Clips(**arrays)


def fold_clips(clips: Clips) -> Split:
    """Draw clips for testing, and deal the others into folds, each with its share of every motion."""
    labels = clips.classes.astype(str).tolist()
    return make_folds(len(labels), FOLDS, labels=labels, test=SHARE_FOR_TESTING)


def make_parts(clips: Clips, split: Split, fold: int, footprint: Footprint) -> Parts:
    """Make data sets of the parts of a fold."""
    inputs = torch.from_numpy(clips.frames).float().unsqueeze(1) / LARGEST_VALUE
    return Parts(*split.cut(fold, inputs, torch.from_numpy(clips.classes)), footprint)
