"""Prepare the data: `prepare --help`."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from labkit.tracking.entry_point import entry_point
from labkit.tracking.run import Run

if TYPE_CHECKING:
    from labkit.data.split import Split

    from .data import Words


@entry_point
def prepare(
    run: Run, *, fold_by: Literal["word", "font"] = "word", folder: Path | None = None, push: str | None = None
) -> None:
    """Prepare the words: an archive of images, their labels, folds for cross-validation, and statistics.

    Examples: prepare --fold-by font, prepare --push s3://bucket/words

    :param fold_by: What stays together in a part: all images of a word, or all of a font.
    :param folder: Where the prepared words go; "words" in DATA_PATH by default.
    :param push: An address in the bucket to send them to as well.
    """
    # Imported here, so that `prepare --help` answers at once.
    from functools import partial

    from labkit.data.pipeline import Pipeline
    from labkit.tracking.preparation import keep_data

    from .data import fold_by_font, fold_by_word, make_words

    environment = run.environment
    target = folder or (environment.data_path or environment.project_path / "data") / "words"
    fold = fold_by_font if fold_by == "font" else fold_by_word
    pipeline = Pipeline(extract=make_words, transform=partial(add_folds, fold), load=partial(write, target))
    keep_data(run, pipeline(), push)


def add_folds(fold: "Callable[[Words], Split]", words: "Words") -> "tuple[Words, Split]":
    """Transform: say which image is in which part."""
    return words, fold(words)


def write(folder: Path, prepared: "tuple[Words, Split]") -> Path:
    """Load: write ``images.zip``, ``labels.csv`` and ``split.json``, all of them or nothing.

    :param folder: Where they go.
    :param prepared: The images, and which is in which part.
    :return: The folder.
    :raises UsageError: If there is something else already.
    """
    from labkit.data.catalogue import Example, write_images
    from labkit.data.pipeline import make_folder
    from labkit.data.split import write_split

    from .data import WORDS

    words, split = prepared
    examples = (
        Example("words", image, label) for image, label in zip(words.images, words.classes.tolist(), strict=True)
    )
    with make_folder(folder) as unfinished:
        write_images(examples, WORDS, unfinished)
        write_split(split, unfinished / "split.json")
    return folder.absolute()


if __name__ == "__main__":
    sys.exit(prepare.main())
