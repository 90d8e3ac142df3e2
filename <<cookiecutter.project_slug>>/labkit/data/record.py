"""What the bench knows about a data set, kept beside it in folders named ``.labkit``.

Such folders are never data: they are neither listed, nor hashed, nor split. Records are written atomically, so that a
reader finds the former one, the new one or none.
"""

import contextlib
import hashlib
import os
from collections.abc import Generator
from pathlib import Path
from typing import Final

from labkit.atomic import write_atomically
from labkit.command import UsageError

RECORD_FOLDER: Final = ".labkit"


def record_path(data: Path, name: str) -> Path:
    """Return where a record is kept beside the data.

    :param data: A folder, whose records lie inside it and travel with it, or a file, whose records lie next to it.
    :param name: The record's name, for example ``footprint``.
    :return: The record's path, which need not exist.
    """
    data = data.absolute()
    if data.is_dir():
        return data / RECORD_FOLDER / name
    return data.parent / RECORD_FOLDER / f"{data.name}.{name}"


def record_paths(data: Path, name: str, cache: Path | None = None) -> list[Path]:
    """Return where a record may be, the preferred place first.

    :param data: The data that the record is about.
    :param name: The record's name.
    :param cache: A folder to fall back to where the data's own folder cannot be written.
    :return: One or two paths, which need not exist.
    """
    paths = [record_path(data, name)]
    if cache is not None:
        # The whole address is the key: data sets of one name never share a record.
        key = hashlib.sha256(os.fsencode(data.resolve())).hexdigest()[:16]
        paths.append(cache / RECORD_FOLDER / f"{data.name}-{key}.{name}")
    return paths


@contextlib.contextmanager
def explained_when_unwritable(path: Path) -> Generator[None]:
    """Say in one sentence that something cannot be written.

    :param path: What is written.
    :return: A context to write it in.
    :raises UsageError: If it cannot be written.
    """
    try:
        yield
    except OSError as error:
        reason = error.strerror or "an unknown error"
        raise UsageError(f"What belongs to {path} cannot be written ({reason}): make room for it.") from error


def write_record(data: Path, name: str, content: bytes, cache: Path | None = None) -> Path:
    """Write a record beside the data, or in the cache where that is impossible.

    :param data: The data that the record is about.
    :param name: The record's name.
    :param content: The whole record.
    :param cache: A folder to fall back to.
    :return: Where the record is.
    :raises OSError: If no place can be written.
    """
    *preferred, last = record_paths(data, name, cache)
    for path in preferred:
        with contextlib.suppress(OSError), write_atomically(path) as file:
            file.write(content)
            return path
    with write_atomically(last) as file:
        file.write(content)
    return last
