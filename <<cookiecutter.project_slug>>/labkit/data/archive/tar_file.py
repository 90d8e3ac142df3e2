"""Where each file lies in a TAR file: ustar, GNU and PAX.

Formats: POSIX.1-2001, "pax Interchange Format"; the manual of GNU tar, "Basic Tar Format".
"""

import os
import posixpath
import zlib
from collections.abc import Iterable
from typing import Final

from labkit.data.archive.member import PLAIN, ArchiveError, Member
from labkit.data.archive.reader import Reader

BLOCK: Final = 512
LARGEST_WINDOW: Final = 4 * 2**20
MOST_LINKS: Final = 40
"""How many links in a row are followed, as in Linux."""
ADLER_MODULUS: Final = 65521
BASE_256: Final = 0x80

HEADERS_FOR_NEXT: Final = b"xgLK"
"""PAX headers for one file or for all, and GNU's for a long name or a long link."""
FILES: Final = b"0\0007"
HARD_LINK: Final = b"1"
LINKS: Final = b"12"
WITHOUT_CONTENT: Final = b"5V"
"""Folders, and the label of a volume."""


class Window:
    """Reads forwards through a reader, and ahead as long as the reads are close to one another."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader
        self._start = 0
        self._data = b""
        self._length = BLOCK

    def read(self, offset: int, length: int) -> bytes:
        """Read a range, fewer bytes at the end."""
        within = offset - self._start
        if within + length > len(self._data):
            is_near = within <= len(self._data) + self._length
            self._length = min(2 * self._length, LARGEST_WINDOW) if is_near else BLOCK
            self._data = self._reader.read_range(offset, max(length, self._length))
            self._start, within = offset, 0
        return self._data[within : within + length]


def is_tar(start: bytes) -> bool:
    """Tell whether a file that begins like this is a TAR file.

    :param start: The first 512 bytes.
    """
    return len(start) == BLOCK and (not any(start) or _has_checksum(start))


def list_tar(reader: Reader) -> Iterable[Member]:
    """List the files in a TAR file, in its order; of files of one name the last counts.

    A link to a file in the archive is listed as that file under another name.

    :param reader: What reads the TAR file.
    :return: The files.
    :raises ArchiveError: If it is truncated or damaged, or holds sparse files, devices, or links that lead out of it.
    """
    window = Window(reader)
    listing = _Listing()
    at = 0
    while any(header := _read_header(window, at)):
        at += BLOCK
        kind = header[156:157]
        if kind in HEADERS_FOR_NEXT:
            size = _read_size(header[124:136])
            content = window.read(at, size)
            if len(content) < size:
                raise _truncated(at)
            listing.add_attributes(kind, content)
        else:
            size = listing.add(header, at)
            if at + size > reader.size:
                raise _truncated(at)
        at += -(-size // BLOCK) * BLOCK
    return listing.finish()


class _Listing:
    """The files found so far, and what was said about the next one."""

    def __init__(self) -> None:
        self._members: dict[bytes, Member] = {}
        self._links: dict[bytes, bytes] = {}
        self._common: dict[bytes, bytes] = {}
        self._own: dict[bytes, bytes] = {}

    def add_attributes(self, kind: bytes, content: bytes) -> None:
        """Remember what stands in a header about the next file, or about all that follow."""
        if kind == b"g":
            self._common |= _read_attributes(content)
        elif kind == b"x":
            self._own |= _read_attributes(content)
        else:
            # What a PAX header says goes before what GNU's says.
            self._own.setdefault(b"path" if kind == b"L" else b"linkpath", content.partition(b"\0")[0])

    def add(self, header: bytes, at: int) -> int:
        """Add what a header describes, and return the size of what follows the header.

        :param header: The header.
        :param at: Where it ends.
        """
        attributes = self._common | self._own
        self._own = {}
        kind = header[156:157]
        path = attributes.get(b"path") or _read_path(header)
        name = _without_dot(path)
        if kind == b"S" or any(key.startswith(b"GNU.sparse.") for key in attributes):
            raise _refused("sparse file", name, "pack it without --sparse")
        if kind in FILES and not path.endswith(b"/"):
            size = _read_decimal(attributes[b"size"]) if b"size" in attributes else _read_size(header[124:136])
            self._replace(Member(name, at, size, size, 0, PLAIN))
            return size
        if kind in LINKS:
            self._add_link(kind, name, attributes.get(b"linkpath") or header[157:257].partition(b"\0")[0])
        elif kind not in FILES + WITHOUT_CONTENT:
            raise _refused("device, pipe or part of a larger archive", name, "pack files and folders only")
        return 0

    def finish(self) -> Iterable[Member]:
        """Return the files, with the symbolic links among them resolved, for these may lead to later files."""
        for name in self._links:
            self._members[name] = self._follow(name, name)._replace(name=name)
        return self._members.values()

    def _add_link(self, kind: bytes, name: bytes, target: bytes) -> None:
        if kind == HARD_LINK:
            self._replace(self._follow(_without_dot(target), name)._replace(name=name))
        else:
            self._members.pop(name, None)
            self._links[name] = target

    def _replace(self, member: Member) -> None:
        """Let a file take the place of an earlier one of its name, and stand after those between them."""
        self._members.pop(member.name, None)
        self._links.pop(member.name, None)
        self._members[member.name] = member

    def _follow(self, name: bytes, link: bytes) -> Member:
        for _ in range(MOST_LINKS):
            if name in self._members:
                return self._members[name]
            if name not in self._links:
                break
            name = posixpath.normpath(posixpath.join(posixpath.dirname(name), self._links[name]))
        raise _refused("link", link, f"it leads to '{os.fsdecode(name)}', which is no file in it")


def _read_header(window: Window, at: int) -> bytes:
    header = window.read(at, BLOCK)
    if len(header) < BLOCK:
        raise _truncated(at)
    if any(header) and not _has_checksum(header):
        raise ArchiveError(f"The TAR file is damaged at byte {at}: fetch or pack it again.")
    return header


def _has_checksum(header: bytes) -> bool:
    """Compare the sum of a header's bytes, the field of the sum counted as blanks, with what the field says."""
    try:
        expected = int(header[148:156].strip(b" \0") or b"x", 8)
    except ValueError:
        return False
    blanked = header[:148] + b"        " + header[156:]
    # The low half of Adler-32 is one more than the sum of the bytes, and much quicker than `sum`.
    if (expected + 1) % ADLER_MODULUS == zlib.adler32(blanked) & 0xFFFF:
        return True
    # Some old programs took bytes for signed numbers.
    return expected == sum(memoryview(blanked).cast("b"))


