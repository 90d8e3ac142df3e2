"""Jobs as an executor has them that keeps each under a name of its own, and which of them a user means."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from labkit.environment import Environment
from labkit.launch.target import make_refusal, resolve


@dataclass(frozen=True, kw_only=True)
class Work:
    """A job.

    :ivar name: Its name.
    :ivar launch: The run or session that it executes.
    :ivar trials: The numbers of its trials, by their places in the job; None for a run.
    :ivar is_active: Whether something of it is left to do.
    """

    name: str
    launch: str
    trials: tuple[int, ...] | None
    is_active: bool

    @property
    def size(self) -> int:
        """How many units it has."""
        return 1 if self.trials is None else len(self.trials)

    def unit(self, place: int) -> str:
        """Return the unit at a place; machines that share the only one have places too."""
        if self.trials is None:
            return self.launch
        return f"{self.launch}/{self.trials[place if len(self.trials) > 1 else 0]}"


W = TypeVar("W", bound=Work)


@dataclass(frozen=True, kw_only=True)
class Choice(Generic[W]):
    """A job, or one trial of it.

    :ivar job: The job.
    :ivar place: The trial's place in it; None for all.
    """

    job: W
    place: int | None = None

    @property
    def is_whole(self) -> bool:
        """Whether nothing of the job is left out."""
        return self.place is None or self.job.size == 1

    @property
    def places(self) -> range:
        """The places of what is meant."""
        return range(self.job.size) if self.place is None else range(self.place, self.place + 1)

    def includes(self, place: int) -> bool:
        """Tell whether what has a place is meant."""
        return self.is_whole or place == self.place


def choose_work(environment: Environment, target: str, work: Sequence[W], status: str) -> list[Choice[W]]:
    """Find the jobs that a user means.

    :param environment: Says which store knows the run of a trial.
    :param target: The name of a job; else as for :func:`labkit.launch.target.resolve`.
    :param work: All jobs, the oldest first.
    :param status: The command that lists them.
    :return: The jobs, the oldest first.
    :raises UsageError: If there are none, or the target might mean several launches.
    """
    if named := [Choice(job=job) for job in work if job.name == target]:
        return named
    unit = resolve(environment, target, {job.launch for job in work}, status)
    jobs = [job for job in work if job.launch == unit.identifier]
    if unit.index is None:
        return [Choice(job=job) for job in jobs]
    found = [
        Choice(job=job, place=job.trials.index(unit.index)) for job in jobs if job.trials and unit.index in job.trials
    ]
    if not found:
        raise make_refusal(target, status)
    return found


def find_single_units(choices: Iterable[Choice[W]]) -> set[str]:
    """Return the units of those choices that are of one trial; nothing where jobs as a whole are meant."""
    return {choice.job.unit(choice.place) for choice in choices if choice.place is not None}
