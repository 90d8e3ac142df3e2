"""Mean, standard deviation, minimum and maximum of each channel, and the number of samples of each class.

Every value is read once. Integers of up to 16 bits are summed as integers, so that only the final division rounds.
Other values are summed as deviations from a mean of their own, block by block, and the blocks' means and squared
deviations joined as in Chan, Golub and LeVeque, "Algorithms for Computing the Sample Variance" (The American
Statistician 37:3, 1983, equation 2.1), with means carried in two numbers: the result is exact also where the mean is
larger than the standard deviation by many orders of magnitude. It does not depend on the number of threads.
"""

import collections
import concurrent.futures
import contextlib
import dataclasses
import json
import math
import os
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Self, TypeVar

from labkit.command import UsageError, command
from labkit.data.archive import open_archive
from labkit.data.footprint import identify_data
from labkit.data.image import SUFFIXES, class_of, is_image, load_images
from labkit.data.progress import Progress, show_progress
from labkit.data.record import explained_when_unwritable, record_paths, write_record
from labkit.environment import Environment

if TYPE_CHECKING:
    from numpy.typing import NDArray

RECORD_NAME: Final = "statistics"
BATCH_BYTES: Final = 2**26
"""How much is measured at once: enough to keep all processors busy."""
PART_BYTES: Final = 2**22
"""How much a thread measures at once."""
BLOCK_BYTES: Final = 2**18
"""How much of that is read twice, and stays in the processor's cache in between."""
SHORTEST_ROW: Final = 192
"""Enough values in a row for whole vector registers of every kind."""
LARGEST_WITHOUT_CHANNELS: Final = 2
"""Images of no more axes have no axis for channels."""
EXACT_INTEGER: Final = 2**53
"""Integers up to here are exact in double precision."""

R = TypeVar("R")


@dataclass(frozen=True)
class Statistics:
    """What is known about all images of a data set, channel by channel."""

    images: int
    pixels: int
    """How many values there are in each channel."""
    mean: tuple[float, ...]
    standard_deviation: tuple[float, ...]
    """Of these images, not of a population they were drawn from: the divisor is the number of values."""
    minimum: tuple[float, ...]
    maximum: tuple[float, ...]
    class_counts: dict[str, int] = field(default_factory=dict)
    """How many images there are of each class, in the order of the classes' names."""
    mode: str | None = None
    """The mode of Pillow that the images were converted to, if they were."""

    def to_json(self) -> dict[str, Any]:
        """Return the statistics as plain data."""
        return dataclasses.asdict(self)

    @classmethod
    def from_json(cls, fields: Mapping[str, Any]) -> Self:
        """Make statistics of plain data."""
        values: dict[str, Any] = {
            name: tuple(value) if isinstance(value, list) else value for name, value in fields.items()
        }
        return cls(**values)


class _Channel:
    """What is known about the values of one channel so far."""

    def __init__(self) -> None:
        self.count = 0
        self.minimum = math.inf
        self.maximum = -math.inf
        # Of the integers: the sum, and the sum of squares.
        self._total = 0
        self._squares = 0
        # Of the other values: the number, and the mean and the sum of squared deviations from it, each as a sum of a
        # number and a much smaller one.
        self._others = 0
        self._mean = (0.0, 0.0)
        self._deviation = (0.0, 0.0)

    def add_range(self, minimum: float, maximum: float) -> None:
        """Add the least and the greatest of some values."""
        self.minimum = min(self.minimum, minimum)
        self.maximum = max(self.maximum, maximum)

    def add_integers(self, count: int, total: int, squares: int) -> None:
        """Add integers by their sum and that of their squares."""
        self.count += count
        self._total += total
        self._squares += squares

    def add_values(self, count: int, mean: tuple[float, ...], deviation: float) -> None:
        """Add other values by their mean, the sum of several numbers, and the sum of squared deviations from it."""
        self.count += count
        before, self._others = self._others, self._others + count
        if not before:
            self._mean, self._deviation = _add(mean), (deviation, 0.0)
            return
        distance = math.fsum((*mean, -self._mean[0], -self._mean[1]))
        self._mean = _add((*self._mean, distance * (count / self._others)))
        between = distance * distance * (before * (count / self._others))
        self._deviation = _add((*self._deviation, deviation, between))

    def finish(self) -> tuple[float, float]:
        """Return mean and standard deviation, rounded only here."""
        mean_of_others = sum(map(Fraction, self._mean))
        total = self._total + self._others * mean_of_others
        squares = self._squares + sum(map(Fraction, self._deviation)) + self._others * mean_of_others**2
        mean = Fraction(total, self.count)
        return float(mean), math.sqrt(squares / self.count - mean**2)


