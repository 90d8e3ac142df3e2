"""An object in S3 as an open file, read by ranges."""

import io
import os
from typing import TYPE_CHECKING, Final

from labkit.data.storage.bucket import S3Object
from labkit.data.storage.connection import BrokenConnectionError
from labkit.data.storage.transfer import with_attempts

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

READ_AHEAD: Final = 8 << 20
"""Bytes that a request for less brings along, in :func:`open_object`."""


class ObjectReader(io.RawIOBase):
    """One version of an object as a file that can be read from any position; an archive can be opened on it."""

    def __init__(self, source: S3Object) -> None:
        super().__init__()
        self.source = source
        self.name = source.uri
        self._position = 0

    def __reduce__(self) -> tuple[type["ObjectReader"], tuple[S3Object]]:
        return ObjectReader, (self.source,)

    @property
    def size(self) -> int:
        """The number of bytes."""
        return self.source.size

    @property
    def version(self) -> str:
        """The whole address, and what changes when the content does."""
        return f"{self.source.server.endpoint} {self.source.uri} {self.source.version}"

    def read_range(self, offset: int, length: int) -> bytes:
        """Read a range, which moves no position; any number of threads may do so at once.

        :param offset: The first byte's position.
        :param length: The number of bytes.
        :return: The bytes; fewer at the end of the object.
        :raises ChangedError: If the object has been replaced since it was opened.
        """
        content = bytearray(max(min(length, self.source.size - offset), 0))
        self._read(memoryview(content), offset)
        return bytes(content)

    def readable(self) -> bool:
        """Tell that it can be read."""
        return True

    def seekable(self) -> bool:
        """Tell that it has positions."""
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Move to a position.

        :param offset: The distance in bytes.
        :param whence: From where, as in :func:`os.lseek`.
        :return: The position from the beginning.
        """
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self.source.size}[whence]
        if base + offset < 0:
            raise ValueError(f"the position {base + offset} lies before the beginning")
        self._position = base + offset
        return self._position

    def tell(self) -> int:
        """Return the position."""
        return self._position

    def readinto(self, buffer: "WriteableBuffer", /) -> int:
        """Read what comes next, as much as fits.

        :param buffer: Where to put it.
        :return: The number of bytes; 0 at the end.
        """
        view = memoryview(buffer).cast("B")
        view = view[: max(self.source.size - self._position, 0)]
        self._read(view, self._position)
        self._position += len(view)
        return len(view)

    def readall(self) -> bytes:
        """Read all that is left, in one request.

        :return: The bytes.
        """
        content = self.read_range(self._position, self.source.size)
        self._position += len(content)
        return content

    def _read(self, view: memoryview, position: int) -> None:
        if not view:
            return

        def read() -> None:
            with self.source.open_range((position, position + len(view))) as response:
                if response.readinto(view) < len(view):
                    raise BrokenConnectionError("the server broke off")

        with_attempts(self.source.uri, read)


def open_object(source: S3Object) -> io.BufferedReader:
    """Open an object for reading.

    :param source: The object.
    :return: The open file; its ``raw`` is the :class:`ObjectReader`.
    """
    return io.BufferedReader(ObjectReader(source), READ_AHEAD)
