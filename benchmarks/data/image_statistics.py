"""Mean and standard deviation of images, and how exact they are."""

import math
from concurrent.futures import ThreadPoolExecutor
from fractions import Fraction
from typing import Any

import numpy as np
import torch
from labkit.data.statistics import measure_statistics
from numba import njit, prange

from benchmarks.data.measurement import MILLISECONDS, Report, Target, timed

OFFSET = 1e8
LARGEST_ERROR = 1e-12
THREADS = 2


def measure_images(report: Report, scale: float) -> None:
    """Measure 20,000 images of 64 by 64 by 3, and the errors of those at a large offset.

    :param report: Prints what comes of it.
    :param scale: A part of the full size.
    """
    count = max(1000, int(20_000 * scale))
    images = np.random.default_rng(0).integers(0, 256, (count, 64, 64, 3), np.uint8)
    tensor = torch.from_numpy(images)
    measure_statistics(images[:9])
    simple_pass(images[:9])
    slow = {
        "NumPy, mean and std": timed(lambda: (images.mean(axis=(0, 1, 2)), images.std(axis=(0, 1, 2)))),
        "DeepDIVA's way": timed(lambda: average_images(images)),
        "torch, std_mean": timed(lambda: torch.std_mean(tensor.float(), dim=(0, 1, 2))),
    }
    variants = slow | {
        "a simple Numba pass": timed(lambda: simple_pass(images)),
        "reading the bytes": timed(lambda: images.reshape(-1).view(np.uint64).max()),
        "Labkit": timed(lambda: measure_statistics(images)),
    }
    report.compare(
        f"Statistics of {count:,} images of 64 by 64 by 3",
        variants,
        MILLISECONDS,
        reference="Labkit",
        targets={"Labkit": Target(40)},
        rounds=5 * report.rounds,
        once=slow,
    )
    few = images[: count // 10]
    far = few.astype(np.float64) + OFFSET
    exact = find_deviations(few)
    errors = {
        "Labkit": _error(measure_statistics(images).standard_deviation, find_deviations(images)),
        f"Labkit, offset {OFFSET:g}": _error(measure_statistics(far).standard_deviation, exact),
        f"a simple Numba pass, offset {OFFSET:g}": _error(simple_pass(far)[1], exact),
        f"NumPy, offset {OFFSET:g}": _error(far.std(axis=(0, 1, 2)), exact),
        f"torch, offset {OFFSET:g}": _error(torch.from_numpy(far).std(dim=(0, 1, 2), correction=0).numpy(), exact),
    }
    print(f"\nGreatest relative error of a standard deviation (target: at most {LARGEST_ERROR:g})")
    for name, error in errors.items():
        print(f"  {name:<40}{error:12.1e}")


@njit(parallel=True)
def simple_pass(images: Any) -> tuple[Any, Any]:
    """Sum values and squares in double precision, as one writes it down first."""
    sums = np.zeros((len(images), 3))
    squares = np.zeros((len(images), 3))
    for number in prange(len(images)):
        for row in range(images.shape[1]):
            for column in range(images.shape[2]):
                for channel in range(3):
                    value = np.float64(images[number, row, column, channel])
                    sums[number, channel] += value
                    squares[number, channel] += value * value
    count = images.shape[0] * images.shape[1] * images.shape[2]
    mean = sums.sum(axis=0) / count
    return mean, np.sqrt(squares.sum(axis=0) / count - mean * mean)


def average_images(images: Any) -> tuple[Any, Any]:
    """Measure as DeepDIVA does: the mean of the images' means, then the deviation from it, image by image."""
    with ThreadPoolExecutor(THREADS) as pool:
        mean = np.mean(list(pool.map(lambda image: image.mean(axis=(0, 1)), images)), axis=0)
        squares = pool.map(lambda image: ((image - mean) ** 2).sum(axis=(0, 1)), images)
        return mean, np.sqrt(np.sum(list(squares), axis=0) / (images.size // 3))


def find_deviations(images: Any) -> list[float]:
    """Compute the standard deviation of each channel of bytes without any rounding but the last."""
    counts = [np.bincount(images[..., channel].reshape(-1), minlength=256).tolist() for channel in range(3)]
    deviations: list[float] = []
    for count in counts:
        pixels = sum(count)
        mean = Fraction(sum(value * times for value, times in enumerate(count)), pixels)
        variance = Fraction(sum(value**2 * times for value, times in enumerate(count)), pixels) - mean**2
        # An integer square root of many digits: the square root itself is rounded only when it becomes a float.
        digits = 2**200
        deviations.append(float(Fraction(math.isqrt(int(variance * digits)), math.isqrt(digits))))
    return deviations


def _error(found: Any, exact: list[float]) -> float:
    return max(abs(float(one) / other - 1) for one, other in zip(found, exact, strict=True))
