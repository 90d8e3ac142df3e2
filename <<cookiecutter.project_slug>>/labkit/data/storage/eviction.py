"""Room in a cache: what was not used for longest goes first, and what is in use stays."""

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import filelock

from labkit.data.storage.cache import (
    ADDRESS,
    allocated_bytes,
    discard,
    lock_address,
    read_claims,
    remove_if_unused,
)
from labkit.data.storage.disk import ByteCount, free_bytes
from labkit.data.storage.error import DiskFullError

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Copy:
    """A copy in a cache, or an unfinished one."""

    folder: Path
    uri: str
    size: int
    """The bytes that it takes on the disk."""
    last_use: float
    """Seconds since 1970."""

    @property
    def claim(self) -> str:
        """What a process that uses it has in its claims."""
        return f"{self.folder.parent.name}/{self.folder.name}"


def list_copies(root: Path) -> Iterator[Copy]:
    """List the copies in a cache.

    :param root: The cache's folder.
    :return: The copies, finished or not, in no particular order.
    """
    for address in root.glob(f"[!.]*/{ADDRESS}"):
        for folder in address.parent.iterdir():
            try:
                uri = address.read_text(encoding="utf-8").partition(" ")[2].removesuffix("\n")
                if folder.is_dir():
                    yield Copy(folder, uri, allocated_bytes(folder), folder.stat().st_mtime)
            except FileNotFoundError:  # removed by another process meanwhile
                continue


def evict(root: Path, keep_free: ByteCount) -> list[Copy]:
    """Remove the copies that were not used for longest, until there is room; those in use stay.

    :param root: The cache's folder.
    :param keep_free: The room that shall be free on its file system.
    :return: What was removed, in this order.
    :raises DiskFullError: If all else is in use and there still is not enough room.
    """
    removed: list[Copy] = []
    root.mkdir(parents=True, exist_ok=True)
    for copy in sorted(list_copies(root), key=lambda copy: (copy.last_use, copy.uri)):
        if free_bytes(root) >= keep_free.bytes:
            break
        if _remove(root, copy):
            logger.info("Removed the copy of %s: %s.", copy.uri, ByteCount(copy.size))
            removed.append(copy)
    if (free := free_bytes(root)) < keep_free.bytes:
        raise DiskFullError(
            f"Only {ByteCount(free)} of {keep_free} could be made free on the disk of '{root}': what is left is in use "
            "or no copy."
        )
    return removed


def _remove(root: Path, copy: Copy) -> bool:
    try:
        # Whoever claims a copy does so under this lock; whoever downloads one holds it.
        with lock_address(root, copy.folder.parent.name, timeout_seconds=0):
            if copy.claim in read_claims(root) or not copy.folder.is_dir():
                return False
            discard(copy.folder)
            remove_if_unused(copy.folder.parent)
            return True
    except filelock.Timeout:
        return False
