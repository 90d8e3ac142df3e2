"""Where the trials of a session stand."""

import contextlib
import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from filelock import Timeout

from labkit.environment import Environment
from labkit.launch.session import Session
from labkit.launch.trial import SESSION_TAG, TRIAL_TAG, SealedSession
from labkit.tracking.contact import asks_the_store
from labkit.tracking.run import connect, now
from labkit.tracking.spool import FILE_NAME
from labkit.tracking.state import STATE_TAG, State, conclude, read_state, tell

if TYPE_CHECKING:
    from mlflow.entities import Run as StoredRun

PRUNED_TAG: Final = "labkit.pruned"
"""On a run that was ended early, as others did better."""
PAGE: Final = 1000
"""Runs that the store is asked for at once."""


@dataclass(frozen=True, kw_only=True)
class Standing:
    """Where one trial stands.

    :ivar index: Its number in the session.
    :ivar run_id: Its run; None before it starts.
    :ivar state: The run's state; None before it starts.
    :ivar is_pruned: Whether it was ended early, as others did better.
    :ivar parameters: The run's arguments, as the store shows them.
    """

    index: int
    run_id: str | None = None
    state: State | None = None
    is_pruned: bool = False
    parameters: Mapping[str, str] = field(default_factory=dict[str, str])

    @property
    def has_ended(self) -> bool:
        """Whether nothing more becomes of the trial by itself."""
        return self.is_pruned or (self.state is not None and self.state.is_final)

    def is_left(self, *, retry: bool) -> bool:
        """Tell whether the trial is to be executed.

        :param retry: Whether one that failed or was killed is.
        """
        if self.is_pruned or self.state is State.FINISHED:
            return False
        return retry or self.state not in {State.FAILED, State.KILLED}


def read_standings(session: SealedSession) -> list[Standing]:
    """Find out where every trial stands.

    What this machine knows of a run is newer than what the store has heard.

    :param session: The session.
    :return: The trials in their order.
    """
    environment = session.run.environment
    started = {
        int(entry.data.tags[TRIAL_TAG].rpartition("/")[2]): entry
        for entry in search_trials(environment, session.identifier)
    }
    return [
        _describe(environment, index, started[index]) if index in started else Standing(index=index)
        for index in range(session.manifest.trials)
    ]


def search_trials(environment: Environment, session_id: str) -> "Iterator[StoredRun]":
    """Yield what the store has of the trials of a session that have begun.

    :param environment: Says which store.
    :param session_id: The session's id.
    :return: Their runs.
    """
    token = None
    while True:
        page, token = _ask_for_page(environment, session_id, token)
        yield from (entry for entry in page if TRIAL_TAG in entry.data.tags)
        if not token:
            return


@asks_the_store
def tell_state(environment: Environment, identifier: str, state: State) -> None:
    """Tell the store where a session stands, as seen by whoever executes it.

    :param environment: Says which store.
    :param identifier: The session's id.
    :param state: The state.
    """
    tell(connect(environment), identifier, state, now())


def find_best(session: Session, values: Iterable[float]) -> float | None:
    """Return the best value of a metric that a run has had; what is no number is none.

    :param session: Says which is better.
    :param values: The values.
    :return: The best, or None if there is none.
    """
    numbers = [value for value in values if not math.isnan(value)]
    return (max if session.maximise else min)(numbers, default=None)


def _describe(environment: Environment, index: int, entry: "StoredRun") -> Standing:
    state = State(entry.data.tags[STATE_TAG])
    folder = environment.runs_path / entry.info.run_id
    if not state.is_final and (folder / FILE_NAME).exists():
        with contextlib.suppress(Timeout):  # it is being executed
            conclude(folder)
        state = read_state(folder) or state
    return Standing(
        index=index,
        run_id=entry.info.run_id,
        state=state,
        is_pruned=PRUNED_TAG in entry.data.tags,
        parameters=entry.data.params,
    )


@asks_the_store
def _ask_for_page(environment: Environment, session_id: str, token: str | None) -> tuple[list["StoredRun"], str | None]:
    store = connect(environment)
    experiment = store.get_run(session_id).info.experiment_id
    page = store.search_runs([experiment], f"tags.`{SESSION_TAG}` = '{session_id}'", max_results=PAGE, page_token=token)
    return list(page), page.token
