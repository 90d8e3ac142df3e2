"""Which data these are: every file's path, size and hash, and one root hash for all.

The root depends on the files' relative paths and bytes and on nothing else: not on where they lie, in what order the
file system lists them, or when they were written. Times are kept too, in nanoseconds since 1970 in UTC, but only to
tell which files need not be read again.

The listing is a text file: a line of JSON with the root, then for each file, in the order of the paths' bytes, its
SHA-256, size, time and path. It is written and compared as a stream, so that memory does not grow with the data.
"""

import contextlib
import dataclasses
import errno
import hashlib
import io
import itertools
import json
import os
import re
from binascii import hexlify
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Final, NamedTuple, Self, TypeVar

from labkit.atomic import write_atomically
from labkit.command import UsageError, command
from labkit.data.folder import walk_runs
from labkit.data.footprint.digest import File, hash_files
from labkit.data.footprint.file_hash import Digest
from labkit.data.progress import Progress, show_nothing, show_progress
from labkit.data.record import explained_when_unwritable, record_paths
from labkit.environment import Environment

if TYPE_CHECKING:
    from numpy.typing import NDArray

RECORD_NAME: Final = "footprint"
FORMAT: Final = "labkit footprint 1"
HEADER_SIZE: Final = 256
HASH_SIZE: Final = 64

SHOWN_BY_NAME: Final = 3

T = TypeVar("T")


@dataclass(frozen=True)
class Footprint:
    """What identifies data: equal roots mean equal files."""

    root: str
    """SHA-256, in hexadecimal, of the lines ``<SHA-256> <size> <path>`` of all files."""
    files: int
    bytes: int

    def to_json(self) -> str:
        """Return the footprint as JSON, as runs keep it in ``footprint.json``."""
        return json.dumps(dataclasses.asdict(self))


@dataclass(frozen=True)
class Difference:
    """A file that is not as recorded."""

    kind: str
    """``added``, ``deleted`` or ``changed``."""
    name: str

    def __str__(self) -> str:
        return f"{self.kind} {self.name}"


_State = tuple[bytes, int, int, bytes]
"""A file as it is now: path, size, time, and its line in a listing without the hash. Plain, for speed."""


class _Recorded(NamedTuple):
    """A file as it was."""

    name: bytes
    size: int
    sha256: bytes

    @classmethod
    def parse(cls, line: bytes) -> Self:
        try:
            sha256, size, _, name = line[:-1].split(b" ", 3)
            return cls(_unescape(name), int(size), sha256)
        except ValueError as error:
            raise UsageError(
                f"The footprint is damaged, there is the line {line!r}: record it again with `data-verify --record`."
            ) from error


_Pair = tuple[_Recorded | None, _State | None]


def measure_footprint(data: Path, progress: Progress = show_nothing) -> Footprint:
    """Read all files of some data, and record nothing.

    :param data: A folder, or one file.
    :param progress: Told of every file.
    :return: The footprint.
    :raises UsageError: If there are no data, they cannot be read, or they change meanwhile.
    """
    summary = _Summary()
    for _ in _measure(data, summary, progress):
        pass
    return summary.footprint()


def measure_arrays(arrays: "Mapping[str, NDArray[Any]]") -> Footprint:
    """Return the footprint of data that are no files, as those that come with a library.

    :param arrays: Arrays by name.
    :return: The footprint of a folder that holds each as a file ``<name>.npy``.
    """
    import numpy as np

    summary = _Summary()
    for name in sorted(f"{name}.npy".encode() for name in arrays):
        file = io.BytesIO()
        np.save(file, np.ascontiguousarray(arrays[name.decode().removesuffix(".npy")]), allow_pickle=False)
        content = file.getbuffer()
        summary.add(hashlib.sha256(content).hexdigest().encode(), len(content), name)
    return summary.footprint()


def record_footprint(data: Path, *, cache: Path | None = None, progress: Progress = show_nothing) -> Footprint:
    """Read all files of some data, and keep their footprint beside them.

    :param data: A folder, or one file.
    :param cache: Where to keep it if that is impossible beside the data.
    :param progress: Told of every file.
    :return: The footprint.
    :raises UsageError: If there are no data, they cannot be read, or they change meanwhile.
    :raises OSError: If it can be kept nowhere.
    """
    *others, last = record_paths(data, RECORD_NAME, cache)
    for path in others:
        try:
            return _record(data, path, progress)
        except OSError:
            continue
    return _record(data, last, progress)


