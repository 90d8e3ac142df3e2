"""Prepare the data: `prepare --help`."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from labkit.tracking.entry_point import entry_point
from labkit.tracking.run import Run

if TYPE_CHECKING:
    from labkit.data.split import Split

    from .data import Digits


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
    from dataclasses import replace
    from functools import partial

    from labkit.data.footprint import identify_data
    from labkit.data.pipeline import Pipeline
    from labkit.data.push import push_data
    from labkit.data.statistics import data_analyze
    from labkit.data.storage import Storage

    from .data import fold_by_image, fold_by_writer, read_digits

    environment = run.environment
    target = folder or (environment.data_path or environment.project_path / "data") / "digits"
    pipeline = Pipeline(extract=read_digits, transform=partial(add_folds, fold_by_image), load=partial(write, target))
    if fold_by == "writer":
        pipeline = replace(pipeline, transform=partial(add_folds, fold_by_writer))
    prepared = pipeline()

    run.log_footprint(identify_data(prepared))
    data_analyze(prepared / "images.zip")
    if push:
        with Storage(environment) as storage:
            push_data(prepared, push, storage)
    print(f"to use it   train --data {push or prepared} --expect {str(run.root)[:8]}")


def add_folds(fold: "Callable[[Digits], Split]", digits: "Digits") -> "tuple[Digits, Split]":
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

    from .data import CLASSES

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
