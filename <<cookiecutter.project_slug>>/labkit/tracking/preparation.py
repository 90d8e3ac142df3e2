"""What becomes of data that a run has prepared."""

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from labkit.tracking.run import Run


def keep_data(run: "Run", folder: Path, push: str | None = None) -> None:
    """Record which data a run has prepared, measure their images, and say how they are used.

    :param run: The run.
    :param folder: Where the data are.
    :param push: An address in the bucket to send them to as well.
    :raises StorageError: If they cannot be sent.
    """
    from labkit.data.footprint import identify_data
    from labkit.data.push import find_images, push_data
    from labkit.data.statistics import data_analyze
    from labkit.data.storage import Storage

    footprint = identify_data(folder)
    run.log_footprint(footprint)
    for images in find_images(folder):
        data_analyze(images)
    if push:
        with Storage(run.environment) as storage:
            push_data(folder, push, storage)
    print(f"to use it   train --data {push or folder} --expect {footprint.root[:8]}")