def _read_path(header: bytes) -> bytes:
    name = header[:100].partition(b"\0")[0]
    # GNU's own format, of another magic, keeps times where ustar keeps the first part of a long path.
    prefix = header[345:500].partition(b"\0")[0] if header[257:263] == b"ustar\0" else b""
    return prefix + b"/" + name if prefix else name


def _read_size(field: bytes) -> int:
    """Read a size: octal digits, or in GNU's format, where these do not suffice, a number of base 256."""
    if field[0] == BASE_256:
        return int.from_bytes(field[1:])
    try:
        return int(field.strip(b" \0") or b"0", 8)
    except ValueError as error:
        raise ArchiveError(f"The TAR file is damaged: {field!r} is no size.") from error


def _read_decimal(field: bytes) -> int:
    if not field.isdigit():
        raise ArchiveError(f"The TAR file is damaged: {field!r} is no number.")
    return int(field)


def _read_attributes(content: bytes) -> dict[bytes, bytes]:
    """Read a PAX header: records of a length that counts the whole record, a key, ``=``, a value and a newline."""
    attributes: dict[bytes, bytes] = {}
    at = 0
    while at < len(content) and content[at]:
        digits, _, _ = content[at : at + 20].partition(b" ")
        end = at + _read_decimal(digits)
        key, equals, value = content[at + len(digits) + 1 : end - 1].partition(b"=")
        if not equals or content[end - 1 : end] != b"\n":
            raise ArchiveError("The TAR file is damaged: one of its PAX headers cannot be read.")
        attributes[key] = value
        at = end
    return attributes


def _without_dot(path: bytes) -> bytes:
    """Drop the ``./`` that ``tar c .`` puts before every path."""
    while path.startswith(b"./"):
        path = path[2:].lstrip(b"/")
    return path


def _truncated(at: int) -> ArchiveError:
    return ArchiveError(f"The TAR file is truncated, there is no end after byte {at}: fetch or pack it again.")


def _refused(kind: str, name: bytes, advice: str) -> ArchiveError:
    return ArchiveError(f"The TAR file holds the {kind} '{os.fsdecode(name)}': {advice}.")
