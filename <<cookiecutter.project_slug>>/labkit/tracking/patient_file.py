"""A file that takes what is appended to it also while the disk is full."""

import errno
import io
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

DISK_IS_FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT})


class PatientFile(io.FileIO):
    """A file whose bytes wait in memory until there is room for them.

    What appends to it need not stop: there may be room again by the time that all must be on the disk.
    """

    def __init__(self, path: Path) -> None:
        """Open a file to append to it, there or not.

        :param path: Its path.
        """
        super().__init__(path, "ab")
        self._waiting = b""

    @property
    def is_waiting(self) -> bool:
        """Whether something waits for room."""
        return bool(self._waiting)

    def write(self, data: "ReadableBuffer", /) -> int:
        """Append bytes, now or when there is room.

        :param data: The bytes.
        :return: How many they are.
        """
        data = bytes(data)
        self._waiting += data
        try:
            self.drain()
        except OSError as error:
            if error.errno not in DISK_IS_FULL:
                raise
        return len(data)

    def drain(self) -> None:
        """Write what waits.

        :raises OSError: If there is no room for it.
        """
        while self._waiting:
            self._waiting = self._waiting[super().write(self._waiting) :]
