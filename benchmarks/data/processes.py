"""Two processes that read at random, as the workers of a loader do."""

import multiprocessing
import random
import time
from collections.abc import Callable
from typing import Any

PROCESSES = 2
Read = Callable[[int], object]


def _read(start: Any, make_read: Callable[[], Read], numbers: list[int], times: Any) -> None:
    read = make_read()
    start.wait()
    begin = time.perf_counter()
    for number in numbers:
        read(number)
    times.put((begin, time.perf_counter()))


def read_in_processes(make_read: Callable[[], Read], members: int, reads: int) -> float:
    """Let forked processes share a number of reads.

    :param make_read: Called in each process; returns what reads the member of a number.
    :param members: How many members there are.
    :param reads: How many to read, by all processes together.
    :return: The seconds from the first start to the last end.
    """
    context = multiprocessing.get_context("fork")
    start, times = context.Barrier(PROCESSES), context.Queue()
    generator = random.Random(0)  # noqa: S311
    shares = [[generator.randrange(members) for _ in range(reads // PROCESSES)] for _ in range(PROCESSES)]
    processes = [context.Process(target=_read, args=(start, make_read, share, times)) for share in shares]
    for process in processes:
        process.start()
    spans = [times.get() for _ in processes]
    for process in processes:
        process.join()
    return max(end for _, end in spans) - min(begin for begin, _ in spans)
