"""A file system's room: amounts of bytes for people, and what is said when there is no room left."""

import contextlib
import errno
import os
import re
import shutil
from collections.abc import Generator
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

from labkit.command import UsageError
from labkit.data.storage.error import DiskFullError

FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT})
UNITS: Final = {"B": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12}
BINARY_UNITS: Final = {"KiB": 2**10, "MiB": 2**20, "GiB": 2**30, "TiB": 2**40}


@dataclass(frozen=True)
class ByteCount:
    """An amount of data."""

    bytes: int

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read an amount such as ``20GB``, ``1.5 TB``, ``512MiB`` or a plain number of bytes.

        :param text: The amount.
        :return: The same as a number.
        :raises UsageError: If it is none.
        """
        match = re.fullmatch(r"([0-9]+(?:\.[0-9]+)?)\s*([A-Za-z]*)", text.strip())
        factors = {"": 1} | UNITS | BINARY_UNITS
        if match is None or match[2] not in factors:
            raise UsageError(f"'{text}' is no amount of data: write a number and a unit, such as '20GB'.")
        return cls(round(float(match[1]) * factors[match[2]]))

    def __str__(self) -> str:
        for name, factor in reversed(UNITS.items()):
            if self.bytes >= factor:
                return f"{self.bytes / factor:.3g} {name}"
        return "0 B"


def free_bytes(folder: Path) -> int:
    """Return how many bytes a user can still write on a folder's file system."""
    return shutil.disk_usage(folder).free


def check_room(folder: Path, size: int) -> None:
    """Fail as a full file system would, if writing a number of bytes would fill it.

    :param folder: Where they are to be written.
    :param size: The number of bytes.
    :raises OSError: If there is no room.
    """
    if free_bytes(folder) < size:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@contextlib.contextmanager
def explained_when_full(folder: Path, uri: str, size: int) -> Generator[None]:
    """Turn the error of a full file system into one sentence.

    :param folder: Where data is written; it exists.
    :param uri: What is written.
    :param size: Its size in bytes.
    :raises DiskFullError: If the file system became full.
    """
    try:
        yield
    except OSError as error:
        if error.errno not in FULL:
            raise
        raise DiskFullError(
            f"'{uri}' ({ByteCount(size)}) does not fit on the disk of '{folder}', where "
            f"{ByteCount(free_bytes(folder))} are free: make room, for example with `data-fetch --keep-free 20GB`."
        ) from error


def sync_folder(folder: Path) -> None:
    """Write a folder's entries to the disk, so that a rename in it survives a power cut.

    :param folder: The folder.
    """
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
