"""One read-only mapping over a folder, a ZIP file or a TAR file: from names to bytes.

An archive is indexed once; the index lies beside it and is checked against it. A read is then one look into the index
and one ``pread``, which has no position to share: forks, threads and workers cannot disturb each other.
"""

import contextlib
import functools
import hashlib
import io
import os
import time
import zlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Final, Self
from zlib import crc32

from labkit.atomic import write_atomically
from labkit.command import UsageError
from labkit.data.archive.index import Index, Names, digest, encode_name, make_index, unpack_record
from labkit.data.archive.member import BEHIND_HEADER, DEFLATED, PLAIN, STORED, ArchiveError, Member
from labkit.data.archive.reader import FileReader, Reader
from labkit.data.archive.tar_file import BLOCK, is_tar, list_tar
from labkit.data.archive.zip_file import is_zip, list_zip, read_behind_header
from labkit.data.folder import walk
from labkit.data.record import record_paths

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

COMPRESSIONS: Final = {b"\x1f\x8b": "gzip", b"BZh": "bzip2", b"\xfd7zXZ": "xz", b"\x28\xb5\x2f\xfd": "zstd"}
SECOND_NS: Final = 1_000_000_000


class Archive(Mapping[str, bytes], ABC):
    """The files of an archive by name: iterate, ``len``, ``in``, :meth:`read`, :meth:`open`.

    Names are paths relative to the archive's root with ``/`` between the parts. Their order is the archive's own; in a
    folder it is that of their bytes. An archive may be used by threads, inherited by forks and pickled.
    """

    def __init__(self, source: Path | Reader, cache: Path | None, index: Index) -> None:
        self.source = source
        self._cache = cache
        self._index = index

    @property
    def names(self) -> Names:
        """The names, also by position."""
        return Names(self._index)

    @property
    def identity(self) -> bytes:
        """What changes whenever the archive does; of a folder, whenever its names do."""
        return self._index.identity

    @abstractmethod
    def read(self, name: str) -> bytes:
        """Read a file.

        :param name: Its name.
        :return: All of its bytes.
        :raises KeyError: If there is no such file.
        :raises ArchiveError: If its bytes are not those that were packed.
        """

    def read_at(self, position: int) -> bytes:
        """Read the file at a position: what a data set with a list of indices does, and quicker than by name.

        :param position: Its position in :attr:`names`.
        :return: All of its bytes.
        :raises IndexError: If there are not as many files.
        :raises ArchiveError: If its bytes are not those that were packed.
        """
        return self.read(self.names[position])

    @abstractmethod
    def open(self, name: str) -> BinaryIO:
        """Open a file for reading and seeking.

        :param name: Its name.
        :return: The opened file.
        :raises KeyError: If there is no such file.
        """

    @abstractmethod
    def close(self) -> None:
        """Let go of the archive; whoever reads from it afterwards gets a ``ValueError``."""

    def __getitem__(self, name: str) -> bytes:
        return self.read(name)

    def __contains__(self, name: object) -> bool:
        return name in self.names

    def __iter__(self) -> Iterator[str]:
        return iter(self.names)

    def __len__(self) -> int:
        return len(self._index)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __reduce__(self) -> tuple[object, ...]:
        return _reopen, (self.source, self._cache, self.identity)


