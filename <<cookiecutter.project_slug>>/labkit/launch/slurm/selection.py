"""Which jobs a user means: by the id of a session, a run, a trial or a job."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from labkit.environment import Environment
from labkit.launch.slurm.controller import View
from labkit.launch.slurm.name import Name
from labkit.launch.slurm.queue import Entry
from labkit.launch.target import make_refusal, resolve
from labkit.launch.unit import Unit

JOB_ID: Final = re.compile(r"(?P<number>\d+)(?:_(?P<task>\d+))?")


@dataclass(frozen=True, kw_only=True)
class Choice:
    """A job, or one task of it.

    :ivar name: The job's name.
    :ivar task: The task's number; None for all tasks.
    """

    name: Name
    task: int | None = None

    def includes(self, entry: Entry) -> bool:
        """Tell whether a job in Slurm's queue is meant."""
        return entry.name == self.name and self.task in {None, entry.task}


def find_jobs(environment: Environment, target: str, view: View) -> list[Choice]:
    """Find the jobs that a user means.

    :param environment: Says which store knows the run of a trial.
    :param target: Slurm's number of a job or task; else as for :func:`labkit.launch.target.resolve`.
    :param view: What there is.
    :return: The jobs, the newest last.
    :raises UsageError: If there are none, or the target might mean several launches.
    """
    found = set(_by_number(target, view))
    if not found:
        launches = {name.launch for name in view.names}
        found = set(_by_unit(resolve(environment, target, launches, "slurm-status"), view))
    if not found:
        raise make_refusal(target, "slurm-status")
    return sorted(found, key=lambda choice: (choice.name.part, choice.task or 0))


def select(choices: Iterable[Choice], view: View) -> list[Entry]:
    """Return what Slurm's queue has of jobs.

    :param choices: The jobs.
    :param view: What there is.
    :return: The entries, in Slurm's order.
    """
    chosen = list(choices)
    return [entry for entry in view.entries if any(choice.includes(entry) for choice in chosen)]


def _by_number(target: str, view: View) -> Iterable[Choice]:
    number = JOB_ID.fullmatch(target)
    if not number:
        return
    if name := view.records.get(number["number"]):
        yield Choice(name=name, task=None if number["task"] is None else int(number["task"]))
        return
    # While it runs, a task has a number of its own too.
    for entry in view.entries:
        if target in {entry.job_id, str(entry.number)}:
            yield Choice(name=entry.name, task=None if entry.name.offset is None else entry.task)


def _by_unit(unit: Unit, view: View) -> Iterable[Choice]:
    for name in view.names:
        if name.launch != unit.identifier:
            continue
        if unit.index is None:
            yield Choice(name=name)
        elif name.offset is not None and 0 <= unit.index - name.offset < view.max_array_size:
            yield Choice(name=name, task=unit.index - name.offset)
