"""Images in a folder or an archive, as arrays."""

import collections
import io
import math
import os
import re
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any, Final, TypeVar

from labkit.command import UsageError
from labkit.data.archive import Archive

if TYPE_CHECKING:
    from numpy.typing import NDArray

SUFFIXES: Final = frozenset(
    {".bmp", ".gif", ".jpeg", ".jpg", ".npy", ".pgm", ".png", ".pnm", ".ppm", ".tif", ".tiff", ".webp"}
)
AHEAD_PER_THREAD: Final = 16
PLAIN_ARRAY: Final = re.compile(
    rb"\x93NUMPY\x01\x00(?P<length>..)\{'descr': '(?P<dtype>\|[biu]1|[<>](?:[iu][248]|f[248]))', "
    rb"'fortran_order': (?P<order>True|False), 'shape': \((?P<shape>[0-9, ]*)\), \} *\n",
    re.DOTALL,
)
HEADER_START: Final = 10

_header_guard = threading.Lock()
"""NumPy has the header of an array parsed as Python, which takes ten times as long as all else and which threads cannot
do at the same time: before Python 3.11.8 and 3.12.2 this raises a SystemError now and then (CPython's issue 106905)."""

T = TypeVar("T")
R = TypeVar("R")


def is_image(name: str) -> bool:
    """Tell by a file's name whether :func:`decode_image` can be expected to read it."""
    return PurePosixPath(name).suffix.lower() in SUFFIXES


def class_of(name: str) -> str:
    """Return the class of a sample that is kept by classes: the name of the folder it lies in."""
    return PurePosixPath(name).parent.name


def decode_image(content: bytes, name: str, mode: str | None = None) -> "NDArray[Any]":
    """Decode an image.

    :param content: The file: a NumPy array, or any format that Pillow reads.
    :param name: Its name.
    :param mode: The mode of Pillow to convert it to, if any. Without one, palettes are resolved, for their numbers mean
        nothing by themselves.
    :return: An array of shape (height, width) or (height, width, channels).
    :raises UsageError: If it cannot be decoded.
    """
    import numpy as np

    try:
        if name.lower().endswith(".npy"):
            if (array := _decode_plain_array(content)) is not None:
                return array
            with _header_guard:
                return np.load(io.BytesIO(content), allow_pickle=False)
        from PIL import Image

        with Image.open(io.BytesIO(content)) as image:
            if mode is None and image.mode in {"P", "PA"}:
                mode = "RGBA" if image.has_transparency_data else "RGB"
            return np.asarray(image if mode is None else image.convert(mode))
    except Exception as error:  # of a damaged file, decoders raise whatever they stumble over
        raise UsageError(f"The image {name} cannot be decoded ({error}): mend or remove it.") from error


def _decode_plain_array(content: bytes) -> "NDArray[Any] | None":
    """Decode a NumPy file of the usual kind without parsing its header as Python; None if it is another, or damaged."""
    import numpy as np

    header = PLAIN_ARRAY.match(content)
    if header is None:
        return None
    start = header.end()
    dtype = np.dtype(header["dtype"].decode())
    shape = tuple(int(length) for length in header["shape"].split(b",") if length.strip())
    count = math.prod(shape)
    if (
        start != HEADER_START + int.from_bytes(header["length"], "little")
        or len(content) - start < count * dtype.itemsize
    ):
        return None
    order = "F" if header["order"] == b"True" else "C"
    return np.frombuffer(content, dtype, count, start).reshape(shape, order=order).copy(order)


def load_images(archive: Archive, names: Iterable[str], mode: str | None = None) -> "Iterator[NDArray[Any]]":
    """Read and decode images by threads, and no more of them at a time than these need.

    :param archive: Where they are.
    :param names: Which ones.
    :param mode: See :func:`decode_image`.
    :return: The images, in the order of the names.
    :raises UsageError: If one cannot be decoded.
    """
    return map_in_threads(lambda name: decode_image(archive.read(name), name, mode), names)


def map_in_threads(function: Callable[[T], R], items: Iterable[T]) -> Iterator[R]:
    """Apply a function by threads, only a little ahead of whoever takes the results.

    :param function: What to do with each item.
    :param items: The items.
    :return: The results, in the order of the items.
    """
    threads = len(os.sched_getaffinity(0))
    futures: collections.deque[Future[R]] = collections.deque()
    with ThreadPoolExecutor(threads) as pool:
        try:
            for item in items:
                futures.append(pool.submit(function, item))
                if len(futures) > AHEAD_PER_THREAD * threads:
                    yield futures.popleft().result()
            while futures:
                yield futures.popleft().result()
        finally:
            pool.shutdown(wait=False, cancel_futures=True)
