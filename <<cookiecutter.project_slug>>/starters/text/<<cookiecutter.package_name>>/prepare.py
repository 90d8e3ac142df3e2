"""Prepare the data: `prepare --help`."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from labkit.tracking.entry_point import entry_point
from labkit.tracking.run import Run

from .passage import Passage, read_passages

if TYPE_CHECKING:
    from labkit.data.split import Split


@entry_point
def prepare(run: Run, *, folder: Path | None = None, push: str | None = None) -> None:
    """Prepare passages of SciPy's documentation: a table of them, and folds for cross-validation.

    An example: prepare --push s3://bucket/passages

    :param folder: Where they go; "passages" in DATA_PATH by default.
    :param push: An address in the bucket to send them to as well.
    """
    # Imported here, so that `prepare --help` answers at once.
    from functools import partial

    from labkit.data.pipeline import Pipeline
    from labkit.tracking.preparation import keep_data

    environment = run.environment
    target = folder or (environment.data_path or environment.project_path / "data") / "passages"
    pipeline = Pipeline(extract=read_passages, transform=add_folds, load=partial(write, target))
    keep_data(run, pipeline(), push)


def add_folds(passages: list[Passage]) -> "tuple[list[Passage], Split]":
    """Transform: say which passages are in which part."""
    from .data import fold_by_source

    return passages, fold_by_source(passages)


def write(folder: Path, prepared: "tuple[list[Passage], Split]") -> Path:
    """Load: write ``passages.csv`` and ``split.json``, both or nothing.

    :param folder: Where they go.
    :param prepared: The passages, and which are in which part.
    :return: The folder.
    :raises UsageError: If there is something else already.
    """
    from labkit.data.pipeline import make_folder
    from labkit.data.split import write_split

    from .data import write_passages

    passages, split = prepared
    with make_folder(folder) as unfinished:
        write_passages(passages, unfinished / "passages.csv")
        write_split(split, unfinished / "split.json")
    return folder.absolute()


if __name__ == "__main__":
    sys.exit(prepare.main())
