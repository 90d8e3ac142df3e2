"""Where a step stands, and why."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any, Final

from labkit.recipe.check import Findings, Verdict, judge
from labkit.recipe.record import History, Outcome, Record
from labkit.recipe.result import Result, encode_numbers
from labkit.recipe.staleness import Fingerprint, find_changes
from labkit.recipe.step import Step
from labkit.tracking import state

INTERRUPTED: Final = "it was interrupted"


class State(StrEnum):
    """Where a step stands."""

    NOT_RUN = "not run"
    RUNNING = "running"
    INTERRUPTED = "interrupted"
    UP_TO_DATE = "up to date"
    STALE = "stale"
    FAILED = "failed"


@dataclass(frozen=True)
class Standing:
    """Where a step stands."""

    name: str
    position: int
    state: State
    reasons: Sequence[str] = ()
    record: Record | None = None
    """The one that counts."""
    verdicts: Sequence[Verdict] = ()
    """By the checks as they are now."""
    being_executed: str | None = None
    """The step run of the execution that goes on."""

    @property
    def is_judged_otherwise(self) -> bool:
        """Whether the checks have changed since the record was written."""
        if self.record is None or self.record.outcome is Outcome.ERROR:
            return False
        now, then = (
            encode_numbers([asdict(verdict) for verdict in verdicts])  # NaN is no number, not even the same one
            for verdicts in (self.verdicts, self.record.verdicts)
        )
        return now != then

    @property
    def needs_execution(self) -> bool:
        """Whether executing the step would tell something new.

        A step whose check failed, and of which nothing has changed since, would fail again.
        """
        if self.state is State.FAILED:
            return self.record is None or self.record.outcome is Outcome.ERROR
        return self.state is not State.UP_TO_DATE

    def to_plain(self) -> dict[str, Any]:
        """Write it down, as ``recipe.json`` has it."""
        return {
            "name": self.name,
            "position": self.position,
            "state": str(self.state),
            "reasons": list(self.reasons),
            "run_id": self.record.run_id if self.record else self.being_executed,
            "outcome": str(self.record.outcome) if self.record else None,
            "verdicts": [asdict(verdict) for verdict in self.verdicts],
        }


def assess(
    step: Step, position: int, fingerprint: Fingerprint, history: History, earlier: Mapping[str, Result]
) -> Standing:
    """Say where a step stands.

    :param step: The step.
    :param position: Its place in the recipe, from 0.
    :param fingerprint: What it would depend on now.
    :param history: What was executed.
    :param earlier: What the steps before it have left.
    :return: Its standing.
    """
    record = history.find(step.name, fingerprint)
    if record is None:
        return Standing(step.name, position, *_describe_unfinished(history.state_of_newest(step.name)))
    if record.outcome is Outcome.ERROR:
        return Standing(step.name, position, State.FAILED, [str(record.error)], record)
    verdicts = judge(step.checks, Findings(record.result, earlier))
    if changes := find_changes(record.fingerprint, fingerprint):
        return Standing(step.name, position, State.STALE, changes, record, verdicts)
    if failures := [verdict.reason for verdict in verdicts if not verdict.holds]:
        return Standing(step.name, position, State.FAILED, failures, record, verdicts)
    return Standing(step.name, position, State.UP_TO_DATE, [], record, verdicts)


def _describe_unfinished(newest: state.State | None) -> tuple[State, list[str]]:
    """Say where a step stands that never came to its end."""
    match newest:
        case None:
            return State.NOT_RUN, []
        case state.State.RUNNING | state.State.CREATED:
            return State.RUNNING, ["another recipe executes it"]
        case state.State.FAILED:
            return State.FAILED, ["it failed, and why could not be recorded"]
        case _:
            return State.INTERRUPTED, [INTERRUPTED]
