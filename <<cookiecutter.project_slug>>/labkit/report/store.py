"""What the tracking store knows of runs: read only, as plain data."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from labkit.command import UsageError
from labkit.environment import Environment
from labkit.tracking.contact import asks_the_store
from labkit.tracking.run import ENTRY_POINT_TAG, FOOTPRINT_TAG, connect
from labkit.tracking.state import STATE_TAG, State

if TYPE_CHECKING:
    from mlflow.entities import Run

PAGE: Final = 1000
"""How many runs are asked for at once."""
SESSION_TAG: Final = "labkit.session"
SOURCE_TAG: Final = "labkit.source"
SEED: Final = "seed"
STATES_BY_STATUS: Final = {state.mlflow_status: state for state in State} | {"SCHEDULED": State.CREATED}


@dataclass(frozen=True, kw_only=True, slots=True)
class StoredRun:
    """A run as the tracking store has it."""

    identifier: str
    name: str
    experiment: str
    state: str
    """Where it stands; of a run that Labkit did not make, as near as MLflow's status tells."""
    started: int
    """Milliseconds since 1970."""
    ended: int | None
    parameters: Mapping[str, str]
    metrics: Mapping[str, float]
    """The last value of each metric."""
    tags: Mapping[str, str]

    @property
    def seed(self) -> str | None:
        """What its random numbers derive from."""
        return self.parameters.get(SEED)

    @property
    def session(self) -> str | None:
        """The session that it is a trial of."""
        return self.tags.get(SESSION_TAG)

    @property
    def entry_point(self) -> str:
        """What it executed."""
        return self.tags.get(ENTRY_POINT_TAG, "")

    @property
    def code(self) -> str | None:
        """The hash of its code."""
        return self.tags.get(SOURCE_TAG)

    @property
    def data(self) -> str | None:
        """The root hash of its data."""
        return self.tags.get(FOOTPRINT_TAG)


@asks_the_store
def read_runs(
    environment: Environment, *, experiment_name: str | None = None, session: str | None = None
) -> list[StoredRun]:
    """Read the runs of a store.

    :param environment: Says which store.
    :param experiment_name: Only those of this experiment.
    :param session: Only the trials of this session.
    :return: The runs, the newest first.
    :raises UsageError: If there is no such experiment.
    :raises UnavailableError: If the store does not answer.
    """
    experiments = {found.experiment_id: found.name for found in connect(environment).search_experiments()}
    if experiment_name is not None:
        known = ", ".join(f"'{name}'" for name in sorted(experiments.values()))
        experiments = {identifier: name for identifier, name in experiments.items() if name == experiment_name}
        if not experiments:
            raise UsageError(f"there is no experiment '{experiment_name}' in the tracking store, but {known}.")
    if session is not None and ("'" in session or "\\" in session):
        raise UsageError(f"there is no session {session!r}: the name of one has neither quotes nor backslashes.")
    selection = f"tags.`{SESSION_TAG}` = '{session}'" if session is not None else ""
    return [make_record(entry, experiments) for entry in _search(environment, list(experiments), selection)]


def make_record(entry: "Run", experiments: Mapping[str, str]) -> StoredRun:
    """Make plain data of what MLflow returns.

    :param entry: The run.
    :param experiments: The experiments' names by id.
    :return: The run as a record.
    """
    info, data = entry.info, entry.data
    return StoredRun(
        identifier=info.run_id,
        name=info.run_name or info.run_id,
        experiment=experiments[info.experiment_id],
        state=data.tags.get(STATE_TAG) or STATES_BY_STATUS.get(info.status, info.status.lower()),
        started=info.start_time,
        ended=info.end_time,
        parameters=data.params,
        metrics=data.metrics,
        tags=data.tags,
    )


def _search(environment: Environment, experiments: list[str], selection: str) -> Iterator["Run"]:
    store, token = connect(environment), None
    while True:
        page = store.search_runs(experiments, selection, max_results=PAGE, page_token=token)
        yield from page
        token = page.token
        if not token:
            return
