"""Bytes that are read by ranges: a local file, or whatever else can say its size and its version."""

import os
import weakref
from pathlib import Path
from typing import Protocol


class Reader(Protocol):
    """Bytes somewhere, for example an object in S3."""

    @property
    def size(self) -> int:
        """The number of bytes."""
        ...

    @property
    def version(self) -> str:
        """Which bytes they are: the whole address, and what changes whenever the bytes do, such as the ETag."""
        ...

    def read_range(self, offset: int, length: int) -> bytes:
        """Read a range; fewer bytes only where the end is reached.

        :param offset: The first byte's position.
        :param length: How many bytes to read.
        :return: The bytes.
        :raises Exception: If the bytes cannot be read, or are no longer of this version.
        """
        ...

    def close(self) -> None:
        """Let go of what is open; nothing is read afterwards."""
        ...


class FileReader:
    """A local file, read without a position that threads or processes would share."""

    def __init__(self, path: Path) -> None:
        self.path = path.absolute()
        self.descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        self._close = weakref.finalize(self, os.close, self.descriptor)
        status = os.fstat(self.descriptor)
        self.size = status.st_size
        # A change that leaves size and modification time as they were still shows in the change time or the inode.
        self.version = f"{status.st_size} {status.st_mtime_ns} {status.st_ctime_ns} {status.st_ino}"
        self.newest_time_ns = max(status.st_mtime_ns, status.st_ctime_ns)

    def read_range(self, offset: int, length: int) -> bytes:
        """Read a range, in as many calls as the system needs for it."""
        data = os.pread(self.descriptor, length, offset)
        while len(data) < length and (more := os.pread(self.descriptor, length - len(data), offset + len(data))):
            data += more
        return data

    def has_changed(self) -> bool:
        """Tell whether the file was written to since it was opened."""
        status = os.fstat(self.descriptor)
        return (status.st_size, max(status.st_mtime_ns, status.st_ctime_ns)) != (self.size, self.newest_time_ns)

    def close(self) -> None:
        """Close the file; it may be closed already."""
        self._close()
        self.descriptor = -1
