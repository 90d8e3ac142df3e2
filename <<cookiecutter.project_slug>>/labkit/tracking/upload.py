"""Files on their way to the artifact store, as they are at one moment, whoever goes on writing them."""

import contextlib
import json
import shutil
import tempfile
import time
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Final

FOLDER: Final = ".upload"
PLACE: Final = "spool.growing"
SECONDS_BETWEEN_UPLOADS: Final = 30.0
SHARE_OF_TIME: Final = 0.1
"""Files that grow are uploaded for at most this share of the time, however large they become."""


@contextlib.contextmanager
def frozen(path: Path, folder: Path) -> Generator[Path]:
    """Hold a file as it is, under the same name.

    No byte is copied for it where the file system knows hard links.

    :param path: A file that others replace, but do not change.
    :param folder: The run's folder.
    :return: A context with the path of a file that stays as it is.
    """
    (folder / FOLDER).mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder / FOLDER) as own:
        held = Path(own) / path.name
        try:
            held.hardlink_to(path)
        except OSError:
            shutil.copyfile(path, held)
        yield held


class GrowingFiles:
    """Files that are appended to; they are uploaded now and then, and for the last time when the run has ended.

    :ivar sent: How many uploads there were.
    """

    def __init__(self, folder: Path, upload: Callable[[Path, str], None]) -> None:
        """Prepare to upload.

        :param folder: The run's folder.
        :param upload: Copies a file to a folder of the artifact store, or raises.
        """
        self.sent = 0
        self._folder = folder
        self._upload = upload
        self._place = folder / PLACE
        self._sizes = self._read_place()
        self._time_of_next = time.monotonic() + SECONDS_BETWEEN_UPLOADS

    def find_changed(self, *patterns: str) -> list[Path]:
        """Find the files that have grown since they were uploaded, or never were.

        :param patterns: What their paths in the run's folder look like.
        :return: Their paths.
        """
        found = [path for pattern in patterns for path in sorted(self._folder.glob(pattern))]
        return [path for path in found if path.stat().st_size != self._sizes.get(self._name(path))]

    def advance(self, *patterns: str, is_last: bool) -> int:
        """Upload what has grown, if it is time.

        :param patterns: What the paths of the files in the run's folder look like.
        :param is_last: Whether it is time in any case.
        :return: How many files were uploaded.
        """
        began = time.monotonic()
        if began < self._time_of_next and not is_last:
            return 0
        changed = self.find_changed(*patterns)
        (self._folder / FOLDER).mkdir(exist_ok=True)
        for path in changed:
            with tempfile.TemporaryDirectory(dir=self._folder / FOLDER) as own:
                copy = Path(shutil.copyfile(path, Path(own) / path.name))
                self._upload(copy, path.parent.relative_to(self._folder).as_posix())
                self._note(path, copy.stat().st_size)
        now = time.monotonic()
        self._time_of_next = now + max(SECONDS_BETWEEN_UPLOADS, (now - began) / SHARE_OF_TIME)
        return len(changed)

    def _note(self, path: Path, size: int) -> None:
        self._sizes[self._name(path)] = size
        self.sent += 1
        temporary = self._place.with_name(f"{PLACE}.part")
        temporary.write_text(json.dumps(self._sizes), encoding="utf-8")
        temporary.replace(self._place)

    def _name(self, path: Path) -> str:
        return path.relative_to(self._folder).as_posix()

    def _read_place(self) -> dict[str, int]:
        try:
            return json.loads(self._place.read_text(encoding="utf-8"))
        except (FileNotFoundError, ValueError):  # a machine that lost its power may leave the file empty
            return {}
