"""Which jobs a user means: by the id of a session, a run, a trial or a job."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from labkit.command import UsageError
from labkit.environment import Environment
from labkit.launch.slurm.controller import View
from labkit.launch.slurm.name import Name
from labkit.launch.slurm.queue import Entry
from labkit.launch.trial import TRIAL_TAG
from labkit.tracking.contact import asks_the_store
from labkit.tracking.run import connect, open_run

RUN_ID: Final = re.compile(r"[0-9a-f]{32}")
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


def find_jobs(target: str, view: View) -> list[Choice]:
    """Find the jobs that a user means.

    :param target: The id of a session or run, ``SESSION/NUMBER`` for a trial, or Slurm's number of a job or task.
    :param view: What there is.
    :return: The jobs, the newest last.
    :raises UsageError: If there are none.
    """
    found = {*_by_number(target, view), *_by_unit(target, view)}
    if not found:
        raise UsageError(f"there is no job of a session, run or number '{target}': `slurm-status` lists what there is.")
    return sorted(found, key=lambda choice: (choice.name.part, choice.task or 0))


def find_jobs_of(environment: Environment, target: str, view: View) -> list[Choice]:
    """Find the jobs that a user means, who may also give the id of a trial's run.

    :param environment: Says which store knows that run.
    :param target: As for :func:`find_jobs`.
    :param view: What there is.
    :return: The jobs, the newest last.
    :raises UsageError: If there are none.
    """
    try:
        return find_jobs(target, view)
    except UsageError:
        if not RUN_ID.fullmatch(target) or not (unit := _find_trial(environment, target)):
            raise
        return find_jobs(unit, view)


@asks_the_store
def _find_trial(environment: Environment, run_id: str) -> str | None:
    """Return the trial that a run is of, as ``SESSION/NUMBER``."""
    open_run(environment, run_id)  # a sentence where there is none
    return connect(environment).get_run(run_id).data.tags.get(TRIAL_TAG)


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


def _by_unit(target: str, view: View) -> Iterable[Choice]:
    launch, slash, trial = target.partition("/")
    for name in view.names:
        if name.launch != launch:
            continue
        if not slash:
            yield Choice(name=name)
        elif trial.isdecimal() and name.offset is not None and 0 <= int(trial) - name.offset < view.max_array_size:
            yield Choice(name=name, task=int(trial) - name.offset)