class PackedArchive(Archive):
    """A ZIP or TAR file; once indexed, there is no difference."""

    def __init__(self, source: Path | Reader, cache: Path | None, index: Index, reader: Reader) -> None:
        super().__init__(source, cache, index)
        self._reader = reader
        self._address = str(source) if isinstance(source, Path) else reader.version
        self._is_closed = False
        self._block = index.block
        self._slots = index.slots
        self._mask = index.mask
        self._positions = index.positions
        self._pread = _make_pread(reader)

    def read(self, name: str) -> bytes:
        """Read a file.

        This is :meth:`Index.find` written out, for it is called for every sample. The record of no file, found where
        a slot is empty, ends the search: its method is neither of the two that need no more than this.
        """
        key = name.encode("utf-8", "surrogateescape")
        block = self._block
        slot = crc32(key)
        while True:
            at = self._slots[slot & self._mask] * 8
            offset, size, stored_size, crc, length, method = unpack_record(block, at)
            if block[at + 32 : at + 32 + length] == key or not at:
                break
            slot += 1
        if method <= STORED:
            data = self._pread(stored_size, offset)
            if len(data) == size and (method == PLAIN or crc32(data) == crc):
                return data
        return self._read_carefully(name)

    def read_at(self, position: int) -> bytes:
        """Read the file at a position."""
        offset, size, stored_size, crc, _, method = unpack_record(self._block, self._positions[position] * 8)
        if method <= STORED:
            data = self._pread(stored_size, offset)
            if len(data) == size and (method == PLAIN or crc32(data) == crc):
                return data
        return self._read_carefully(self.names[position])

    def open(self, name: str) -> BinaryIO:
        """Open a file: what stands uncompressed is read as needed, unchecked; what is deflated at once and checked."""
        member = self._find(name)
        if member.method in {PLAIN, STORED}:
            return io.BufferedReader(_Range(self, member))
        return io.BytesIO(self.read(name))

    def read_range(self, member: Member, start: int, length: int) -> bytes:
        """Read a part of a file that stands uncompressed.

        :param member: The file.
        :param start: The first byte's position in it.
        :param length: How many bytes, at most to its end.
        :return: The bytes.
        :raises ArchiveError: If the archive is truncated.
        """
        data = self._open_reader().read_range(member.offset + start, length)
        if len(data) < length:
            raise self._truncated(member)
        return data

    def close(self) -> None:
        """Let go of the file."""
        self._is_closed = True
        # A number of a closed file may soon be that of another one: nothing may read from it by accident.
        self._pread = self._refuse
        self._reader.close()

    def _open_reader(self) -> Reader:
        if self._is_closed:
            self._refuse()
        return self._reader

    def _refuse(self, *_: int) -> bytes:
        raise ValueError(f"The archive {self._address} is closed.")

    def _find(self, name: str) -> Member:
        member = self._index.find(encode_name(name))
        if member is None:
            raise KeyError(name)
        return member

    def _read_carefully(self, name: str) -> bytes:
        """Read what is not simply there: deflated, behind a header of unknown length, in several pieces, damaged."""
        member = self._find(name)
        if member.method & BEHIND_HEADER:
            data = read_behind_header(self._open_reader(), member)
        else:
            data = self._open_reader().read_range(member.offset, member.stored_size)
        if len(data) < member.stored_size:
            raise self._truncated(member)
        method = member.method & ~BEHIND_HEADER
        if method == DEFLATED:
            with contextlib.suppress(zlib.error):
                # One byte more than expected is enough to show that the size is false.
                data = zlib.decompressobj(-zlib.MAX_WBITS).decompress(data, member.size + 1)
        if len(data) != member.size or (method != PLAIN and crc32(data) != member.crc):
            raise ArchiveError(f"The file '{name}' in {self._address} is damaged: fetch or pack the archive again.")
        return data

    def _truncated(self, member: Member) -> ArchiveError:
        name = os.fsdecode(member.name)
        return ArchiveError(f"The archive {self._address} ends within '{name}': fetch or pack it again.")


class FolderArchive(Archive):
    """A folder and all folders in it."""

    def __init__(self, folder: Path, cache: Path | None) -> None:
        names = hashlib.blake2b(digest_size=16)
        members: list[Member] = []
        for name in walk(folder):
            names.update(name + b"\0")
            members.append(Member(name, 0, 0, 0, 0, PLAIN))
        super().__init__(folder, cache, Index(make_index(members, names.digest())))
        self._folder = folder
        self._is_closed = False

    def read(self, name: str) -> bytes:
        """Read a file."""
        with self.open(name) as file:
            return file.read()

    def open(self, name: str) -> BinaryIO:
        """Open a file."""
        if self._is_closed:
            raise ValueError(f"The archive {self._folder} is closed.")
        if name not in self:
            raise KeyError(name)
        return (self._folder / name).open("rb")

    def close(self) -> None:
        """Read no more."""
        self._is_closed = True


class _Range(io.RawIOBase):
    """A file in an archive, read as needed."""

    def __init__(self, archive: PackedArchive, member: Member) -> None:
        self._archive = archive
        self._member = member
        self._position = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        position = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._member.size}[whence] + offset
        if position < 0:
            raise ValueError(f"There is no position {position} in a file.")
        self._position = position
        return position

    def readinto(self, buffer: "WriteableBuffer") -> int:
        view = memoryview(buffer)
        length = min(len(view), max(0, self._member.size - self._position))
        view[:length] = self._archive.read_range(self._member, self._position, length)
        self._position += length
        return length


