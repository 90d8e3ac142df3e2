"""Where each file lies in a ZIP file: stored or deflated, also ZIP64.

Format: PKWARE, ".ZIP File Format Specification" (APPNOTE.TXT), version 6.3.10.
"""

import stat
import struct
from collections.abc import Iterator
from typing import Final

from labkit.data.archive.member import BEHIND_HEADER, DEFLATED, STORED, ArchiveError, Member
from labkit.data.archive.reader import Reader

LOCAL_HEADER: Final = struct.Struct("<4s5H3I2H")
CENTRAL_HEADER: Final = struct.Struct("<4s6H3I5H2I")
DIRECTORY_END: Final = struct.Struct("<4s4H2IH")
DIRECTORY_END_64: Final = struct.Struct("<4sQ2H2I4Q")
LOCATOR_64: Final = struct.Struct("<4sIQI")
LONGEST_COMMENT: Final = 2**16 - 1
EXTRA_ZIP64: Final = 1
IN_EXTRA: Final = 2**32 - 1
"""Stands in a field whose value is in the ZIP64 extra field."""
ENCRYPTED: Final = 0x1
UTF_8: Final = 0x800
UNIX: Final = 3
METHODS: Final = {0: STORED, 8: DEFLATED}
LIKELY_EXTRA: Final = 64
"""How many bytes the extra fields of a local header may have to come with the first request for a file."""


def is_zip(start: bytes) -> bool:
    """Tell whether a file that begins like this is a ZIP file.

    :param start: The first four bytes or more.
    """
    return start[:4] in {b"PK\3\4", b"PK\5\6"}


def list_zip(reader: Reader, *, is_near: bool) -> Iterator[Member]:
    """List the files in a ZIP file, in its order; of files of one name the last counts.

    :param reader: What reads the ZIP file.
    :param is_near: Whether each file's local header may be read now, which takes one small read a file; otherwise it is
        read together with the file.
    :return: The files.
    :raises ArchiveError: If it is truncated or damaged, or holds encrypted files, links, or other compressions.
    """
    directory, directory_start, shift, count = _read_directory(reader)
    at = found = 0
    while at < len(directory):
        if at + CENTRAL_HEADER.size > len(directory):
            raise _damaged("its directory is too short")
        fields = CENTRAL_HEADER.unpack_from(directory, at)
        magic, version, _, flags, method, _, _, crc, stored_size, size, *lengths, _, _, attributes, offset = fields
        if magic != b"PK\1\2":
            raise _damaged("its directory cannot be read")
        name_length, extra_length, comment_length = lengths
        at += CENTRAL_HEADER.size
        raw_name = directory[at : at + name_length]
        extra = directory[at + name_length : at + name_length + extra_length]
        at += name_length + extra_length + comment_length
        found += 1
        name = _decode_name(raw_name, flags)
        if IN_EXTRA in {size, stored_size, offset}:
            size, stored_size, offset = _read_zip64_sizes(extra, (size, stored_size, offset))
        if name.endswith(b"/"):
            continue
        _refuse_unreadable(name, flags, method, version >> 8, attributes >> 16)
        offset += shift
        if offset > directory_start:
            raise _damaged(f"'{name.decode()}' is not where its directory says")
        member = Member(name, offset, size, stored_size, crc, METHODS[method] | BEHIND_HEADER)
        if is_near:
            header = reader.read_range(offset, LOCAL_HEADER.size + name_length)
            member = member._replace(offset=offset + measure_local_header(header, name), method=METHODS[method])
            if header[LOCAL_HEADER.size :] != raw_name:
                raise _damaged(f"the name of '{name.decode()}' differs in its directory")
        if member.offset + stored_size > directory_start:
            raise _damaged(f"'{name.decode()}' reaches beyond the files")
        yield member
    # Programs without ZIP64 count no further than 16 bits.
    if found & 0xFFFF != count & 0xFFFF:
        raise _damaged(f"its directory lists {found} files and should list {count}")


def read_behind_header(reader: Reader, member: Member) -> bytes:
    """Read a file's stored bytes, of which only the local header's offset is known.

    :param reader: What reads the ZIP file.
    :param member: The file.
    :return: Its stored bytes, fewer if the ZIP file is truncated.
    """
    likely_length = LOCAL_HEADER.size + len(member.name) + LIKELY_EXTRA
    data = reader.read_range(member.offset, likely_length + member.stored_size)
    start = measure_local_header(data, member.name)
    end = start + member.stored_size
    if len(data) < end:
        data += reader.read_range(member.offset + len(data), end - len(data))
    return data[start:end]