def _add(numbers: Iterable[float]) -> tuple[float, float]:
    """Add numbers: the sum, and what rounding took from it."""
    numbers = list(numbers)
    total = math.fsum(numbers)
    return total, math.fsum((*numbers, -total))


def measure_statistics(
    images: "Iterable[NDArray[Any]]",
    labels: Iterable[Hashable] = (),
    *,
    channel_axis: int | None = -1,
    describe: Callable[[int], str] = "image {}".format,
    threads: int | None = None,
) -> Statistics:
    """Measure images, in one pass.

    :param images: An array of images, or images of any sizes, one after the other; of any real type. Images of one or
        two axes have one channel.
    :param labels: The class of each image, if known.
    :param channel_axis: Which axis of an image holds its channels, counted from the end: -1 for images of shape
        (height, width, channels), -3 for (channels, height, width), ``None`` for images without such an axis.
    :param describe: Names an image by its position, for messages.
    :param threads: How many threads to use; by default as many as this process may use processors.
    :return: The statistics, which do not depend on the number of threads.
    :raises UsageError: If there are no images, they differ in their number of channels, or hold something else than
        finite real numbers.
    """
    channels: list[_Channel] = []
    count = 0
    with concurrent.futures.ThreadPoolExecutor(threads or len(os.sched_getaffinity(0))) as pool:
        for pixels, sizes in _make_batches(images, channel_axis, describe):
            channels = channels or [_Channel() for _ in range(pixels.shape[1])]
            if len(channels) != pixels.shape[1]:
                raise UsageError(
                    f"The number of channels of {describe(count)} is {pixels.shape[1]}, and {len(channels)} of those "
                    "before it: convert all to one kind."
                )
            if not _measure(pixels, channels, pool):
                position = count + _find_unusable(pixels, sizes)
                raise UsageError(f"A value in {describe(position)} is not finite, or too large to be squared: mend it.")
            count += len(sizes)
    if not channels or not channels[0].count:
        raise UsageError("There are no images, or they have no pixels: there is nothing to measure.")
    moments = [channel.finish() for channel in channels]
    return Statistics(
        images=count,
        pixels=channels[0].count,
        mean=tuple(mean for mean, _ in moments),
        standard_deviation=tuple(deviation for _, deviation in moments),
        minimum=tuple(channel.minimum for channel in channels),
        maximum=tuple(channel.maximum for channel in channels),
        class_counts=dict(sorted(collections.Counter(map(str, labels)).items())),
    )


