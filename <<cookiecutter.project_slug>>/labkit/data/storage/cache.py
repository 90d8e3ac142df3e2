"""A folder of verified copies, shared by processes and machines.

A copy lies at ``<hash of the whole address>/<hash of the version>/<name>``: data sets of one name never meet, and a
replaced object never hides its successor. It is filled beside that place, under a lock for the address, and appears
there by one rename when it is complete, verified and on the disk. The system frees the lock when its holder dies, also
on network file systems with locks (NFS, Lustre mounted with ``flock``). Where they do not lock, two machines may do the
same work, with the same outcome.

Who uses a copy claims it, in a file that lists a process's claims and that the process keeps locked as long as it
lives. Eviction leaves claimed copies alone.
"""

import contextlib
import errno
import fcntl
import hashlib
import json
import logging
import os
import secrets
import shutil
import socket
import stat
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import filelock

from labkit.data.record import RECORD_FOLDER, record_path, write_record
from labkit.data.storage.disk import check_room, explained_when_full, sync_folder
from labkit.data.storage.error import StorageError, UnreachableError

logger = logging.getLogger(__name__)

LOCKS: Final = ".locks"
CLAIMS: Final = ".claims"
ADDRESS: Final = "address"
SIZES: Final = "sizes"
UNFINISHED: Final = ".unfinished"
DISCARDED: Final = ".discarded"
WRITABLE: Final = stat.S_IWUSR | stat.S_IWGRP | stat.S_IWOTH


@dataclass(frozen=True)
class Item:
    """What a copy is a copy of."""

    uri: str
    """The address, as messages name it."""
    server: str
    """The server, which makes the address a whole one."""
    version: str
    """What changes when the content does."""
    name: str
    """The name of the file or folder."""
    sizes: Mapping[str, int] | None = field(repr=False)
    """The size in bytes of each file, by its path with slashes from the folder around ``name``; none if only making the
    copy tells."""
    total: int
    """The number of bytes that making it takes."""

    @property
    def address(self) -> str:
        """The whole address."""
        return f"{self.server} {self.uri}"


Fill = Callable[[Path, Path], None]
"""Puts an item's files into the first folder, where their folders exist, noting its progress in the second.

Both may hold what an earlier attempt left."""


class Cache:
    """One folder of copies, and the claims of this process in it."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._claims: dict[int, Claims] = {}

    def get(self, item: Item, fill: Fill) -> Path:
        """Return the copy of an item, made if it is not there, and claim it.

        :param item: The item.
        :param fill: Makes the copy.
        :return: The file or folder.
        :raises StorageError: If the copy cannot be made; what was begun is removed unless it can be continued.
        """
        with explained_when_closed(self.root), self.locked(item.address):
            folder = self.find_folder(item)
            self._claim(folder)
            if folder.is_dir() and not is_complete(folder, item):
                discard(folder)
            if not folder.is_dir():
                self._make(item, folder, fill)
            os.utime(folder)
            return folder / item.name

    def remove(self, item: Item) -> None:
        """Remove the copy of an item, if there is one.

        :param item: The item.
        """
        with self.locked(item.address):
            discard(self.find_folder(item))

    def find_folder(self, item: Item) -> Path:
        """Return the folder around an item's copy, whether it is there or not."""
        return self.root / hash_text(item.address) / hash_text(item.version)

    @contextlib.contextmanager
    def locked(self, address: str) -> Generator[None]:
        """Be the only one, on all machines, that touches the copies of an address.

        :param address: The whole address.
        """
        name = hash_text(address)
        lock = lock_address(self.root, name)
        try:
            lock.acquire(timeout=0)
        except filelock.Timeout:
            logger.info("Waiting for another process that is busy with %s.", address.partition(" ")[2])
            lock.acquire()
        try:
            yield
        finally:
            lock.release()

    def close(self) -> None:
        """Give up this process's claims."""
        claims = self._claims.pop(os.getpid(), None)
        if claims:
            claims.close()

    def _claim(self, folder: Path) -> None:
        # A forked process has its own file; the parent's stays locked as long as one of its children lives.
        process = os.getpid()
        if process not in self._claims:
            self._claims[process] = Claims(self.root)
        self._claims[process].add(str(folder.relative_to(self.root)))

    def _make(self, item: Item, folder: Path, fill: Fill) -> None:
        unfinished = folder.with_name(folder.name + UNFINISHED)
        content, notes = unfinished / "content", unfinished / "notes"
        try:
            with explained_when_full(self.root, item.uri, item.total):
                notes.mkdir(parents=True, exist_ok=True)
                for other in folder.parent.iterdir():
                    if other != unfinished and other.name.endswith((UNFINISHED, DISCARDED)):
                        discard(other)
                check_room(self.root, item.total - allocated_bytes(content))
                (folder.parent / ADDRESS).write_text(item.address + "\n", encoding="utf-8")
                for parent in {(content / name).parent for name in item.sizes or [item.name]}:
                    parent.mkdir(parents=True, exist_ok=True)
                fill(content, notes)
                if item.sizes is None:
                    write_record(content, SIZES, json.dumps(list_sizes(content)).encode())
                seal(content)
            publish(content, folder)
        except (KeyboardInterrupt, UnreachableError):
            raise
        except BaseException:
            discard(unfinished)
            remove_if_unused(folder.parent)
            raise
        discard(unfinished)


