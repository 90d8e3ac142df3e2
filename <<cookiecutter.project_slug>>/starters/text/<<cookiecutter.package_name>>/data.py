"""The data: passages of SciPy's documentation as numbers of words, in the parts that they are used in."""

import csv
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Final, NamedTuple

import torch
from torch import Tensor
from torch.utils.data import TensorDataset

from labkit.data.footprint import Footprint, identify_data, measure_arrays
from labkit.data.split import Split, make_folds, read_samples, read_split
from labkit.data.storage import Storage
from labkit.environment import Environment

from .passage import LENGTH, TOPICS, Passage, find_words, read_passages

VOCABULARY: Final = 2000
"""How many different words there are, with the two below."""
PADDING: Final = 0
UNKNOWN: Final = 1
FOLDS: Final = 4
SHARE_FOR_TESTING: Final = 0.2


class Parts(NamedTuple):
    """Data sets of words ``(LENGTH,)``, each with its class; the texts to judge by; and which data these are."""

    training: TensorDataset
    validation: TensorDataset
    test: TensorDataset
    footprint: Footprint
    texts: list[str]
    """Of the validation set."""
    vocabulary: list[str]
    """The words of the training set by their numbers, the commonest first."""


def find_parts(environment: Environment, source: str | None = None, fold: int = 0) -> Parts:
    """Read the passages in their parts: 60 percent to learn from, 20 to judge by, 20 to test once.

    :param environment: Where buckets and caches are.
    :param source: What `prepare` made, a folder or an address; by default, the documentation of the installed SciPy.
    :param fold: Which quarter of those that are not for testing is to judge by.
    :return: The parts, the same in every run, or runs could not be compared.
    :raises UsageError: If there are no such data, or they are not as recorded.
    :raises StorageError: If they cannot be had.
    """
    if source is None:
        passages = read_passages()
        return make_parts(passages, fold_by_source(passages), fold, measure_passages(passages))
    with Storage(environment) as storage:
        folder = storage.localize(source)
        return make_parts(read_prepared(folder), read_split(folder / "split.json"), fold, identify_data(folder))


def read_prepared(folder: Path) -> list[Passage]:
    """Read what `prepare` wrote."""
    table = read_samples(folder / "passages.csv")
    return [Passage(*row) for row in zip(*map(table.values, Passage._fields), strict=True)]


def write_passages(passages: Sequence[Passage], path: Path) -> None:
    """Write a table with a row for each passage."""
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file, lineterminator="\n").writerows([Passage._fields, *passages])


def measure_passages(passages: Sequence[Passage]) -> Footprint:
    """Measure the footprint of passages that are in no file of their own."""
    import numpy as np

    return measure_arrays(
        {
            name: np.frombuffer("\0".join(column).encode(), np.uint8)
            for name, column in zip(Passage._fields, zip(*passages, strict=True), strict=True)
        }
    )


def fold_by_source(passages: Sequence[Passage]) -> Split:
    """Draw passages for testing, and deal the others into folds; those of one docstring are in one part."""
    return make_folds(
        len(passages),
        FOLDS,
        labels=[passage.topic for passage in passages],
        groups=[f"{passage.topic}/{passage.source}" for passage in passages],
        test=SHARE_FOR_TESTING,
    )


def make_parts(passages: Sequence[Passage], split: Split, fold: int, footprint: Footprint) -> Parts:
    """Make data sets of the parts of a fold; only what is to learn from says which words there are."""
    known, judged = ([passages[index].text for index in split.folds[fold][part]] for part in ("train", "validation"))
    vocabulary = find_vocabulary(known)
    numbers = {word: number for number, word in enumerate(vocabulary)}
    inputs = torch.stack([encode(passage.text, numbers) for passage in passages])
    targets = torch.tensor([TOPICS.index(passage.topic) for passage in passages])
    return Parts(*split.cut(fold, inputs, targets), footprint, judged, vocabulary)


def find_vocabulary(texts: Sequence[str]) -> list[str]:
    """Find the commonest words of texts.

    :param texts: The texts.
    :return: Words by their numbers, no more than :data:`VOCABULARY`.
    """
    counts = Counter(word for text in texts for word in find_words(text))
    ranking = sorted(counts, key=lambda word: (-counts[word], word))
    return ["<padding>", "<unknown>", *ranking][:VOCABULARY]


def encode(text: str, numbers: dict[str, int]) -> Tensor:
    """Make numbers of the words of a text.

    :param text: The text.
    :param numbers: Of the words that are known.
    :return: The numbers ``(LENGTH,)``.
    """
    words = [numbers.get(word, UNKNOWN) for word in find_words(text)[:LENGTH]]
    return torch.tensor(words + [PADDING] * (LENGTH - len(words)))
