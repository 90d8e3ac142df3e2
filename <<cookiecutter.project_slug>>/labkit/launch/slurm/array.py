"""Numbers of trials as the tasks of Slurm's array jobs."""

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import groupby

from labkit.launch.numbers import write_numbers


@dataclass(frozen=True, kw_only=True)
class Array:
    """The tasks of one array job.

    :ivar offset: What is to be added to a task's number to have the trial's.
    :ivar tasks: The tasks' numbers, sorted.
    """

    offset: int
    tasks: tuple[int, ...]

    def __str__(self) -> str:
        """Write the tasks as Slurm does, such as ``0,3,5-9``."""
        return write_numbers(self.tasks)


def split(trials: Iterable[int], max_array_size: int) -> list[Array]:
    """Distribute trials over as few array jobs as a cluster takes.

    :param trials: The trials' numbers.
    :param max_array_size: Slurm's ``MaxArraySize``; a task's number is smaller.
    :return: The array jobs.
    """
    groups = groupby(sorted(trials), key=lambda trial: trial // max_array_size)
    return [
        Array(offset=number * max_array_size, tasks=tuple(trial % max_array_size for trial in group))
        for number, group in groups
    ]
