"""A file inside an archive: its name, and where its bytes are."""

from typing import Final, NamedTuple

from labkit.command import UsageError

PLAIN: Final = 0
"""The bytes stand in the archive as they are, without a checksum: TAR."""
STORED: Final = 1
"""The bytes stand in the archive as they are, and their CRC-32 is known: ZIP."""
DEFLATED: Final = 2
BEHIND_HEADER: Final = 16
"""Added to the method where the offset is that of the local header, which is still to be read: ZIP over a network."""


class Member(NamedTuple):
    """Where a file lies in an archive."""

    name: bytes
    offset: int
    size: int
    stored_size: int
    crc: int
    method: int


class ArchiveError(UsageError):
    """An archive is damaged, truncated, changed, or of a kind that cannot be read at random."""