def read_footprint(data: Path, *, cache: Path | None = None) -> Footprint | None:
    """Return the recorded footprint of some data, without looking at them.

    :param data: A folder, or one file.
    :param cache: Where it may be if not beside the data.
    :return: The footprint, or nothing if none is recorded.
    :raises UsageError: If the record is damaged.
    """
    path = _find_record(data, cache)
    if path is None:
        return None
    with path.open("rb") as file:
        return _read_header(file, path)


def compare_with_footprint(
    data: Path, *, is_deep: bool = False, cache: Path | None = None, progress: Progress = show_nothing
) -> Iterator[Difference]:
    """Compare data with their recorded footprint.

    Quick, it compares paths, sizes and times, and reads only the files whose time differs: a copy with new times is no
    difference, and a change that leaves size and time as they were goes unseen. Deep, it reads all files, and times do
    not matter.

    :param data: A folder, or one file.
    :param is_deep: Whether to read all files.
    :param cache: Where the footprint may be if not beside the data.
    :param progress: Told of every file.
    :return: The files that differ, in the order of their paths.
    :raises UsageError: If none is recorded, or the data cannot be read or change meanwhile.
    """
    path = _find_record(data, cache)
    if path is None:
        raise UsageError(f"No footprint of {data} is recorded: make one with `data-verify {data} --record`.")
    yield from _compare(data, path, _Witness(), is_deep=is_deep, progress=progress)


def identify_data(
    data: Path, *, expect: str | None = None, cache: Path | None = None, progress: Progress = show_nothing
) -> Footprint:
    """Return the footprint of data that are about to be used, recording it if that was not done before.

    A copy with new times is read once, as its record keeps these then.

    :param data: A folder, or one file.
    :param expect: The only root that is acceptable, or its beginning.
    :param cache: Where the footprint may be if not beside the data.
    :param progress: Told of every file.
    :return: The footprint.
    :raises UsageError: If the data are not as recorded, or not those expected.
    """
    path = _find_record(data, cache)
    if path is None:
        try:
            footprint = record_footprint(data, cache=cache, progress=progress)
        except OSError:
            footprint = measure_footprint(data, progress)
    else:
        with path.open("rb") as file:
            footprint = _read_header(file, path)
        witness = _Witness()
        differences = list(_compare(data, path, witness, is_deep=False, progress=progress))
        if differences:
            named = ", ".join(map(str, differences[:SHOWN_BY_NAME]))
            raise UsageError(
                f"The data {data} are not as recorded, {len(differences)} files differ ({named}): see `data-verify "
                f"{data}`; if that is meant to be so, run `data-verify {data} --record`."
            )
        if witness.has_read:
            with contextlib.suppress(OSError):
                _renew_times(data, path, witness)
    if expect is not None and not is_root(expect, footprint):
        raise UsageError(f"The data {data} have the root {footprint.root}, not {expect}: these are other data.")
    return footprint


def check_root(expected: str) -> None:
    """Make sure that a root hash, or its beginning, can be one.

    :param expected: What a user expects.
    :raises UsageError: If this can be no root.
    """
    if not re.fullmatch("[0-9a-fA-F]{8,64}", expected):
        raise UsageError(f"The root '{expected}' is no hash: give 8 to 64 hexadecimal digits.")


def is_root(expected: str, footprint: Footprint) -> bool:
    """Tell whether a footprint has the root that is expected.

    :param expected: The root, or its beginning, 8 digits or more.
    :param footprint: The footprint.
    :return: Whether they agree.
    :raises UsageError: If this can be no root.
    """
    check_root(expected)
    return footprint.root.startswith(expected.lower())


@command
def data_verify(path: Path, *, deep: bool = False, record: bool = False, expect: str | None = None) -> int:
    """Tell whether data are still those that were recorded, file by file.

    Differences are listed as added, deleted or changed, and make the exit code 1. Examples:
    ``data-verify data/cells --record``, and later ``data-verify data/cells --deep``.

    :param path: A folder, or one file such as an archive.
    :param deep: Read all files, rather than only those of which the size or the time differs.
    :param record: Record the data as they are now.
    :param expect: The root hash that the data must have, or its beginning.
    :return: 0 if nothing differs, 1 otherwise.
    """
    environment = Environment.read()
    cache = environment.data_ephemeral_path or environment.data_path
    path = Path(path)
    footprint = read_footprint(path, cache=cache)
    count = 0
    with show_progress(f"Verifying {path}") as progress:
        if record:
            with explained_when_unwritable(path):
                footprint = record_footprint(path, cache=cache, progress=progress)
        elif footprint is None and expect is not None:
            footprint = measure_footprint(path, progress)
        else:
            for difference in compare_with_footprint(path, is_deep=deep, cache=cache, progress=progress):
                print(difference)
                count += 1
    if count or footprint is None:
        print(f"{path} is not as recorded: {count} files differ.")
        return 1
    if expect is not None and not is_root(expect, footprint):
        print(f"{path} has the root {footprint.root}, not {expect}.")
        return 1
    print(f"{footprint.root}  {path}  ({footprint.files:,} files, {footprint.bytes:,} bytes)")
    return 0


