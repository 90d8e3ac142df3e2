"""Downloads in parallel ranges that survive a kill, verified by reading back what was written.

Beside a large file that is being filled lies its journal: one line for each range that is on the disk. A download that
was killed continues with the ranges that are not in it. Nothing is truncated below its size, and a range always holds
the same bytes (a source refuses to continue with another version), so that two writers of one file cannot harm each
other, even on a network file system whose locks do not lock.
"""

import logging
import os
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Final, Protocol, Self, TypeVar

from labkit.data.storage.checksum import HASHING_THREADS, READ_SIZE, Checksum, Piece, cut, hash_piece, verify_file
from labkit.data.storage.connection import BrokenConnectionError
from labkit.data.storage.error import CorruptError, UnreachableError
from labkit.data.storage.progress import Advance

RANGE_SIZE: Final = 8 << 20
"""Bytes a request; also the size of a part in most uploads, so that each part can be hashed as it arrives."""
DOWNLOADING_THREADS: Final = 8
PAUSES_SECONDS: Final = (0.1, 0.3, 1.0, 3.0, 10.0)
BUFFER_SIZE: Final = 1 << 20

logger = logging.getLogger(__name__)
R = TypeVar("R")


class Body(Protocol):
    """The content of a range, read piece by piece."""

    def readinto(self, buffer: memoryview, /) -> int:
        """Put what comes next into the buffer; fewer bytes than fit mean the end."""
        ...


class Source(Protocol):
    """One version of a file somewhere else."""

    @property
    def uri(self) -> str:
        """Its address, as messages name it."""
        ...

    @property
    def size(self) -> int:
        """Its size in bytes."""
        ...

    @property
    def range_size(self) -> int:
        """How many bytes to ask for at once; its whole size if the server gives no ranges."""
        ...

    @property
    def checksum(self) -> Checksum | None:
        """What its content hashes to, as far as that is known."""
        ...

    def open_range(self, piece: Piece) -> AbstractContextManager[Body]:
        """Read a part of this version.

        :param piece: The part, not empty.
        :raises BrokenConnectionError: If another attempt may succeed.
        :raises ChangedError: If this version is no longer there.
        """
        ...

    def has_opaque_checksum(self) -> bool:
        """Tell whether the checksum is not one of the content after all; asked when it does not match."""
        ...


@dataclass(frozen=True)
class Download:
    """One file and the place for it."""

    source: Source
    path: Path
    """Where to write; its folder exists."""
    journal: Path
    """Where to note finished ranges; its folder exists, and the file is gone after the download."""


class StoppedError(Exception):
    """Another thread failed, so that what this one does is no longer needed."""


def download(downloads: Sequence[Download], advance: Advance) -> None:
    """Download files: complete, verified and on the disk; continue what an earlier attempt left in place.

    :param downloads: The files.
    :param advance: Told of the bytes as they are in place.
    :raises UnreachableError: If the server does not answer.
    :raises ChangedError: If a file changed meanwhile.
    :raises CorruptError: If a file twice arrived with other content than its checksum says.
    :raises OSError: If a file cannot be written.
    """
    run_all([partial(_download_small, each, advance) for each in downloads if not _is_large(each)])
    for each in filter(_is_large, downloads):
        _download_large(each, advance)


def _is_large(each: Download) -> bool:
    return each.source.size > each.source.range_size


def _download_small(each: Download, advance: Advance, stop: threading.Event) -> None:
    source = each.source
    descriptor = os.open(each.path, os.O_RDWR | os.O_CREAT, 0o666)
    try:
        is_kept = source.checksum is not None and verify_file(descriptor, source.size, source.checksum)
        for is_last in () if is_kept else (False, True):
            os.ftruncate(descriptor, source.size)
            if source.size:
                with_attempts(source.uri, partial(_write_range, source, (0, source.size), descriptor, stop), stop)
            if verify_file(descriptor, source.size, source.checksum) or _is_accepted(source, is_last=is_last):
                break
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    advance(source.size)


def _download_large(each: Download, advance: Advance) -> None:
    source = each.source
    descriptor = os.open(each.path, os.O_RDWR | os.O_CREAT, 0o666)
    try:
        os.ftruncate(descriptor, source.size)
        for is_last in (False, True):
            digests = _fill(each, descriptor, advance)
            if source.checksum is None or source.checksum.matches(digests):
                break
            if verify_file(descriptor, source.size, source.checksum) or _is_accepted(source, is_last=is_last):
                break
            each.journal.unlink()
            advance(-source.size)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    each.journal.unlink()


def _is_accepted(source: Source, *, is_last: bool) -> bool:
    """Judge a file whose content does not match its checksum: whether it is right nonetheless, or to be read again."""
    if source.has_opaque_checksum():
        logger.warning("The server tells no checksum of '%s': only its size could be verified.", source.uri)
        return True
    if is_last:
        expected = source.checksum.expected if source.checksum else ""
        raise CorruptError(
            f"'{source.uri}' arrived twice with other content than its checksum {expected} says: "
            "the stored file is damaged, put it there again."
        )
    logger.warning("'%s' arrived damaged and is read again.", source.uri)
    return False


