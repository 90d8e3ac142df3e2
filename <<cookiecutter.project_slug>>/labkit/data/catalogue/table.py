"""What a prepared data set consists of: an archive of images and a table of their labels, or a table alone."""

import csv
import io
import zipfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from labkit.data.archive import open_archive
from labkit.data.image import load_images
from labkit.data.split import read_samples

EARLIEST: Final = (1980, 1, 1, 0, 0, 0)
"""The date of all members, so that the same images make the same archive on any day."""
UNLABELLED: Final = "unlabelled"


class Example(NamedTuple):
    """An image and its class."""

    part: str
    """``train``, ``test`` or what its authors call the part it belongs to."""
    image: NDArray[Any]
    """Of shape (height, width) or (height, width, channels)."""
    label: int | None
    """The number of its class, from 0; none if its authors do not tell."""


def write_images(examples: Iterable[Example], classes: Sequence[str], folder: Path) -> None:
    """Write ``images.zip``, with a NumPy file for each image, and ``labels.csv``, with a row for each.

    The files lie in the archive at ``part/class/number.npy``, uncompressed, so that each can be read at random.

    :param examples: The images.
    :param classes: The names of the classes, in the order of their numbers.
    :param folder: Where to write.
    """
    with (
        zipfile.ZipFile(folder / "images.zip", "w", zipfile.ZIP_STORED) as archive,
        (folder / "labels.csv").open("w", encoding="utf-8", newline="") as file,
    ):
        labels = csv.writer(file, lineterminator="\n")
        labels.writerow(("file", "part", "label", "class"))
        for number, (part, image, label) in enumerate(examples):
            name = UNLABELLED if label is None else classes[label]
            member = f"{part}/{name}/{number:06}.npy"
            content = io.BytesIO()
            np.save(content, np.ascontiguousarray(image), allow_pickle=False)
            archive.writestr(zipfile.ZipInfo(member, EARLIEST), content.getvalue())
            labels.writerow((member, part, "" if label is None else label, name))


def read_images(folder: Path) -> tuple[NDArray[Any], NDArray[np.int64]]:
    """Read what :func:`write_images` wrote, where all images are of one shape.

    :param folder: Where it is.
    :return: Images ``(images, height, width)`` or ``(images, height, width, channels)``, and the numbers of their
        classes, -1 where there is none.
    :raises UsageError: If one cannot be read.
    """
    samples = read_samples(folder / "labels.csv")
    with open_archive(folder / "images.zip") as archive:
        images = np.stack([*load_images(archive, samples.values("file"))])
    return images, np.array([int(label or -1) for label in samples.values("label")])


def write_table(columns: Sequence[str], rows: Iterable[Sequence[object]], folder: Path) -> None:
    """Write ``table.csv``, with a row for each sample.

    :param columns: The columns' names.
    :param rows: The values of each sample.
    :param folder: Where to write.
    """
    with (folder / "table.csv").open("w", encoding="utf-8", newline="") as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow(columns)
        table.writerows(rows)