def open_archive(source: str | Path | Reader, *, cache: Path | None = None) -> Archive:
    """Open a folder, a ZIP file or a TAR file.

    Whoever opens a file first indexes it. The index is kept in the folder ``.labkit`` beside the file; in the cache if
    that cannot be written, or if the file is not local; and if there is no cache, in this process only.

    :param source: A path, or what reads a file by ranges.
    :param cache: A folder for the indexes that cannot lie beside their archive.
    :return: The mapping from names to bytes.
    :raises ArchiveError: If it is damaged, truncated, or packed in a way that cannot be read at random.
    :raises UsageError: If there is nothing at the path.
    """
    if not isinstance(source, str | Path):
        return _open_packed(source.path if isinstance(source, FileReader) else source, source, cache)
    path = Path(source).absolute()
    if path.is_dir():
        return FolderArchive(path, cache)
    try:
        reader = FileReader(path)
    except OSError as error:
        raise UsageError(f"The archive {path} cannot be opened: {error.strerror}.") from error
    try:
        return _open_packed(path, reader, cache)
    except ArchiveError as error:
        reader.close()
        raise ArchiveError(f"{error} ({path})") from error


def list_members(reader: Reader) -> Iterable[Member]:
    """List the files in a ZIP or TAR file, in its own order.

    :param reader: What reads the file.
    :return: The files, without folders; of files of one name the last counts.
    :raises ArchiveError: If it is neither, or damaged, or packed in a way that cannot be read at random.
    """
    start = reader.read_range(0, BLOCK)
    if is_zip(start):
        return list_zip(reader, is_near=isinstance(reader, FileReader))
    if is_tar(start):
        return list_tar(reader)
    for magic, compression in COMPRESSIONS.items():
        if start.startswith(magic):
            raise ArchiveError(
                f"The file is compressed as a whole by {compression}, so that no part of it can be read alone: unpack "
                "it, or pack it again as ZIP or as plain TAR."
            )
    raise ArchiveError("The file is neither a ZIP nor a TAR file, or it is damaged: fetch or pack it again.")


def _open_packed(source: Path | Reader, reader: Reader, cache: Path | None) -> PackedArchive:
    identity = digest(reader.version.encode("utf-8", "surrogateescape"))
    if isinstance(source, Path):
        places = record_paths(source, "index", cache)
    else:
        places = [] if cache is None else record_paths(cache / identity.hex(), "index")
    for place in places:
        if (index := Index.load(place, identity)) is not None:
            return PackedArchive(source, cache, index, reader)
    return PackedArchive(source, cache, _index(reader, identity, places), reader)


def _reopen(source: Path | Reader, cache: Path | None, identity: bytes) -> Archive:
    """Open in this process what was opened in another."""
    archive = open_archive(source, cache=cache)
    if archive.identity != identity:
        archive.close()
        raise ArchiveError(f"The archive {source} has changed since it was opened: start again.")
    return archive


def _index(reader: Reader, identity: bytes, places: Iterable[Path]) -> Index:
    """Index an archive, and keep the index in the first place that can be written."""
    if isinstance(reader, FileReader):
        _wait_until_changes_show(reader.newest_time_ns)
    block = make_index(list_members(reader), identity)
    if isinstance(reader, FileReader) and reader.has_changed():
        raise ArchiveError("The archive is being written to: open it when it is complete.")
    for place in places:
        with contextlib.suppress(OSError):
            with write_atomically(place) as file:
                file.write(block)
            return Index.load(place, identity) or Index(block)
    return Index(block)


def _wait_until_changes_show(newest_time_ns: int) -> None:
    """Wait until any further change would show in a file's times.

    A file system's clock ticks: a file changed twice within a tick has the times of the first change. Ticks last some
    milliseconds, or where times are whole seconds, up to two seconds.
    """
    tick_ns = 2 * SECOND_NS if newest_time_ns % SECOND_NS == 0 else SECOND_NS // 50
    remaining_ns = newest_time_ns + tick_ns - time.time_ns()
    if 0 < remaining_ns <= tick_ns:
        time.sleep(remaining_ns / SECOND_NS)


def _make_pread(reader: Reader) -> Callable[[int, int], bytes]:
    """Return what takes a length and an offset, in one call without any detour."""
    if isinstance(reader, FileReader):
        return functools.partial(os.pread, reader.descriptor)
    return lambda length, offset: reader.read_range(offset, length)