class _Summary:
    """The root of the files added so far."""

    def __init__(self) -> None:
        self._root = hashlib.sha256()
        self._files = 0
        self._bytes = 0

    def add(self, sha256: bytes, size: int, name: bytes) -> None:
        """Add a file, by its hash in hexadecimal."""
        self._root.update(b"%s %d %s\n" % (sha256, size, _escape(name)))
        self._files += 1
        self._bytes += size

    def footprint(self) -> Footprint:
        """Return the footprint of all files added."""
        return Footprint(self._root.hexdigest(), self._files, self._bytes)


class _Witness:
    """Remembers the sizes and times of files in constant memory, and whether any had to be read."""

    def __init__(self) -> None:
        self._states = hashlib.sha256()
        self.has_read = False

    def watch(self, runs: Iterable[list[_State]]) -> Iterator[list[_State]]:
        """Pass files on."""
        for run in runs:
            self._states.update(b"".join([state[-1] for state in run]))
            yield run

    def digest(self) -> bytes:
        """Return what is equal for equal files, sizes and times."""
        return self._states.digest()


def _compare(data: Path, path: Path, witness: _Witness, *, is_deep: bool, progress: Progress) -> Iterator[Difference]:
    """Compare data with the record at a path; see :func:`compare_with_footprint`."""
    folder, runs = _find_states(data, progress)
    with path.open("rb") as file:
        expected = _read_header(file, path)
        pairs = _pair(file, witness.watch(runs), keep_equal=is_deep)
        listed = _Summary()
        for (recorded, state), digest in _hash(_select(folder, pairs)):
            witness.has_read |= digest is not None
            if is_deep and recorded:
                listed.add(recorded.sha256, recorded.size, recorded.name)
            if (difference := _judge(folder, recorded, state, digest)) is not None:
                yield difference
        if is_deep and listed.footprint() != expected:
            raise UsageError(f"The footprint {path} is damaged: record it again with `data-verify {data} --record`.")


def _renew_times(data: Path, path: Path, compared: _Witness) -> None:
    """Keep the times of files that were found to be equal, unless one has changed since.

    :raises OSError: If the record cannot be written, or a file has changed.
    """
    _, runs = _find_states(data, show_nothing)
    witness = _Witness()
    with path.open("rb") as old, write_atomically(path) as new:
        new.write(old.read(HEADER_SIZE))
        for run in witness.watch(runs):
            new.writelines(old.readline()[: HASH_SIZE + 1] + state[-1] for state in run)
        if witness.digest() != compared.digest():
            raise BlockingIOError(errno.EAGAIN, "A file has changed meanwhile.")


def _record(data: Path, path: Path, progress: Progress) -> Footprint:
    summary = _Summary()
    with write_atomically(path) as file:
        file.write(bytes(HEADER_SIZE))
        file.writelines(_measure(data, summary, progress))
        footprint = summary.footprint()
        header = json.dumps({"format": FORMAT, **dataclasses.asdict(footprint)}).encode()
        file.seek(0)
        file.write(header.ljust(HEADER_SIZE - 1) + b"\n")
    return footprint


def _measure(data: Path, summary: _Summary, progress: Progress) -> Iterator[bytes]:
    """Read all files, add them to a summary, and give their lines."""
    folder, runs = _find_states(data, progress)
    files = (File(state, folder + state[0], state[1]) for run in runs for state in run)
    for state, digest in _hash(files):
        sha256 = _check_unchanged(folder, state, digest)
        path, size, _, line = state
        summary.add(sha256, size, path)
        yield sha256 + b" " + line


def _find_states(data: Path, progress: Progress) -> tuple[bytes, Iterator[list[_State]]]:
    """Return the folder that names are relative to, with a ``/``, and the files as they are now, in runs."""
    if data.is_dir():
        folder = os.path.join(os.fsencode(data), b"")  # noqa: PTH118 (paths are bytes)
        return folder, _look(folder, walk_runs(data), progress)
    if not data.exists():
        raise UsageError(f"There are no data at {data}.")
    folder = os.path.join(os.fsencode(data.parent), b"")  # noqa: PTH118
    return folder, _look(folder, [(b"", [os.fsencode(data.name)])], progress)


