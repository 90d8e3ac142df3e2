"""What the content of a file must hash to, and whether it does.

S3 tells the MD5 of an object in its ETag, or, where the object was uploaded in parts, the MD5 of the parts' MD5s and
their number (https://docs.aws.amazon.com/AmazonS3/latest/userguide/checking-object-integrity-upload.html). It does not
tell the size of a part; the few sizes that fit the number are tried.
"""

import hashlib
import math
import os
import re
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Final

MEBIBYTE: Final = 1 << 20
MEGABYTE: Final = 10**6
LARGEST_NUMBER_OF_SIZES_TRIED: Final = 64
READ_SIZE: Final = MEBIBYTE
HASHING_THREADS: Final = 2

Piece = tuple[int, int]
"""A contiguous part of a file: its first byte, and the byte after its last."""


@dataclass(frozen=True)
class Checksum:
    """The hash of a file, or of the hashes of its parts."""

    algorithm: str
    """As :mod:`hashlib` names it."""
    expected: str
    """In hexadecimal digits."""
    part_sizes: tuple[int, ...] = ()
    """The sizes in bytes that the parts may have, likeliest first; empty for the hash of the whole."""

    def layouts(self, size: int) -> list[list[Piece]]:
        """Return the ways in which a file may be cut into hashed pieces, likeliest first.

        :param size: The file's size in bytes.
        :return: One list of pieces a way.
        """
        if not self.part_sizes:
            return [[(0, size)]]
        return [cut(size, part_size) for part_size in self.part_sizes]

    def matches(self, digests: Sequence[bytes]) -> bool:
        """Tell whether the pieces' hashes make up the expected one.

        :param digests: The hash of each piece, in order.
        :return: Whether the file is what it should be.
        """
        if not self.part_sizes:
            return digests[0].hex() == self.expected
        return hashlib.new(self.algorithm, b"".join(digests), usedforsecurity=False).hexdigest() == self.expected


def read_etag(etag: str, size: int) -> Checksum | None:
    """Find out what an ETag says about the content.

    :param etag: As the server gives it.
    :param size: The object's size in bytes.
    :return: The checksum; none if the ETag is not of a form that S3 computes from the content.
    """
    match = re.fullmatch(r'"?([0-9a-f]{32})(?:-([0-9]+))?"?', etag)
    if match is None:
        return None
    if match[2] is None:
        return Checksum("md5", match[1])
    part_sizes = guess_part_sizes(size, int(match[2]))
    return Checksum("md5", match[1], part_sizes) if part_sizes else None


def guess_part_sizes(size: int, count: int) -> tuple[int, ...]:
    """Return the sizes of parts with which clients may have cut a file into a number of parts.

    :param size: The file's size in bytes.
    :param count: The number of parts.
    :return: Sizes in bytes, likeliest first: powers of two mebibytes, whole mebibytes, whole megabytes, equal parts.
    """
    if count < 1 or count > max(size, 1):
        return ()
    if count == 1:
        return (max(size, 1),)
    smallest, largest = math.ceil(size / count), (size - 1) // (count - 1)
    sizes = {
        unit * factor: None
        for unit in (MEBIBYTE, MEGABYTE)
        for factor in range(math.ceil(smallest / unit), largest // unit + 1)
    }
    likeliest = sorted(sizes, key=lambda part: (part % MEBIBYTE != 0, (part // MEBIBYTE).bit_count() != 1))
    return (*dict.fromkeys([*likeliest[: LARGEST_NUMBER_OF_SIZES_TRIED - 1], smallest]),)


def cut(size: int, piece_size: int) -> list[Piece]:
    """Cut a file into pieces of one size; the last may be smaller, and an empty file is one empty piece.

    :param size: The file's size in bytes.
    :param piece_size: A piece's size in bytes.
    :return: The pieces, in order.
    """
    return [(start, min(start + piece_size, size)) for start in range(0, max(size, 1), piece_size)]


def hash_piece(
    descriptor: int, piece: Piece, algorithm: str, wait: Callable[[int], None] = lambda _position: None
) -> bytes:
    """Hash a part of an open file.

    :param descriptor: The open file.
    :param piece: The part.
    :param algorithm: As :mod:`hashlib` names it.
    :param wait: Called with each position before it is read: returns when the bytes from there on may be read.
    :return: The hash.
    """
    digest = hashlib.new(algorithm, usedforsecurity=False)
    position, stop = piece
    buffer = memoryview(bytearray(min(READ_SIZE, stop - position)))
    while position < stop:
        wait(position)
        count = os.preadv(descriptor, [buffer[: stop - position]], position)
        if not count:
            break
        digest.update(buffer[:count])
        position += count
    return digest.digest()


def hash_pieces(descriptor: int, pieces: Sequence[Piece], algorithm: str) -> list[bytes]:
    """Hash parts of an open file, several at a time.

    :param descriptor: The open file.
    :param pieces: The parts.
    :param algorithm: As :mod:`hashlib` names it.
    :return: Their hashes.
    """
    if len(pieces) == 1:
        return [hash_piece(descriptor, pieces[0], algorithm)]
    with ThreadPoolExecutor(HASHING_THREADS, "hash") as pool:
        return list(pool.map(lambda piece: hash_piece(descriptor, piece, algorithm), pieces))


def verify_file(descriptor: int, size: int, checksum: Checksum | None) -> bool:
    """Tell whether an open file has a size and a checksum.

    :param descriptor: The open file.
    :param size: The expected size in bytes.
    :param checksum: The expected checksum; without one only the size is compared.
    :return: Whether both agree.
    """
    if os.fstat(descriptor).st_size != size:
        return False
    if checksum is None:
        return True
    return any(
        checksum.matches(hash_pieces(descriptor, pieces, checksum.algorithm)) for pieces in checksum.layouts(size)
    )
