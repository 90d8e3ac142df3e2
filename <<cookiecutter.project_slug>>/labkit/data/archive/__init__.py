"""Many files as one: a folder, a ZIP file or a TAR file as a mapping from names to bytes."""

from labkit.data.archive.archive import Archive, open_archive
from labkit.data.archive.member import ArchiveError

__all__ = ["Archive", "ArchiveError", "open_archive"]
