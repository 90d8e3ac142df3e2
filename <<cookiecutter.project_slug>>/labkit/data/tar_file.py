"""Where each file lies in a TAR file: ustar, GNU and PAX.

Formats: POSIX.1-2001, "pax Interchange Format"; the manual of GNU tar, "Basic Tar Format".
"""

import os
import posixpath
import zlib
from collections.abc import Iterable
from typing import Final

from labkit.data.member import PLAIN, ArchiveError, Member
from labkit.data.reader import Reader

BLOCK: Final = 512
LARGEST_WINDOW: Final = 4 * 2**20
MOST_LINKS: Final = 40
"""How many links in a row are followed, as in Linux."""
ADLER_MODULUS: Final = 65521


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
    members: dict[bytes, Member] = {}
    links: dict[bytes, bytes] = {}
    common: dict[bytes, bytes] = {}
    own: dict[bytes, bytes] = {}
    at = 0
    while any(header := _read_header(window, at)):
        at += BLOCK
        kind = header[156:157]
        if kind in b"xgLK":
            size = _read_size(header[124:136])
            content = window.read(at, size)
            if len(content) < size:
                raise _truncated(at)
            if kind == b"g":
                common |= _read_attributes(content)
            elif kind == b"x":
                own |= _read_attributes(content)
            else:
                # What a PAX header says goes before what GNU's says.
                own.setdefault(b"path" if kind == b"L" else b"linkpath", content.partition(b"\0")[0])
            at += _whole_blocks(size)
            continue
        attributes, own = (common | own if common or own else own), {}
        path = attributes.get(b"path") or _read_path(header)
        name = _without_dot(path)
        if kind in b"0\0007" and not path.endswith(b"/"):
            if any(key.startswith(b"GNU.sparse.") for key in attributes):
                raise _refused("sparse file", name, "pack it without --sparse")
            size = _read_decimal(attributes[b"size"]) if b"size" in attributes else _read_size(header[124:136])
            if at + size > reader.size:
                raise _truncated(at)
            _replace(members, links, Member(name, at, size, size, 0, PLAIN))
            at += _whole_blocks(size)
        elif kind in b"12":
            target = attributes.get(b"linkpath") or header[157:257].partition(b"\0")[0]
            if kind == b"2":
                members.pop(name, None)
                links[name] = target
            elif (linked := _follow(_without_dot(target), members, links)) is not None:
                _replace(members, links, linked._replace(name=name))
            else:
                raise _refused("link", name, f"it leads to '{os.fsdecode(target)}', which is no file in it")
        elif kind == b"S":
            raise _refused("sparse file", name, "pack it without --sparse")
        elif kind not in b"0\00075V":
            raise _refused("device, pipe or part of a larger archive", name, "pack files and folders only")
    for name in links:
        if (linked := _follow(name, members, links)) is None:
            raise _refused("link", name, "it leads to no file in it; pack with --dereference")
        members[name] = linked._replace(name=name)
    return members.values()


def _replace(members: dict[bytes, Member], links: dict[bytes, bytes], member: Member) -> None:
    """Let a later file of the same name take the place of an earlier one, at the end."""
    if member.name in members:
        del members[member.name]
    links.pop(member.name, None)
    members[member.name] = member


def _follow(name: bytes, members: dict[bytes, Member], links: dict[bytes, bytes]) -> Member | None:
    for _ in range(MOST_LINKS):
        if name in members:
            return members[name]
        if name not in links:
            break
        name = posixpath.normpath(posixpath.join(posixpath.dirname(name), links[name]))
    return None


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
    if field[0] == 0x80:  # noqa: PLR2004 (the mark of base 256)
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
    """Read a PAX header: records of the form ``length key=value\\n``, where the length counts the record."""
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


def _whole_blocks(size: int) -> int:
    return -(-size // BLOCK) * BLOCK


def _truncated(at: int) -> ArchiveError:
    return ArchiveError(f"The TAR file is truncated, there is no end after byte {at}: fetch or pack it again.")


def _refused(kind: str, name: bytes, advice: str) -> ArchiveError:
    return ArchiveError(f"The TAR file holds the {kind} '{os.fsdecode(name)}': {advice}.")