def measure_local_header(header: bytes, name: bytes) -> int:
    """Return how many bytes stand before a file's own bytes.

    :param header: The local header's beginning.
    :param name: The file's name, for the message.
    :return: The length of the local header with name and extra fields.
    :raises ArchiveError: If there is no local header.
    """
    if len(header) < LOCAL_HEADER.size or header[:4] != b"PK\3\4":
        raise _damaged(f"'{name.decode()}' is not where its directory says")
    *_, name_length, extra_length = LOCAL_HEADER.unpack_from(header)
    return LOCAL_HEADER.size + name_length + extra_length


def _read_directory(reader: Reader) -> tuple[bytes, int, int, int]:
    """Find and read the central directory.

    :return: Its bytes; where it starts; how far all offsets are shifted by what stands before the ZIP file, such as the
        program of one that extracts itself; and how many files it lists.
    """
    tail_start = max(0, reader.size - LONGEST_COMMENT - DIRECTORY_END.size - LOCATOR_64.size - DIRECTORY_END_64.size)
    tail = reader.read_range(tail_start, reader.size - tail_start)
    at = _find_directory_end(tail)
    _, disk, *_, count, size, offset, _ = DIRECTORY_END.unpack_from(tail, at)
    end = at
    locator = at - LOCATOR_64.size
    if locator >= 0 and tail[locator : locator + 4] == b"PK\6\7":
        end = locator - DIRECTORY_END_64.size
        if end < 0 or tail[end : end + 4] != b"PK\6\6":
            raise _damaged("its ZIP64 directory is not where it should be")
        _, _, _, _, disk, _, _, count, size, offset = DIRECTORY_END_64.unpack_from(tail, end)
    if disk:
        raise ArchiveError("The ZIP file is a part of several: join them into one.")
    start = tail_start + end - size
    if start < offset:
        raise _damaged("its directory is not where it should be")
    return reader.read_range(start, size), start, start - offset, count


def _find_directory_end(tail: bytes) -> int:
    at = len(tail)
    while (at := tail.rfind(b"PK\5\6", 0, at)) >= 0:
        # The same four bytes may stand in the comment; the true ones are followed by a comment of the right length.
        if at + DIRECTORY_END.size <= len(tail):
            comment_length = DIRECTORY_END.unpack_from(tail, at)[-1]
            if at + DIRECTORY_END.size + comment_length == len(tail):
                return at
    raise ArchiveError("The ZIP file is truncated, its end is missing: fetch or pack it again.")


def _read_zip64_sizes(extra: bytes, values: tuple[int, int, int]) -> tuple[int, int, int]:
    """Read size, stored size and offset from the extra field that holds those which need more than 32 bits."""
    at = 0
    while at + 4 <= len(extra):
        kind, length = struct.unpack_from("<2H", extra, at)
        if kind == EXTRA_ZIP64:
            missing = values.count(IN_EXTRA)
            if length < 8 * missing or at + 4 + length > len(extra):
                break
            found = iter(struct.unpack_from(f"<{missing}Q", extra, at + 4))
            size, stored_size, offset = (next(found) if value == IN_EXTRA else value for value in values)
            return size, stored_size, offset
        at += 4 + length
    raise _damaged("a ZIP64 size is missing")


def _decode_name(name: bytes, flags: int) -> bytes:
    """Return a name in UTF-8; without a flag that says so, it is in the code page of the first IBM PC."""
    if name.isascii():
        return name
    try:
        return name.decode("utf-8" if flags & UTF_8 else "cp437").encode()
    except UnicodeDecodeError as error:
        raise _damaged(f"{name!r} is no name in UTF-8") from error


def _refuse_unreadable(name: bytes, flags: int, method: int, system: int, mode: int) -> None:
    if flags & ENCRYPTED:
        raise ArchiveError(f"The ZIP file holds the encrypted file '{name.decode()}': pack it without a password.")
    if method not in METHODS:
        raise ArchiveError(
            f"The ZIP file holds '{name.decode()}', compressed by method {method}: pack it stored or deflated."
        )
    if system == UNIX and stat.S_ISLNK(mode):
        raise ArchiveError(f"The ZIP file holds the link '{name.decode()}': pack what it leads to (zip without -y).")


def _damaged(what: str) -> ArchiveError:
    return ArchiveError(f"The ZIP file is damaged, {what}: fetch or pack it again.")
