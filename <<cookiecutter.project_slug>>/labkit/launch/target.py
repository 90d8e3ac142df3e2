"""What a user means by an id: the same for every command, whatever executes the jobs."""

import contextlib
import re
from collections.abc import Collection
from typing import Final

from labkit.command import UsageError
from labkit.environment import Environment
from labkit.launch.trial import TRIAL_TAG
from labkit.launch.unit import Unit
from labkit.tracking.run import open_run, read_tags

RUN_ID: Final = re.compile(r"[0-9a-f]{32}")
SHORTEST_BEGINNING: Final = 4
"""Characters of an id by which something may be named, as for Git."""


def resolve(environment: Environment, target: str, launches: Collection[str], status: str) -> Unit:
    """Find the run, the session or the trial that a user means.

    :param environment: Says which store knows the run of a trial.
    :param target: The id of a run or a session, or a beginning that only one has; of a trial ``SESSION/NUMBER``, or the
        id of its run.
    :param launches: The ids of all runs and sessions that have jobs.
    :param status: The command that lists them.
    :return: What is meant.
    :raises UsageError: If it is nothing, or might be several.
    """
    unit = match(target, launches)
    if unit is None and RUN_ID.fullmatch(target) and (trial := _find_trial(environment, target)):
        unit = match(trial, launches)
    if unit is None:
        raise make_refusal(target, status)
    return unit


def match(target: str, launches: Collection[str]) -> Unit | None:
    """Find what a text names; pure.

    :param target: An id or its beginning, perhaps with the number of a trial.
    :param launches: The ids that there are.
    :return: What is meant; None if there is no such thing.
    :raises UsageError: If the text is empty, or might mean several.
    """
    beginning, slash, number = target.partition("/")
    if not beginning:
        raise UsageError("the id is empty: give that of a session, a run or a job.")
    if slash and not (number.isascii() and number.isdecimal()):
        return None
    index = int(number) if slash else None
    if beginning in launches:
        return Unit(beginning, index)
    fitting = sorted(launch for launch in launches if launch.startswith(beginning))
    if fitting and len(beginning) < SHORTEST_BEGINNING:
        raise UsageError(f"'{beginning}' is too short: give {SHORTEST_BEGINNING} characters of an id, or more.")
    if len(fitting) > 1:
        raise UsageError(f"'{beginning}' may mean {fitting[0]} or {fitting[1]}: give more of the id.")
    return Unit(fitting[0], index) if fitting else None


def make_refusal(target: str, status: str) -> UsageError:
    """Say that nothing has a name.

    :param target: The name.
    :param status: The command that lists what there is.
    :return: The error to raise.
    """
    return UsageError(f"there is no job of '{target}': `{status}` lists what there is.")


def _find_trial(environment: Environment, run_id: str) -> str | None:
    """Return the trial that a run is of, as ``SESSION/NUMBER``."""
    with contextlib.suppress(UsageError):  # there is no such run
        open_run(environment, run_id)
        return read_tags(environment, run_id).get(TRIAL_TAG)
    return None
