"""Where each file of an archive lies: a hash table in one block of bytes, the same in memory as on disk.

It is mapped into memory rather than read, so that it is ready at once, and all processes of a machine share one copy.
"""

import hashlib
import mmap
import os
import struct
from array import array
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final, Self, overload
from zlib import crc32

from labkit.data.archive.member import ArchiveError, Member

RECORD: Final = struct.Struct("=QQQIHBx")
"""Offset, size, size in the archive, CRC-32, length of the name, method; the name follows."""
unpack_record: Final = RECORD.unpack_from
HEADER: Final = struct.Struct("=8sQQQ16s16s")
"""Magic, number of files, number of slots, size of the index, the archive's identity; a digest of these."""
HEADER_SIZE: Final = RECORD.size + HEADER.size
MAGIC: Final = b"labkit\0\1"
ABSENT: Final = 255
"""The method of the record that stands for no file."""
ALIGNMENT: Final = 8
FEWEST_SLOTS: Final = 8
LONGEST_NAME: Final = 2**16 - 1


class Index:
    """The files of an archive by name and by position.

    The block begins with a record that stands for no file, and the header. Then come the slots (where the record of a
    name may be; 0 for none), the positions (where the record of the first, second, … file is) and the records
    themselves. Slots and positions count in eights of bytes.
    """

    def __init__(self, block: bytes | mmap.mmap) -> None:
        self.block = block
        _, self._count, slot_count, _, self.identity, _ = HEADER.unpack_from(block, RECORD.size)
        self.mask: int = slot_count - 1
        positions = HEADER_SIZE + 4 * slot_count
        view = memoryview(block)
        self.slots = view[HEADER_SIZE:positions].cast("I")
        self.positions = view[positions : positions + 4 * self._count].cast("I")

    @classmethod
    def load(cls, path: Path, identity: bytes) -> Self | None:
        """Map a kept index into memory.

        :param path: Where it may be.
        :param identity: What it must belong to, 16 bytes.
        :return: The index, or nothing if there is none, or none that is whole and belongs to this identity.
        """
        try:
            with path.open("rb") as file:
                header = file.read(HEADER_SIZE)[RECORD.size :]
                if len(header) < HEADER.size or digest(header[:-16]) != header[-16:]:
                    return None
                magic, _, _, size, its_identity, _ = HEADER.unpack(header)
                if (magic, size, its_identity) != (MAGIC, os.fstat(file.fileno()).st_size, identity):
                    return None
                return cls(mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ))
        except OSError:
            return None

    def find(self, name: bytes) -> Member | None:
        """Find a file by its name."""
        slot = crc32(name) & self.mask
        while at := self.slots[slot] * ALIGNMENT:
            if self._name_at(at) == name:
                offset, size, stored_size, crc, _, method = unpack_record(self.block, at)
                return Member(name, offset, size, stored_size, crc, method)
            slot = (slot + 1) & self.mask
        return None

    def name(self, position: int) -> bytes:
        """Return the name of the file at a position; negative ones count from the end."""
        return self._name_at(self.positions[position] * ALIGNMENT)

    def _name_at(self, at: int) -> bytes:
        length = unpack_record(self.block, at)[4]
        return self.block[at + RECORD.size : at + RECORD.size + length]

    def __len__(self) -> int:
        return self._count


class Names(Sequence[str]):
    """The names of an archive's files in its order, each decoded when it is asked for."""

    def __init__(self, index: Index) -> None:
        self._index = index

    @overload
    def __getitem__(self, position: int) -> str: ...
    @overload
    def __getitem__(self, position: slice) -> list[str]: ...
    def __getitem__(self, position: int | slice) -> str | list[str]:
        if isinstance(position, slice):
            return [self[at] for at in range(*position.indices(len(self)))]
        return decode_name(self._index.name(position))

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and self._index.find(encode_name(name)) is not None

    def __len__(self) -> int:
        return len(self._index)


def make_index(members: Iterable[Member], identity: bytes) -> bytes:
    """Lay out an index.

    :param members: The files; of files of one name the last counts.
    :param identity: What the index belongs to, 16 bytes.
    :return: The block of bytes that :class:`Index` reads.
    :raises ArchiveError: If a name cannot be that of a file.
    """
    by_name: dict[bytes, Member] = {}
    for member in members:
        by_name.pop(member.name, None)
        by_name[member.name] = member
    # So many slots are empty that most names are found in the first one.
    slot_count = max(FEWEST_SLOTS, 1 << (3 * len(by_name)).bit_length())
    # Positions are filled up to an even number, so that records stand at multiples of eight.
    first = at = HEADER_SIZE + 4 * slot_count + 4 * (len(by_name) + len(by_name) % 2)
    slots = array("I", bytes(4 * slot_count))
    positions = array("I")
    records: list[bytes] = []
    for name, member in by_name.items():
        if not 0 < len(name) <= LONGEST_NAME or b"\0" in name:
            raise ArchiveError(f"The archive holds a file of the name {name[:100]!r}, which no file can have.")
        slot = crc32(name) & (slot_count - 1)
        while slots[slot]:
            slot = (slot + 1) & (slot_count - 1)
        slots[slot] = at // ALIGNMENT
        positions.append(at // ALIGNMENT)
        record = RECORD.pack(*member[1:5], len(name), member.method) + name
        record += bytes(-len(record) % ALIGNMENT)
        records.append(record)
        at += len(record)
    header = HEADER.pack(MAGIC, len(by_name), slot_count, at, identity, bytes(16))[:-16]
    start = RECORD.pack(0, 0, 0, 0, 0, ABSENT) + header + digest(header) + slots.tobytes() + positions.tobytes()
    return b"".join((start, bytes(first - len(start)), *records))


def digest(data: bytes) -> bytes:
    """Return 16 bytes that stand for any number of bytes."""
    return hashlib.blake2b(data, digest_size=16).digest()


def encode_name(name: str) -> bytes:
    """Return a name's bytes, also those that are no valid UTF-8."""
    return name.encode("utf-8", "surrogateescape")


def decode_name(name: bytes) -> str:
    """Return a name as text, from which the same bytes can be had again."""
    return name.decode("utf-8", "surrogateescape")