def _fill(each: Download, descriptor: int, advance: Advance) -> list[bytes]:
    """Download the ranges that are missing, hashing behind them.

    :return: The hash of each piece of the checksum's likeliest layout.
    """
    source, checksum = each.source, each.source.checksum
    ranges = cut(source.size, source.range_size)
    with Journal(each.journal) as journal, ThreadPoolExecutor(HASHING_THREADS, "hash") as hashing:
        finished = journal.read() & set(ranges)
        arrivals = Arrivals(ranges, finished)
        advance(sum(stop - start for start, stop in finished))

        def fetch(piece: Piece, stop: threading.Event) -> None:
            with_attempts(source.uri, partial(_write_range, source, piece, descriptor, stop), stop)
            os.fdatasync(descriptor)
            journal.add(piece)
            arrivals.add(piece)
            advance(piece[1] - piece[0])

        pieces = checksum.layouts(source.size)[0] if checksum else []
        algorithm = checksum.algorithm if checksum else ""
        digests = [hashing.submit(hash_piece, descriptor, piece, algorithm, arrivals.wait_for) for piece in pieces]
        try:
            run_all([partial(fetch, piece) for piece in ranges if piece not in finished])
        except BaseException:
            arrivals.abandon()
            raise
        return [digest.result() for digest in digests]


class Arrivals:
    """The ranges that are in place, for those who wait to read them."""

    def __init__(self, ranges: Sequence[Piece], finished: set[Piece]) -> None:
        self._range_size = ranges[0][1] - ranges[0][0]
        self._arrived = [piece in finished for piece in ranges]
        self._changed = threading.Condition()
        self._is_abandoned = False

    def add(self, piece: Piece) -> None:
        """Note that a range is in place."""
        with self._changed:
            self._arrived[piece[0] // self._range_size] = True
            self._changed.notify_all()

    def abandon(self) -> None:
        """Let nobody wait any longer: the rest does not come."""
        with self._changed:
            self._is_abandoned = True
            self._changed.notify_all()

    def wait_for(self, position: int) -> None:
        """Return when one reading's bytes are in place.

        :param position: Where the reading begins.
        :raises StoppedError: If they do not come.
        """
        first = position // self._range_size
        last = min((position + READ_SIZE - 1) // self._range_size, len(self._arrived) - 1)
        with self._changed:
            self._changed.wait_for(lambda: self._is_abandoned or (self._arrived[first] and self._arrived[last]))
            if self._is_abandoned:
                raise StoppedError


class Journal:
    """The finished ranges of a download, in a file."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._descriptor = -1

    def __enter__(self) -> Self:
        self._descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o666)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        os.close(self._descriptor)

    def add(self, piece: Piece) -> None:
        """Note a range whose bytes are on the disk."""
        os.write(self._descriptor, f"{piece[0]}-{piece[1]} done\n".encode())

    def read(self) -> set[Piece]:
        """Return the finished ranges; a line that a kill cut short is none."""
        content = self._path.read_bytes()
        if content and not content.endswith(b"\n"):
            os.write(self._descriptor, b"\n")
        lines = [line.removesuffix(b" done").split(b"-") for line in content.split(b"\n") if line.endswith(b" done")]
        return {(int(start), int(stop)) for start, stop in lines}


def run_all(tasks: Sequence[Callable[[threading.Event], object]]) -> None:
    """Run tasks in threads until all are done or one fails: then the others end soon, and its error is raised.

    :param tasks: Called with an event that is set when they shall end.
    """
    remaining = iter(tasks)
    guard = threading.Lock()
    stop = threading.Event()

    def work() -> None:
        while not stop.is_set():
            with guard:
                task = next(remaining, None)
            if task is None:
                return
            task(stop)

    count = min(DOWNLOADING_THREADS, len(tasks))
    if not count:
        return
    with ThreadPoolExecutor(count, "transfer") as pool:
        workers = [pool.submit(work) for _ in range(count)]
        try:
            wait(workers, return_when=FIRST_EXCEPTION)
        finally:
            stop.set()
    errors = [error for worker in workers if (error := worker.exception())]
    for error in sorted(errors, key=lambda error: isinstance(error, StoppedError)):
        raise error


def with_attempts(
    uri: str,
    action: Callable[[], R],
    stop: threading.Event | None = None,
    pauses_seconds: Sequence[float] = PAUSES_SECONDS,
) -> R:
    """Do something over the network, again where the connection breaks, after growing pauses.

    :param uri: What is read, for the message.
    :param action: Called until it succeeds.
    :param stop: Cuts the pauses short.
    :param pauses_seconds: How long to wait after each attempt but the last.
    :return: What the action returned.
    :raises UnreachableError: If it failed too often.
    """
    stop = stop or threading.Event()
    for pause in pauses_seconds:
        try:
            return action()
        except BrokenConnectionError as error:
            logger.info("Reading '%s' again: %s", uri, error)
            stop.wait(pause)
    try:
        return action()
    except BrokenConnectionError as error:
        raise UnreachableError(
            f"'{uri}' could not be read ({error}): check the network and the server and run it again; "
            "what has arrived is kept."
        ) from error


_buffers = threading.local()


def _write_range(source: Source, piece: Piece, descriptor: int, stop: threading.Event) -> None:
    buffer: memoryview | None = getattr(_buffers, "buffer", None)
    if buffer is None:
        buffer = _buffers.buffer = memoryview(bytearray(BUFFER_SIZE))
    position, end = piece
    with source.open_range(piece) as body:
        while position < end:
            if stop.is_set():
                raise StoppedError
            count = body.readinto(buffer[: end - position])
            if not count:
                raise BrokenConnectionError("the server broke off")
            write_fully(descriptor, buffer[:count], position)
            position += count


def write_fully(descriptor: int, content: memoryview, position: int) -> None:
    """Write all bytes at a position, in as many steps as the system takes.

    :param descriptor: The open file.
    :param content: The bytes.
    :param position: Where the first of them goes.
    """
    while content:
        count = os.pwrite(descriptor, content, position)
        content = content[count:]
        position += count