def _look(folder: bytes, runs: Iterable[tuple[bytes, list[bytes]]], progress: Progress) -> Iterator[list[_State]]:
    for prefix, names in runs:
        paths = [prefix + name for name in names]
        try:
            statuses = [os.stat(folder + path) for path in paths]  # noqa: PTH116
        except FileNotFoundError as error:
            raise UsageError(f"The file {os.fsdecode(error.filename)} was deleted meanwhile: try again.") from error
        # Nearly no path holds what must be escaped, which is quicker to see in all of them together.
        joined = b"".join(paths)
        escaped = [*map(_escape, paths)] if b"\\" in joined or b"\n" in joined else paths
        yield [
            (path, status.st_size, status.st_mtime_ns, b"%d %d %s\n" % (status.st_size, status.st_mtime_ns, name))
            for path, status, name in zip(paths, statuses, escaped, strict=True)
        ]
        progress(len(paths), sum(status.st_size for status in statuses))


def _pair(lines: Iterable[bytes], runs: Iterable[list[_State]], *, keep_equal: bool) -> Iterator[_Pair]:
    """Bring together what was and what is, both in the order of paths; optionally not where nothing seems to differ."""
    lines = iter(lines)
    waiting: list[bytes] = []
    for run in runs:
        waiting += itertools.islice(lines, max(0, len(run) - len(waiting)))
        if [line[HASH_SIZE + 1 :] for line in waiting] == [state[-1] for state in run]:
            if keep_equal:
                for line, state in zip(waiting, run, strict=True):
                    yield _Recorded(state[0], state[1], line[:HASH_SIZE]), state
            waiting = []
            continue
        at = 0
        for state in run:
            # What was before this file and is not there now, then this file.
            while True:
                if at == len(waiting):
                    waiting = list(itertools.islice(lines, len(run)))
                    at = 0
                recorded = _Recorded.parse(waiting[at]) if waiting else None
                if recorded is None or recorded.name >= state[0]:
                    break
                yield recorded, None
                at += 1
            if recorded is None or recorded.name != state[0]:
                yield None, state
                continue
            if keep_equal or waiting[at][HASH_SIZE + 1 :] != state[-1]:
                yield recorded, state
            at += 1
        waiting = waiting[at:]
    for line in itertools.chain(waiting, lines):
        yield _Recorded.parse(line), None


def _hash(files: Iterable[File[T]]) -> Iterator[tuple[T, Digest | None]]:
    try:
        yield from hash_files(files)
    except OSError as error:
        raise UsageError(f"The data cannot be read, {os.fsdecode(error.filename or '')}: {error.strerror}.") from error


def _select(folder: bytes, pairs: Iterable[_Pair]) -> Iterator[File[_Pair]]:
    """Say which files need to be read for a verdict."""
    for recorded, state in pairs:
        if recorded is None or state is None or recorded.size != state[1]:
            yield File((recorded, state), None, 0)
        else:
            yield File((recorded, state), folder + state[0], state[1])


def _judge(folder: bytes, recorded: _Recorded | None, state: _State | None, digest: Digest | None) -> Difference | None:
    if state is None:
        return Difference("deleted", os.fsdecode(recorded.name)) if recorded else None
    if recorded is None:
        return Difference("added", os.fsdecode(state[0]))
    if digest is None or _check_unchanged(folder, state, digest) != recorded.sha256:
        return Difference("changed", os.fsdecode(state[0]))
    return None


def _check_unchanged(folder: bytes, state: _State, digest: Digest | None) -> bytes:
    """Return a file's hash in hexadecimal, if the file was the same before and after it was read."""
    path, size, time_ns, _ = state
    if digest is None or digest[:2] != (size, time_ns):
        name = os.fsdecode(folder + path)
        raise UsageError(f"The file {name} changed while it was read: try again when it is at rest.")
    return hexlify(digest[2])


def _find_record(data: Path, cache: Path | None) -> Path | None:
    if not data.exists():
        raise UsageError(f"There are no data at {data}.")
    return next((path for path in record_paths(data, RECORD_NAME, cache) if path.exists()), None)


def _read_header(file: BinaryIO, path: Path) -> Footprint:
    try:
        fields = json.loads(file.read(HEADER_SIZE))
        if fields.pop("format") == FORMAT:
            return Footprint(**fields)
    except (ValueError, KeyError, TypeError, AttributeError):
        pass
    raise UsageError(f"The footprint {path} is damaged: record it again with `data-verify --record`.")


def _escape(name: bytes) -> bytes:
    """Write a path so that it fills one line."""
    if b"\\" in name or b"\n" in name:
        return name.replace(b"\\", b"\\\\").replace(b"\n", b"\\n")
    return name


def _unescape(name: bytes) -> bytes:
    if b"\\" in name:
        return b"\\".join(part.replace(b"\\n", b"\n") for part in name.split(b"\\\\"))
    return name
