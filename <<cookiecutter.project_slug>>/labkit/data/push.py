"""A prepared data set to the bucket, with what is known about it."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

from labkit.command import EXIT_DONE, EXIT_FAILED, UsageError, command
from labkit.data.record import RECORD_FOLDER, record_path
from labkit.environment import Environment

if TYPE_CHECKING:
    from labkit.data.footprint import Footprint
    from labkit.data.storage import Storage

ARCHIVES: Final = frozenset({".tar", ".zip"})
RECORDS: Final = ("footprint", "statistics", "split.json")


@command
def data_push(path: Path, uri: str) -> int:
    """Put a prepared data set into the bucket, with its footprint and, if it has images, their statistics.

    Only files that differ are sent, each is verified, and what the bucket holds beyond the data set stays. The
    footprint's root is printed: ``data-verify --expect ROOT`` tells these data from others. An example:
    ``data-push data/cells s3://bucket/cells``.

    :param path: A folder or a file.
    :param uri: Where it shall be: s3://bucket/key.
    :return: 0; 1 if the data cannot be sent.
    """
    from labkit.data.storage import Storage, StorageError

    try:
        with Storage(Environment.read()) as storage:
            footprint = push_data(path, uri, storage)
    except UsageError:
        raise
    except StorageError as error:
        print(f"data-push: {error}", file=sys.stderr)
        return EXIT_FAILED
    print(f"{uri}  {footprint.root}")
    return EXIT_DONE


def push_data(path: Path, uri: str, storage: "Storage") -> "Footprint":
    """Put a prepared data set into the bucket; see :func:`data_push`.

    :param path: A folder or a file.
    :param uri: Where it shall be.
    :param storage: Reaches the bucket.
    :return: The data's footprint.
    :raises UsageError: If there are no such data, or they are not as recorded.
    :raises StorageError: If they cannot be sent.
    """
    from labkit.data.footprint import identify_data
    from labkit.data.progress import show_progress
    from labkit.data.statistics import data_analyze

    with show_progress(f"Verifying {path}") as progress:
        footprint = identify_data(path, progress=progress)
    for images in find_images(path):
        data_analyze(images)
    storage.upload(path, uri)
    if not path.is_dir():
        folder = uri.rstrip("/").rpartition("/")[0]
        for record in (record_path(path, name) for name in RECORDS):
            if record.exists():
                storage.upload(record, f"{folder}/{RECORD_FOLDER}/{record.name}")
    return footprint


def find_images(path: Path) -> list[Path]:
    """Find what :func:`labkit.data.statistics.data_analyze` can measure in a data set.

    :param path: A folder or a file.
    :return: The data set itself if it holds images; otherwise the archives with images that lie in it.
    """
    from labkit.data.archive import open_archive
    from labkit.data.image import is_image

    def holds_images(path: Path) -> bool:
        with open_archive(path) as archive:
            return any(map(is_image, archive))

    if path.is_dir() and holds_images(path):
        return [path]
    files = sorted(path.rglob("*")) if path.is_dir() else [path]
    return [
        file for file in files if file.suffix in ARCHIVES and RECORD_FOLDER not in file.parts and holds_images(file)
    ]