def _make_batches(
    images: "Iterable[NDArray[Any]]", channel_axis: int | None, describe: Callable[[int], str]
) -> "Iterator[tuple[NDArray[Any], list[int]]]":
    """Bring images together to arrays of shape (pixels, channels), each with its images' numbers of pixels."""
    import numpy as np

    if isinstance(images, np.ndarray):
        step = max(1, BATCH_BYTES // max(1, images[:1].nbytes))
        for first in range(0, len(images), step):
            stack = images[first : first + step]
            pixels = _flatten(
                stack, channel_axis if stack.ndim > LARGEST_WITHOUT_CHANNELS + 1 else None, describe(first)
            )
            yield pixels, [len(pixels) // len(stack)] * len(stack)
        return
    batch: list[NDArray[Any]] = []
    size = 0
    for position, image in enumerate(images):
        array = np.asarray(image)
        has_channels = array.ndim > LARGEST_WITHOUT_CHANNELS
        pixels = _flatten(array, channel_axis if has_channels else None, describe(position))
        if batch and (size >= BATCH_BYTES or (pixels.dtype, pixels.shape[1]) != (batch[0].dtype, batch[0].shape[1])):
            yield np.concatenate(batch), [*map(len, batch)]
            batch, size = [], 0
        batch.append(pixels)
        size += pixels.nbytes
    if batch:
        yield np.concatenate(batch), [*map(len, batch)]


def _flatten(array: "NDArray[Any]", channel_axis: int | None, description: str) -> "NDArray[Any]":
    """Put the channels last, and all pixels into one row."""
    import numpy as np

    if array.dtype.kind not in "buif" or array.dtype.itemsize > np.dtype(np.float64).itemsize:
        raise UsageError(
            f"The type of {description} is {array.dtype}: convert it to integers or floating-point numbers of at most "
            "64 bits."
        )
    if channel_axis is None:
        return array.reshape(-1, 1)
    return np.moveaxis(array, channel_axis, -1).reshape(-1, array.shape[channel_axis])


def _measure(pixels: "NDArray[Any]", channels: list[_Channel], pool: concurrent.futures.Executor) -> bool:
    """Add an array of shape (pixels, channels) to what is known; return whether all its values could be used."""
    import numpy as np

    if not pixels.size:
        return True
    pixels = np.ascontiguousarray(pixels, pixels.dtype.newbyteorder("="))
    if pixels.dtype == np.bool_:
        pixels = pixels.view(np.uint8)
    if pixels.dtype.kind == "f":
        return _measure_values(pixels.astype(np.float32) if pixels.dtype == np.float16 else pixels, channels, pool)
    if pixels.dtype.itemsize <= np.dtype(np.int16).itemsize:
        _measure_integers(pixels, channels, pool)
        return True
    lowest = [int(value) for value in pixels.min(axis=0)]
    highest = [int(value) for value in pixels.max(axis=0)]
    shifts = [0] * len(channels)
    if max(*highest, *(-value for value in lowest)) > EXACT_INTEGER:
        # Differences modulo 2⁶⁴ are exact whatever the sign, and rounded to double precision only thereafter.
        shifts = lowest
        pixels = pixels.view(np.uint64) - np.array([value % 2**64 for value in lowest], np.uint64)
    is_usable = _measure_values(pixels, channels, pool, shifts)
    for channel, least, greatest in zip(channels, lowest, highest, strict=True):
        channel.add_range(least, greatest)
    return is_usable


def _measure_integers(pixels: "NDArray[Any]", channels: list[_Channel], pool: concurrent.futures.Executor) -> None:
    from labkit.data.statistics.kernel import sum_bytes, sum_integers

    kernel = sum_bytes if pixels.dtype == "uint8" else sum_integers

    def measure(part: "tuple[NDArray[Any], int]") -> "list[NDArray[Any]]":
        sums, squares, least, greatest = (lane.reshape(-1, len(channels)) for lane in kernel(*part))
        return [sums.sum(axis=0), squares.sum(axis=0), least.min(axis=0), greatest.max(axis=0)]

    for (values, _), results in _map_parts(measure, pixels, pool):
        for channel, total, squares, least, greatest in zip(channels, *results, strict=True):
            channel.add_integers(len(values) // len(channels), int(total), int(squares))
            channel.add_range(int(least), int(greatest))


def _measure_values(
    pixels: "NDArray[Any]", channels: list[_Channel], pool: concurrent.futures.Executor, shifts: Iterable[int] = ()
) -> bool:
    """Add values as double-precision numbers; ``shifts``, if any, were taken from the values of each channel before."""
    from labkit.data.statistics.kernel import measure_values

    def measure(part: "tuple[NDArray[Any], int]") -> "list[NDArray[Any]]":
        values, lanes = part
        steps = max(1, BLOCK_BYTES // (lanes * values.itemsize))
        mean, rest, deviation, least, greatest = measure_values(values, lanes, len(channels), steps)
        lanes_of_channels = (-1, len(channels))
        return [
            mean,
            rest,
            deviation,
            least.reshape(lanes_of_channels).min(axis=0),
            greatest.reshape(lanes_of_channels).max(axis=0),
        ]

    shifts = list(shifts)
    for (values, _), results in _map_parts(measure, pixels, pool):
        for number, (channel, mean, rest, deviation, least, greatest) in enumerate(
            zip(channels, *(result.tolist() for result in results), strict=True)
        ):
            if not math.isfinite(deviation):
                return False
            shift = shifts[number] if shifts else 0
            # An integer of 64 bits is the sum of two double-precision numbers.
            channel.add_values(
                len(values) // len(channels), (mean, rest, float(shift), float(shift - int(float(shift)))), deviation
            )
            if not shifts:
                channel.add_range(least, greatest)
    return True


def _map_parts(
    measure: "Callable[[tuple[NDArray[Any], int]], R]",
    pixels: "NDArray[Any]",
    pool: concurrent.futures.Executor,
) -> "Iterator[tuple[tuple[NDArray[Any], int], R]]":
    """Measure parts of an array by threads: rows of a good length, then what is left over.

    :return: Each part's values and length of row, with what came of it, in the array's order.
    """
    values = pixels.reshape(-1)
    channels = pixels.shape[1]
    lanes = channels * -(-SHORTEST_ROW // channels)
    whole = len(values) // lanes * lanes
    step = max(1, PART_BYTES // (lanes * values.itemsize)) * lanes
    parts = [(values[first : min(first + step, whole)], lanes) for first in range(0, whole, step)]
    if whole < len(values):
        parts.append((values[whole:], channels))
    return zip(parts, pool.map(measure, parts), strict=True)


def _find_unusable(pixels: "NDArray[Any]", sizes: list[int]) -> int:
    """Return which image has the first value that is not finite, or else the greatest."""
    import numpy as np

    magnitude = np.abs(pixels).max(axis=1)
    return int(np.searchsorted(np.cumsum(sizes), np.argmax(np.where(np.isnan(magnitude), np.inf, magnitude)), "right"))


def read_statistics(data: Path, root: str, *, cache: Path | None = None) -> Statistics | None:
    """Return the statistics that were written for some data, unless they are stale.

    :param data: A folder, an archive or an array file.
    :param root: The root of the data's footprint, as :func:`labkit.data.footprint.identify_data` returns it.
    :param cache: Where they may be if not beside the data.
    :return: The statistics, or nothing if there are none for data of this root.
    """
    for path in record_paths(data, RECORD_NAME, cache):
        with contextlib.suppress(FileNotFoundError, NotADirectoryError, ValueError, KeyError, TypeError):
            record = json.loads(path.read_bytes())
            if record["footprint"] == root:
                return Statistics.from_json(record["statistics"])
    return None


@command
def data_analyze(path: Path, *, mode: str | None = None) -> int:
    """Measure the images in a folder or an archive: mean, standard deviation, minimum and maximum of each channel.

    What is found is kept beside the data's footprint, and measured again only if the data have changed. An image's
    class is the name of the folder it lies in. An example: ``data-analyze data/cells``.

    :param path: A folder, a ZIP or TAR file with images or NumPy arrays, or one .npy file with an array of images.
    :param mode: Convert images to this mode of Pillow first, for example RGB or L.
    :return: 0.
    """
    environment = Environment.read()
    cache = environment.data_ephemeral_path or environment.data_path
    with show_progress(f"Verifying {path}") as progress:
        footprint = identify_data(path, cache=cache, progress=progress)
    statistics = read_statistics(path, footprint.root, cache=cache)
    if statistics is None or statistics.mode != mode:
        with show_progress(f"Measuring {path}") as progress:
            statistics = dataclasses.replace(_measure_data(path, mode, cache, progress), mode=mode)
        record = {"footprint": footprint.root, "statistics": statistics.to_json()}
        with explained_when_unwritable(path):
            write_record(path, RECORD_NAME, json.dumps(record, indent=2).encode(), cache)
    print("\n".join(_lines(path, statistics)))
    return 0


def _measure_data(path: Path, mode: str | None, cache: Path | None, progress: Progress) -> Statistics:
    import numpy as np

    if path.suffix == ".npy":
        try:
            images = np.load(path, mmap_mode="r")
        except ValueError as error:
            raise UsageError(f"The array {path} cannot be read ({error}).") from error
        return measure_statistics(images)
    with open_archive(path, cache=cache) as archive:
        names = [name for name in archive if is_image(name)]
        if not names:
            raise UsageError(f"There are no images in {path}: known are files ending in {', '.join(sorted(SUFFIXES))}.")

        def tell(images: "Iterable[NDArray[Any]]") -> "Iterator[NDArray[Any]]":
            for image in images:
                progress(1, image.nbytes)
                yield image

        has_classes = any(map(class_of, names))
        return measure_statistics(
            tell(load_images(archive, names, mode)),
            map(class_of, names) if has_classes else (),
            describe=lambda position: f"image {names[position]}",
        )


def _lines(path: Path, statistics: Statistics) -> Iterator[str]:
    yield f"{path}: {statistics.images:,} images, {statistics.pixels:,} pixels"
    yield f"{'channel':>7} {'mean':>16} {'deviation':>16} {'minimum':>16} {'maximum':>16}"
    columns = (statistics.mean, statistics.standard_deviation, statistics.minimum, statistics.maximum)
    for channel, values in enumerate(zip(*columns, strict=True)):
        yield f"{channel:>7} " + " ".join(f"{value:>16.8g}" for value in values)
    for name, count in statistics.class_counts.items():
        yield f"{count:>7,} {name}"
