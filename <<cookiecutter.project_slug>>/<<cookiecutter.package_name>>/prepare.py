"""Prepare the data: `prepare --help`."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from labkit.tracking.entry_point import entry_point
from labkit.tracking.run import Run

from .digits import CLASSES, Digits, fold_by_image, fold_by_writer, read_digits

if TYPE_CHECKING:
    from labkit.data.split import Split


@entry_point
def prepare(
    run: Run, *, fold_by: Literal["image", "writer"] = "image", folder: Path | None = None, push: str | None = None
) -> None:
    """Prepare the digits: an archive of images, their labels, folds for cross-validation, and statistics.

    Examples: prepare --fold-by writer, prepare --push s3://bucket/digits

    :param fold_by: What stays together in a part: each image by itself, or all that a writer wrote.
    :param folder: Where the prepared digits go; "digits" in DATA_PATH by default.
    :param push: An address in the bucket to send them to as well.
    """
    # Imported here, so that `prepare --help` answers at once.
    from functools import partial

    from labkit.data.pipeline import Pipeline
    from labkit.tracking.preparation import keep_data

    environment = run.environment
    target = folder or (environment.data_path or environment.project_path / "data") / "digits"
    fold = fold_by_writer if fold_by == "writer" else fold_by_image
    pipeline = Pipeline(extract=read_digits, transform=partial(add_folds, fold), load=partial(write, target))
    keep_data(run, pipeline(), push)


def add_folds(fold: "Callable[[Digits], Split]", digits: Digits) -> "tuple[Digits, Split]":
    """Transform: say who is in which part."""
    return digits, fold(digits)


def write(folder: Path, prepared: "tuple[Digits, Split]") -> Path:
    """Load: write ``images.zip``, ``labels.csv`` and ``split.json``, all of them or nothing.

    :param folder: Where they go.
    :param prepared: The digits, and who is in which part.
    :return: The folder.
    :raises UsageError: If there is something else already.
    """
    from labkit.data.catalogue import Example, write_images
    from labkit.data.pipeline import make_folder
    from labkit.data.split import write_split

    digits, split = prepared
    examples = (
        Example("digits", image, label) for image, label in zip(digits.images, digits.classes.tolist(), strict=True)
    )
    with make_folder(folder) as unfinished:
        write_images(examples, [*map(str, range(CLASSES))], unfinished)
        write_split(split, unfinished / "split.json")
    return folder.absolute()


if __name__ == "__main__":
    sys.exit(prepare.main())
