"""A disk of its own, small enough to be filled."""

import contextlib
import subprocess
from collections.abc import Generator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pytest

SIZE: Final = "512k"


@dataclass(frozen=True)
class SmallDisk:
    """A real disk: what does not fit is refused by the kernel."""

    path: Path

    @property
    def _filler(self) -> Path:
        return self.path / "filler"

    def fill(self, *, room: int = 0) -> None:
        """Leave no room.

        :param room: Bytes that fit all the same, a multiple of 4096.
        """
        with self._filler.open("ab", buffering=0) as file:
            with contextlib.suppress(OSError):
                while file.write(bytes(4096)):
                    pass
            file.truncate(file.tell() - room)

    def clear(self) -> None:
        """Make room again."""
        self._filler.unlink()


@contextlib.contextmanager
def mount(folder: Path) -> Generator[SmallDisk]:
    """Mount a disk, or skip the test where nobody may."""
    folder.mkdir()
    words = ["mount", "-t", "tmpfs", "-o", f"size={SIZE}", "labkit", str(folder)]
    try:
        subprocess.run(words, check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("only an administrator can mount a small disk")
    try:
        yield SmallDisk(folder)
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)
