"""The SHA-256 of a file, and the program of the processes that hash many (see :mod:`labkit.data.footprint.digest`).

The program starts in milliseconds since this file imports next to nothing; keep it so.
"""

import hashlib
import os
import struct
import sys

BUFFER_SIZE = 2**18
LENGTH = struct.Struct("=I")
"""Before each batch: the length of its paths, which null bytes part."""
REPLY = struct.Struct("=iqq32s")
"""For each path: error number or zero, size, time of modification in nanoseconds, SHA-256."""

Digest = tuple[int, int, bytes]
"""What was read from a file: its size, when it was last modified in nanoseconds, and the SHA-256 of its bytes."""


def hash_file(path: bytes, buffer: bytearray) -> Digest:
    """Hash a file.

    :param path: The file.
    :param buffer: Space to read into.
    :return: What was read; the time of modification is that after the last byte was.
    :raises OSError: If it cannot be read.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        view = memoryview(buffer)
        size = count = os.readv(descriptor, [buffer])
        sha256 = hashlib.sha256(view[:count])
        while True:
            if count < len(buffer):
                status = os.fstat(descriptor)
                if count == 0 or size >= status.st_size:
                    return size, status.st_mtime_ns, sha256.digest()
            count = os.readv(descriptor, [buffer])
            sha256.update(view[:count])
            size += count
    finally:
        os.close(descriptor)


def _work() -> None:
    """Hash batches of files from standard input until it ends."""
    source, target = sys.stdin.buffer, sys.stdout.buffer
    buffer = bytearray(BUFFER_SIZE)
    while length := source.read(LENGTH.size):
        reply = bytearray()
        content = source.read(*LENGTH.unpack(length))
        for path in content.split(b"\0") if content else ():
            try:
                reply += REPLY.pack(0, *hash_file(path, buffer))
            except OSError as error:
                reply += REPLY.pack(error.errno or -1, 0, 0, b"")
        target.write(reply)
        target.flush()


if __name__ == "__main__":
    _work()
