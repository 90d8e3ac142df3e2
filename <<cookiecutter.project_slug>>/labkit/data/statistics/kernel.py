"""The inner loops of :mod:`labkit.data.statistics`, compiled by Numba; import it only where they run.

Values come as one row after the other of ``lanes`` values each, a multiple of the number of channels, so that a lane
always holds the same channel. Lanes do not depend on one another, which lets the compiler use whole vector registers
whatever the number of channels, without reordering any sum.
"""

import numpy as np
from numba import njit
from numpy.typing import NDArray

STEPS_WITHOUT_OVERFLOW = 2**16
"""So many squares of 8 bits fit into 32 bits."""


@njit(nogil=True, cache=True)
def sum_bytes(values: NDArray[np.uint8], lanes: int) -> tuple[NDArray[np.uint64], ...]:
    """Sum values of 8 bits, exactly.

    :param values: The values; those after the last whole row are left out.
    :param lanes: The length of a row.
    :return: For each lane: the sum of values and of their squares, the least and the greatest value.
    """
    sums = np.zeros(lanes, np.uint64)
    squares = np.zeros(lanes, np.uint64)
    least = np.full(lanes, 255, np.uint8)
    greatest = np.zeros(lanes, np.uint8)
    short_sums = np.zeros(lanes, np.uint32)
    short_squares = np.zeros(lanes, np.uint32)
    steps = len(values) // lanes
    for first in range(0, steps, STEPS_WITHOUT_OVERFLOW):
        short_sums[:] = 0
        short_squares[:] = 0
        for step in range(first, min(steps, first + STEPS_WITHOUT_OVERFLOW)):
            row = values[step * lanes : (step + 1) * lanes]
            for lane in range(lanes):
                value = np.uint32(row[lane])
                short_sums[lane] += value
                short_squares[lane] += value * value
            for lane in range(lanes):
                least[lane] = min(least[lane], row[lane])
                greatest[lane] = max(greatest[lane], row[lane])
        for lane in range(lanes):
            sums[lane] += short_sums[lane]
            squares[lane] += short_squares[lane]
    return sums, squares, least.astype(np.uint64), greatest.astype(np.uint64)


@njit(nogil=True, cache=True)
def sum_integers(values: NDArray[np.integer], lanes: int) -> tuple[NDArray[np.int64], ...]:
    """Sum integers of at most 16 bits, exactly.

    :param values: At most 2³¹ rows of values; those after the last whole row are left out.
    :param lanes: The length of a row.
    :return: For each lane: the sum of values and of their squares, the least and the greatest value.
    """
    sums = np.zeros(lanes, np.int64)
    squares = np.zeros(lanes, np.int64)
    least = np.full(lanes, 2**16, np.int64)
    greatest = np.full(lanes, -(2**16), np.int64)
    for step in range(len(values) // lanes):
        row = values[step * lanes : (step + 1) * lanes]
        for lane in range(lanes):
            value = np.int64(row[lane])
            sums[lane] += value
            squares[lane] += value * value
            least[lane] = min(least[lane], value)
            greatest[lane] = max(greatest[lane], value)
    return sums, squares, least, greatest


@njit(nogil=True, cache=True)
def measure_values(
    values: NDArray[np.number], lanes: int, channels: int, steps_per_block: int
) -> tuple[NDArray[np.float64], ...]:
    """Measure values of any kind as double-precision numbers.

    A block is read twice, for its mean and for the deviations from it, and should be small enough for the processor to
    keep it in between. Blocks are joined as in Chan, Golub and LeVeque (see :mod:`labkit.data.statistics`).

    :param values: The values; those after the last whole row are left out.
    :param lanes: The length of a row.
    :param channels: The number of channels.
    :param steps_per_block: The number of rows in a block.
    :return: For each channel: the mean, what it lacks to the exact one, and the sum of squared deviations from it; for
        each lane: the least and the greatest value.
    """
    mean = np.zeros(channels, np.float64)
    rest = np.zeros(channels, np.float64)
    deviation = np.zeros(channels, np.float64)
    least = np.full(lanes, np.inf, np.float64)
    greatest = np.full(lanes, -np.inf, np.float64)
    sums = np.empty(lanes, np.float64)
    squares = np.empty(lanes, np.float64)
    centre = np.empty(lanes, np.float64)
    steps = len(values) // lanes
    repeats = lanes // channels
    for first in range(0, steps, steps_per_block):
        last = min(steps, first + steps_per_block)
        sums[:] = 0
        for step in range(first, last):
            row = values[step * lanes : (step + 1) * lanes]
            for lane in range(lanes):
                value = np.float64(row[lane])
                sums[lane] += value
                least[lane] = min(least[lane], value)
                greatest[lane] = max(greatest[lane], value)
        count = (last - first) * repeats
        for channel in range(channels):
            total = 0.0
            for repeat in range(repeats):
                total += sums[repeat * channels + channel]
            for repeat in range(repeats):
                centre[repeat * channels + channel] = total / count
        sums[:] = 0
        squares[:] = 0
        for step in range(first, last):
            row = values[step * lanes : (step + 1) * lanes]
            for lane in range(lanes):
                difference = np.float64(row[lane]) - centre[lane]
                sums[lane] += difference
                squares[lane] += difference * difference
        before = first * repeats
        for channel in range(channels):
            total = 0.0
            total_squares = 0.0
            for repeat in range(repeats):
                total += sums[repeat * channels + channel]
                total_squares += squares[repeat * channels + channel]
            shift = total / count
            own = total_squares - total * shift
            if own < 0:  # by rounding, where all values are equal
                own = 0.0
            if before == 0:
                mean[channel], rest[channel], deviation[channel] = centre[channel], shift, own
                continue
            distance = (centre[channel] - mean[channel]) + (shift - rest[channel])
            step_up = distance * (count / (before + count))
            # The sum of two numbers, and what rounding took from it (Knuth, The Art of Computer Programming 2, 4.2.2).
            raised = mean[channel] + step_up
            taken = raised - mean[channel]
            rest[channel] += (mean[channel] - (raised - taken)) + (step_up - taken)
            mean[channel] = raised
            deviation[channel] += own + distance * step_up * before
    return mean, rest, deviation, least, greatest
