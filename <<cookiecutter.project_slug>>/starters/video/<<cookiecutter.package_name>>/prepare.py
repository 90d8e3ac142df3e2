"""Prepare the data: `prepare --help`."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from labkit.tracking.entry_point import entry_point
from labkit.tracking.run import Run

from .clip import Clips, make_clips

if TYPE_CHECKING:
    from labkit.data.split import Split


@entry_point
def prepare(run: Run, *, folder: Path | None = None, push: str | None = None) -> None:
    """Prepare clips of moving digits: their frames, their motions, and folds for cross-validation.

    An example: prepare --push s3://bucket/clips

    :param folder: Where they go; "clips" in DATA_PATH by default.
    :param push: An address in the bucket to send them to as well.
    """
    # Imported here, so that `prepare --help` answers at once.
    from functools import partial

    from labkit.data.pipeline import Pipeline
    from labkit.tracking.preparation import keep_data

    environment = run.environment
    target = folder or (environment.data_path or environment.project_path / "data") / "clips"
    pipeline = Pipeline(extract=make_clips, transform=add_folds, load=partial(write, target))
    keep_data(run, pipeline(), push)


def add_folds(clips: Clips) -> "tuple[Clips, Split]":
    """Transform: say which clips are in which part."""
    from .data import fold_clips

    return clips, fold_clips(clips)


def write(folder: Path, prepared: "tuple[Clips, Split]") -> Path:
    """Load: write ``clips.npz`` and ``split.json``, both or nothing.

    :param folder: Where they go.
    :param prepared: The clips, and which are in which part.
    :return: The folder.
    :raises UsageError: If there is something else already.
    """
    import numpy as np

    from labkit.data.pipeline import make_folder
    from labkit.data.split import write_split

    clips, split = prepared
    with make_folder(folder) as unfinished:
        np.savez(unfinished / "clips.npz", **clips._asdict())
        write_split(split, unfinished / "split.json")
    return folder.absolute()


if __name__ == "__main__":
    sys.exit(prepare.main())
