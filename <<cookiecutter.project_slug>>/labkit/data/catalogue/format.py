"""The file formats in which well-known data sets are distributed."""

import gzip
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any, Final

import numpy as np
from numpy.typing import NDArray

from labkit.data.storage.error import CorruptError

IDX_MAGIC_SIZE: Final = 4
IDX_TYPES: Final = {0x08: "u1", 0x09: "i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}
GZIP_MAGIC: Final = b"\x1f\x8b"
CIFAR_SHAPE: Final = (3, 32, 32)
STL10_SHAPE: Final = (3, 96, 96)


def read_idx(path: Path) -> NDArray[Any]:
    """Read an array from a file in the IDX format of MNIST (http://yann.lecun.com/exdb/mnist).

    :param path: The file, which may be compressed by gzip.
    :return: The array.
    :raises CorruptError: If it is no such file.
    """
    content = path.read_bytes()
    if content.startswith(GZIP_MAGIC):
        content = gzip.decompress(content)
    kind, dimensions = content[2:4] if content[:2] == b"\0\0" and len(content) > IDX_MAGIC_SIZE else (0, 0)
    start = IDX_MAGIC_SIZE * (1 + dimensions)
    if kind in IDX_TYPES and len(content) >= start:
        shape = np.frombuffer(content, ">u4", dimensions, IDX_MAGIC_SIZE).tolist()
        values = np.frombuffer(content, IDX_TYPES[kind], offset=start)
        if values.size == np.prod(shape, dtype=np.int64):
            return values.reshape(shape)
    raise CorruptError(f"'{path}' is not in the IDX format: give the right file.")


def open_tar(path: Path) -> Iterator[tuple[str, IO[bytes]]]:
    """Open the files of a TAR archive, compressed or not, one after the other.

    :param path: The archive.
    :return: The name without folders, and the open file, which can be read until the next one is taken.
    """
    with tarfile.open(path, "r|*") as archive:
        for member in archive:
            if (file := archive.extractfile(member)) is not None:
                yield member.name.rpartition("/")[2], file


def read_cifar(content: bytes, labels: int) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Read a batch of CIFAR's binary version (https://www.cs.toronto.edu/~kriz/cifar.html).

    :param content: The file.
    :param labels: The number of labels of each image: 1 in CIFAR-10, 2 in CIFAR-100, of which the last is the fine one.
    :return: Images ``(n, 32, 32, 3)``, and their last labels.
    :raises CorruptError: If it is no such file.
    """
    record = labels + int(np.prod(CIFAR_SHAPE))
    if not content or len(content) % record:
        raise CorruptError(f"The batch has {len(content)} bytes, no multiple of {record}: give the binary version.")
    rows = np.frombuffer(content, np.uint8).reshape(-1, record)
    return rows[:, labels:].reshape(-1, *CIFAR_SHAPE).transpose(0, 2, 3, 1), rows[:, labels - 1]


def read_svhn(path: Path) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Read cropped house numbers (http://ufldl.stanford.edu/housenumbers), in which 10 stands for the digit 0.

    :param path: A MATLAB file.
    :return: Images ``(n, 32, 32, 3)``, and the digits.
    :raises CorruptError: If it is no such file.
    """
    from scipy.io import loadmat
    from scipy.io.matlab import MatReadError

    try:
        content = loadmat(path, variable_names=["X", "y"])
        images, labels = content["X"], content["y"].reshape(-1)
    except (MatReadError, KeyError, ValueError) as error:
        raise CorruptError(f"'{path}' is no MATLAB file with X and y ({error}): give the right file.") from error
    return images.transpose(3, 0, 1, 2), labels.astype(np.int64) % 10


def read_stl10_images(content: bytes) -> NDArray[np.uint8]:
    """Read images of STL-10 (https://cs.stanford.edu/~acoates/stl10), which are stored column by column.

    :param content: The file.
    :return: Images ``(n, 96, 96, 3)``.
    :raises CorruptError: If it is no such file.
    """
    if len(content) % int(np.prod(STL10_SHAPE)):
        raise CorruptError(f"The file has {len(content)} bytes, which is no number of images of 96x96 pixels.")
    return np.frombuffer(content, np.uint8).reshape(-1, *STL10_SHAPE).transpose(0, 3, 2, 1)