class Claims:
    """The copies that one process uses, in a file that it keeps locked."""

    def __init__(self, root: Path) -> None:
        folder = root / CLAIMS
        folder.mkdir(parents=True, exist_ok=True)
        name = f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(4)}"
        self._path = folder / name
        self._claimed: set[str] = set()
        # Locked before it gets its name: whoever finds it unlocked may take its owner for dead.
        hidden = folder / f".{name}"
        self._descriptor = os.open(hidden, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_APPEND, 0o666)
        fcntl.flock(self._descriptor, fcntl.LOCK_EX)
        hidden.rename(self._path)

    def add(self, copy: str) -> None:
        """Claim a copy.

        :param copy: Its folder, relative to the cache's.
        """
        if copy not in self._claimed:
            os.write(self._descriptor, f"{copy}\n".encode())
            self._claimed.add(copy)

    def close(self) -> None:
        """Give all up."""
        self._path.unlink(missing_ok=True)
        os.close(self._descriptor)


def read_claims(root: Path) -> set[str]:
    """Return the copies that living processes use, on any machine; forget the claims of dead ones.

    :param root: The cache's folder.
    :return: Folders, relative to the cache's.
    """
    claimed: set[str] = set()
    for path in (root / CLAIMS).glob("[!.]*"):
        try:
            with path.open("r+", encoding="utf-8") as file:
                try:
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except OSError:
                    claimed |= set(file.read().split())
                else:
                    path.unlink(missing_ok=True)
        except FileNotFoundError:
            continue
    return claimed


def lock_address(root: Path, name: str, timeout_seconds: float = -1) -> filelock.BaseFileLock:
    """Return the lock of an address.

    :param root: The cache's folder.
    :param name: The hash of the address.
    :param timeout_seconds: How long to wait for it; for ever by default.
    :return: The lock, to be used in a ``with`` statement.
    """
    folder = root / LOCKS
    folder.mkdir(parents=True, exist_ok=True)
    return filelock.FileLock(folder / name, timeout=timeout_seconds)


def hash_text(text: str) -> str:
    """Return a name for a text that no other text has."""
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def is_complete(folder: Path, item: Item) -> bool:
    """Tell whether a copy has exactly the files that it was made with, each in its full length.

    :param folder: The folder around the copy.
    :param item: What it is a copy of.
    """
    sizes = item.sizes
    if sizes is None:
        sizes = json.loads(record_path(folder, SIZES).read_bytes())
    return list_sizes(folder) == {name: size for name, size in sizes.items() if RECORD_FOLDER not in name.split("/")}


def list_sizes(folder: Path) -> dict[str, int]:
    """Return the size of each file below a folder, except what the bench noted about them.

    :param folder: The folder.
    :return: Sizes in bytes, by the file's path with slashes.
    """
    sizes: dict[str, int] = {}
    open_folders = [(str(folder), "")]
    while open_folders:
        path, prefix = open_folders.pop()
        with os.scandir(path) as entries:
            for entry in entries:
                if entry.name == RECORD_FOLDER:
                    continue
                if entry.is_dir(follow_symlinks=False):
                    open_folders.append((entry.path, f"{prefix}{entry.name}/"))
                else:
                    sizes[prefix + entry.name] = entry.stat(follow_symlinks=False).st_size
    return sizes


def allocated_bytes(folder: Path) -> int:
    """Return how many bytes the files below a folder take on the disk; 0 if there is no such folder."""
    return sum(path.lstat().st_blocks * 512 for path in folder.rglob("*") if not path.is_dir())


def seal(folder: Path) -> None:
    """Make all files below a folder read-only, and their names permanent.

    :param folder: The folder; its files' content is on the disk already.
    """
    for path, _, names in os.walk(folder):
        for name in names:
            file = Path(path, name)
            file.chmod(file.stat().st_mode & ~WRITABLE)
        sync_folder(Path(path))


def publish(content: Path, folder: Path) -> None:
    """Let a complete folder appear in its place, for good.

    :param content: The folder.
    :param folder: Its place; if another machine was faster, where locks do not lock, its equal copy stays.
    """
    try:
        content.rename(folder)
    except OSError as error:
        if error.errno not in {errno.EEXIST, errno.ENOTEMPTY}:
            raise
    sync_folder(folder.parent)


def discard(folder: Path) -> None:
    """Remove a folder so that nobody ever sees half of it.

    :param folder: The folder, which need not exist.
    """
    if folder.name.endswith((UNFINISHED, DISCARDED)):
        shutil.rmtree(folder, ignore_errors=True)
        return
    discarded = folder.with_name(f"{folder.name}-{secrets.token_hex(4)}{DISCARDED}")
    with contextlib.suppress(FileNotFoundError):
        folder.rename(discarded)
        shutil.rmtree(discarded, ignore_errors=True)


def remove_if_unused(folder: Path) -> None:
    """Remove an address's folder in which no copy is left.

    :param folder: The folder.
    """
    if folder.is_dir() and {path.name for path in folder.iterdir()} <= {ADDRESS}:
        (folder / ADDRESS).unlink(missing_ok=True)
        folder.rmdir()


@contextlib.contextmanager
def explained_when_closed(root: Path) -> Generator[None]:
    """Turn the error of a folder that cannot be written into one sentence.

    :param root: The cache's folder.
    :raises StorageError: If it cannot be written.
    """
    try:
        yield
    except OSError as error:
        if error.errno not in {errno.EACCES, errno.EPERM, errno.EROFS}:
            raise
        raise StorageError(
            f"The cache '{root}' cannot be written ({error.strerror}: '{error.filename}'): let DATA_PATH and "
            "DATA_EPHEMERAL_PATH name folders of yours."
        ) from error
