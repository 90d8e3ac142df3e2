"""The files of a folder, in one order on every machine."""

import contextlib
import heapq
import itertools
import os
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

from labkit.command import UsageError
from labkit.data.record import RECORD_FOLDER

NAMES_IN_MEMORY: Final = 100_000
LONGEST_RUN: Final = 1000
SWAP_NEWLINE_AND_NULL: Final = bytes.maketrans(b"\n\0", b"\0\n")


def walk(folder: Path) -> Iterator[bytes]:
    """Walk over the files of a folder and of the folders in it, in the order of their paths' bytes.

    Symbolic links count as what they point to. Memory does not grow with the number of files.

    :param folder: The folder.
    :return: Each file's path relative to the folder, as the file system spells it, with ``/`` between the parts.
    :raises UsageError: If there is something that is neither file nor folder, or a link that leads back into itself.
    """
    for prefix, names in walk_runs(folder):
        for name in names:
            yield prefix + name


def walk_runs(folder: Path) -> Iterator[tuple[bytes, list[bytes]]]:
    """Walk as :func:`walk` does, and give the files in runs for whoever has little to do for each.

    :param folder: The folder.
    :return: The path of a folder, empty or ending in ``/``, and the names of some of its files.
    :raises UsageError: As :func:`walk` does.
    """
    root = os.path.join(os.fsencode(folder), b"")  # noqa: PTH118 (paths are bytes)
    parents = [_identity(root)]
    levels = [(b"", _sorted_entries(root))]
    while levels:
        prefix, entries = levels[-1]
        run: list[bytes] = []
        child = None
        for name in entries:
            if name.endswith(b"/"):
                child = name
                break
            run.append(name)
            if len(run) == LONGEST_RUN:
                yield prefix, run
                run = []
        if run:
            yield prefix, run
        if child is None:
            levels.pop()
            parents.pop()
            continue
        path = root + prefix + child
        if (identity := _identity(path)) in parents:
            raise UsageError(f"The link {os.fsdecode(path[:-1])} leads back into a folder that holds it: remove it.")
        parents.append(identity)
        levels.append((prefix + child, _sorted_entries(path)))


def sort_names(names: Iterable[bytes], limit: int = NAMES_IN_MEMORY) -> Iterator[bytes]:
    """Sort any number of names in the memory of some.

    :param names: Names without null bytes.
    :param limit: How many to hold in memory; the rest waits in sorted runs in temporary files.
    :return: The names in the order of their bytes.
    """
    rest = iter(names)
    run = sorted(itertools.islice(rest, limit))
    if len(run) < limit:
        yield from run
        return
    with contextlib.ExitStack() as stack:
        runs: list[Iterator[bytes]] = []
        while run:
            file = stack.enter_context(tempfile.TemporaryFile())
            # A name may hold a newline but no null byte, so the two trade places to make one name a line.
            file.writelines(name.translate(SWAP_NEWLINE_AND_NULL) + b"\n" for name in run)
            file.seek(0)
            runs.append(line[:-1].translate(SWAP_NEWLINE_AND_NULL) for line in file)
            run = sorted(itertools.islice(rest, limit))
        yield from heapq.merge(*runs)


def _identity(path: bytes) -> tuple[int, int]:
    status = os.stat(path)  # noqa: PTH116 (paths are bytes)
    return status.st_dev, status.st_ino


def _sorted_entries(folder: bytes) -> Iterator[bytes]:
    """Sort the entries of one folder; folders end in ``/``, which is also how their files' paths sort."""
    try:
        with os.scandir(folder) as entries:
            yield from sort_names(_entry_names(entries))
    except PermissionError as error:
        raise UsageError(f"The folder {os.fsdecode(folder)} cannot be read: permission denied.") from error


def _entry_names(entries: Iterator[os.DirEntry[bytes]]) -> Iterator[bytes]:
    record_folder = os.fsencode(RECORD_FOLDER)
    # Most entries are files, which many at a time take half as long.
    while some := list(itertools.islice(entries, LONGEST_RUN)):
        files = [entry.name for entry in some if entry.is_file() and entry.name != record_folder]
        yield from files
        if len(files) < len(some):
            yield from _folder_names(entry for entry in some if not entry.is_file() and entry.name != record_folder)


def _folder_names(entries: Iterable[os.DirEntry[bytes]]) -> Iterator[bytes]:
    for entry in entries:
        if not entry.is_dir():
            raise UsageError(
                f"{os.fsdecode(entry.path)} is neither a file nor a folder (a broken link, a socket or a device): "
                "remove it from the data."
            )
        yield entry.name + b"/"
