"""Which samples are for training, which for validation and which for testing."""

from labkit.data.split.sample import Samples, read_samples
from labkit.data.split.split import Split, data_split, make_folds, make_group_folds, make_split, read_split, write_split

__all__ = [
    "Samples",
    "Split",
    "data_split",
    "make_folds",
    "make_group_folds",
    "make_split",
    "read_samples",
    "read_split",
    "write_split",
]
