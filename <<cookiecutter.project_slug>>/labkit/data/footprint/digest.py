"""The SHA-256 of many files, by as many processes as there are processors.

Small files take more time to be opened than to be hashed, and a Python process opens one at a time; hence processes
rather than threads. They are programs of their own, not forks, since a fork of a process with threads may hang.
"""

import collections
import errno
import itertools
import os
import selectors
import subprocess
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import IO, Final, Generic, NamedTuple, TypeVar

from labkit.data.footprint.file_hash import BUFFER_SIZE, LENGTH, REPLY, Digest, hash_file

PROGRAM: Final = str(Path(__file__).with_name("file_hash.py"))
FILES_PER_BATCH: Final = 128
BYTES_PER_BATCH: Final = 4 * 2**20
PATH_BYTES_PER_BATCH: Final = 2**14
"""Two batches fit into a pipe, so that a process never waits for the other end to read what it sends."""
BATCHES_PER_WORKER: Final = 2
"""One to work on and one to go on with."""
BATCHES_AHEAD: Final = 512
"""How many batches may be done before an earlier one that takes long."""
T = TypeVar("T")


class File(NamedTuple, Generic[T]):
    """A file to be hashed, or an item that only keeps its place between files."""

    item: T
    path: bytes | None
    size: int
    """About how many bytes it has: large files are handed out one by one."""


def hash_files(files: Iterable[File[T]]) -> Iterator[tuple[T, Digest | None]]:
    """Hash files in parallel, in constant memory.

    :param files: The files; what gives them is run in this thread.
    :return: Each item, in the order given, with what was read from its file if it has one.
    :raises OSError: If a file cannot be read.
    """
    batches = _make_batches(files)
    first = list(itertools.islice(batches, 2))
    if len(first) == 1:
        # Too little to start a process for.
        buffer = bytearray(BUFFER_SIZE)
        for file in first[0]:
            yield file.item, None if file.path is None else hash_file(file.path, buffer)
        return
    yield from _hash_in_processes(itertools.chain(first, batches))


def _make_batches(files: Iterable[File[T]]) -> Iterator[list[File[T]]]:
    """Put files together for one trip to a process: many small ones, or a large one."""
    batch: list[File[T]] = []
    size = path_size = 0
    for file in files:
        batch.append(file)
        size += file.size
        path_size += 1 if file.path is None else len(file.path) + 1
        if len(batch) == FILES_PER_BATCH or size >= BYTES_PER_BATCH or path_size >= PATH_BYTES_PER_BATCH:
            yield batch
            batch = []
            size = path_size = 0
    if batch:
        yield batch


class _Worker:
    """A process that hashes the files of one batch after the other."""

    def __init__(self) -> None:
        command = [sys.executable, "-I", "-S", PROGRAM]
        # Ctrl-C reaches this process only, which then ends that one.
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0, process_group=0
        )
        self.batches: collections.deque[tuple[int, list[bytes]]] = collections.deque()

    def send(self, number: int, paths: list[bytes]) -> None:
        """Hand out a batch."""
        self.batches.append((number, paths))
        content = b"\0".join(paths)
        try:
            _write(self.process.stdin, LENGTH.pack(len(content)) + content)
        except BrokenPipeError as error:
            raise _ended_from_outside() from error

    def receive(self) -> tuple[int, list[Digest]]:
        """Take what came of the batch that was sent first; an idle process has something to say only when it ends."""
        if not self.batches:
            raise _ended_from_outside()
        number, paths = self.batches.popleft()
        content = _read(self.process.stdout, REPLY.size * len(paths))
        if len(content) < REPLY.size * len(paths):
            raise _ended_from_outside()
        digests: list[Digest] = []
        for path, (error, size, time_ns, sha256) in zip(paths, REPLY.iter_unpack(content), strict=True):
            if error:
                raise OSError(error, os.strerror(error), os.fsdecode(path))
            digests.append((size, time_ns, sha256))
        return number, digests

    def stop(self) -> None:
        """End the process."""
        self.process.kill()
        self.process.__exit__(None, None, None)


def _ended_from_outside() -> ChildProcessError:
    return ChildProcessError(errno.ECHILD, "A process that computes hashes was ended from outside.")


def _hash_in_processes(batches: Iterator[list[File[T]]]) -> Iterator[tuple[T, Digest | None]]:
    pending: dict[int, list[File[T]]] = {}
    done: dict[int, list[Digest]] = {}
    numbered = enumerate(batches)
    next_number = 0
    workers = [_Worker() for _ in os.sched_getaffinity(0)]
    try:
        with selectors.DefaultSelector() as selector:
            for worker in workers:
                selector.register(worker.process.stdout or -1, selectors.EVENT_READ, worker)
            while True:
                for worker in workers * BATCHES_PER_WORKER:
                    if len(worker.batches) < BATCHES_PER_WORKER and len(pending) < BATCHES_AHEAD:
                        number, batch = next(numbered, (-1, []))
                        if number >= 0:
                            pending[number] = batch
                            worker.send(number, [file.path for file in batch if file.path is not None])
                if not pending:
                    return
                for key, _ in selector.select():
                    number, digests = key.data.receive()
                    done[number] = digests
                while next_number in done:
                    digests = iter(done.pop(next_number))
                    for file in pending.pop(next_number):
                        yield file.item, None if file.path is None else next(digests)
                    next_number += 1
    finally:
        for worker in workers:
            worker.stop()


def _write(file: IO[bytes] | None, content: bytes) -> None:
    while file and content:
        content = content[file.write(content) :]


def _read(file: IO[bytes] | None, length: int) -> bytes:
    content = b""
    while file and len(content) < length and (more := file.read(length - len(content))):
        content += more
    return content
