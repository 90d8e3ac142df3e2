"""Copies from folder to folder: by reference where the file system can, verified by reading back."""

import errno
import os
import shutil
from pathlib import Path
from typing import Final

from labkit.data.storage.checksum import Checksum, hash_piece, verify_file
from labkit.data.storage.error import CorruptError

NO_KERNEL_COPY: Final = frozenset({errno.EXDEV, errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL})
STEP: Final = 1 << 30


def copy_verified(source: Path, target: Path, checksum: Checksum | None = None) -> None:
    """Copy a file so that the copy is on the disk and right.

    :param source: The file.
    :param target: The copy; its folder exists, and what is there is replaced.
    :param checksum: What the content hashes to; without it the copy is compared with the file.
    :raises CorruptError: If the copy has other content.
    """
    with source.open("rb") as reader, target.open("wb+") as writer:
        size = os.fstat(reader.fileno()).st_size
        _copy_content(reader.fileno(), writer.fileno(), size)
        os.fsync(writer.fileno())
        if checksum is None:
            checksum = Checksum("sha256", hash_piece(reader.fileno(), (0, size), "sha256").hex())
        if not verify_file(writer.fileno(), size, checksum):
            raise CorruptError(f"'{source}' could not be copied: it does not match its checksum {checksum.expected}.")


def have_equal_content(one: Path, other: Path) -> bool:
    """Tell whether two files hold the same bytes.

    :param one: A file.
    :param other: Another.
    """
    with one.open("rb") as first, other.open("rb") as second:
        size = os.fstat(first.fileno()).st_size
        checksum = Checksum("sha256", hash_piece(first.fileno(), (0, size), "sha256").hex())
        return verify_file(second.fileno(), size, checksum)


def _copy_content(reader: int, writer: int, size: int) -> None:
    copied = 0
    try:
        while copied < size:
            count = os.copy_file_range(reader, writer, min(STEP, size - copied))
            if not count:
                break
            copied += count
    except OSError as error:
        if error.errno not in NO_KERNEL_COPY or copied:
            raise
    if copied < size:
        with os.fdopen(os.dup(reader), "rb") as source, os.fdopen(os.dup(writer), "wb") as target:
            source.seek(copied)
            target.seek(copied)
            shutil.copyfileobj(source, target, 1 << 20)
