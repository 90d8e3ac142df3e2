"""A file on a web server, read by ranges where the server gives them."""

import contextlib
import re
from collections.abc import Callable, Generator
from dataclasses import dataclass, field
from typing import Final

from labkit.data.storage.checksum import Checksum, Piece
from labkit.data.storage.connection import BrokenConnectionError, ConnectionPool, Response
from labkit.data.storage.error import ChangedError, NotFoundError, StorageError
from labkit.data.storage.transfer import RANGE_SIZE, with_attempts

BUSY: Final = frozenset({408, 429, 500, 502, 503, 504})
CHANGED: Final = frozenset({404, 410, 412, 416})
CONTENT: Final = frozenset({200, 206})
"""Complete, partial; rclone answers with the former to a range, too."""
NOT_SATISFIABLE: Final = 416
PAUSES_BEFORE_ANOTHER_MIRROR_SECONDS: Final = (0.1, 0.5)


@dataclass(frozen=True)
class WebFile:
    """One version of a file on a web server; a :class:`labkit.data.storage.transfer.Source`."""

    connections: ConnectionPool = field(repr=False)
    uri: str
    size: int
    range_size: int
    etag: str
    checksum: Checksum | None

    @contextlib.contextmanager
    def open_range(self, piece: Piece) -> Generator[Response]:
        """Read a part of this version; see :meth:`labkit.data.storage.transfer.Source.open_range`."""
        with open_range(
            self.connections, self.uri, piece, uri=self.uri, size=self.size, etag=self.etag, make_error=_make_error
        ) as response:
            yield response

    def has_opaque_checksum(self) -> bool:
        """Tell that the checksum is one of the content."""
        return False


def find_web_file(connections: ConnectionPool, url: str, checksum: Checksum | None) -> WebFile:
    """Ask a web server about a file.

    :param connections: The way to it.
    :param url: The file's address.
    :param checksum: What its content hashes to, known from elsewhere.
    :return: The file.
    :raises StorageError: If it is not there, or cannot be had.
    """

    def ask() -> WebFile:
        with connections.get(url, {"Range": "bytes=0-0"}) as response:
            if response.status in BUSY:
                raise BrokenConnectionError(f"the server answered with status {response.status}")
            total = re.fullmatch(r"bytes (?:0-0|\*)/([0-9]+)", response.headers.get("content-range", ""))
            length = total[1] if total else response.headers.get("content-length", "")
            if response.status not in CONTENT and not (response.status == NOT_SATISFIABLE and length == "0"):
                raise _make_error(url, response.status)
            if not length.isdecimal():
                raise StorageError(f"The server of '{url}' does not tell the size of the file: use another mirror.")
            size = int(length)
            etag = response.headers.get("etag", "")
            is_strong = etag.startswith('"')
            return WebFile(
                connections, url, size, RANGE_SIZE if total else max(size, 1), etag.strip('"') * is_strong, checksum
            )

    return with_attempts(url, ask, pauses_seconds=PAUSES_BEFORE_ANOTHER_MIRROR_SECONDS)


@contextlib.contextmanager
def open_range(
    connections: ConnectionPool,
    url: str,
    piece: Piece,
    *,
    uri: str,
    size: int,
    etag: str,
    make_error: Callable[[str, int], StorageError],
) -> Generator[Response]:
    """Read a part of one version of a file.

    :param connections: The way to the server.
    :param url: The file's address, for the server.
    :param piece: The part, not empty.
    :param uri: The file's address, for messages.
    :param size: The version's size in bytes.
    :param etag: The version's ETag without quotes; empty if it has none.
    :param make_error: Makes the error for another status.
    :raises BrokenConnectionError: If another attempt may succeed.
    :raises ChangedError: If this version is no longer there.
    """
    headers = {"Range": f"bytes={piece[0]}-{piece[1] - 1}"} | ({"If-Match": f'"{etag}"'} if etag else {})
    with connections.get(url, headers) as response:
        if response.status in BUSY:
            raise BrokenConnectionError(f"the server answered with status {response.status}")
        if response.status in CHANGED or (
            response.status in CONTENT and etag and response.headers.get("etag", etag).strip('"') != etag
        ):
            raise ChangedError(f"'{uri}' changed while it was being read: run it again for the new version.")
        if response.status not in CONTENT:
            raise make_error(uri, response.status)
        whole = f"bytes 0-{size - 1}/{size}"
        if response.headers.get("content-range", whole) != f"bytes {piece[0]}-{piece[1] - 1}/{size}":
            raise StorageError(f"'{uri}' failed: the server does not send the range that it is asked for.")
        yield response


def _make_error(uri: str, status: int) -> StorageError:
    if status in CHANGED:
        return NotFoundError(f"There is no file '{uri}' (status {status}): use another mirror.")
    return StorageError(f"'{uri}' cannot be had (status {status}): use another mirror.")
