"""What the tracking store knows of runs: read only, as plain data."""

import tempfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Final

from labkit.command import UsageError
from labkit.environment import Environment
from labkit.report.database import (
    Course,
    Row,
    find_database,
    find_end,
    list_experiments,
    list_runs,
    list_written,
    read_courses,
    read_rows,
)
from labkit.tracking.contact import asks_the_store
from labkit.tracking.run import ENTRY_POINT_TAG, FOOTPRINT_TAG, connect
from labkit.tracking.state import STATE_TAG, State

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

PAGE: Final = 500
"""How many runs are asked for at once."""
NEWEST: Final = 50
"""How many are asked for again to see what has changed."""
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
    def is_active(self) -> bool:
        """Whether it may still change."""
        return self.state not in {State.FINISHED, State.FAILED, State.KILLED}

    @property
    def has_finished(self) -> bool:
        """Whether it came to its end, and well."""
        return self.state == State.FINISHED

    @property
    def seed(self) -> str | None:
        """What its random numbers derive from."""
        return self.parameters.get(SEED)

    @property
    def session(self) -> str | None:
        """The session that it is a trial of."""
        return self.tags.get(SESSION_TAG)

    @property
    def is_session(self) -> bool:
        """Whether it executes nothing itself, and stands for the trials of a session."""
        return self.session == self.identifier

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
    :param session: Only the runs of this session, its own and its trials: its id, the beginning of it, or its name.
    :return: The runs, the newest first.
    :raises UsageError: If there is no such experiment, or not one such session.
    :raises UnavailableError: If the store does not answer.
    """
    experiments = _list_experiments(environment)
    if experiment_name is not None:
        known = ", ".join(f"'{name}'" for name in sorted(experiments.values()))
        experiments = {identifier: name for identifier, name in experiments.items() if name == experiment_name}
        if not experiments:
            raise UsageError(f"there is no experiment '{experiment_name}' in the tracking store, but {known}.")
    if database := find_database(environment.mlflow_tracking_uri):
        rows = read_rows(database, list_runs(database))
        runs = [_make_record(row) for row in rows if row.experiment in experiments.values()]
        identifier = None if session is None else _find_session(runs, session)
        chosen = [run for run in runs if identifier in {None, run.session}]
        return sorted(chosen, key=lambda run: (-run.started, run.identifier))
    if session is None:
        return _search(environment, experiments)
    if "'" in session or "\\" in session:
        raise UsageError(f"there is no session {session!r}: the name of one has neither quotes nor backslashes.")
    named = f"attributes.run_name = '{session}' and tags.`{ENTRY_POINT_TAG}` = 'session'"
    candidates = _search(environment, experiments, named)
    candidates += _search(environment, experiments, f"tags.`{SESSION_TAG}` LIKE '{session}%'")
    identifier = _find_session(candidates, session)
    return _search(environment, experiments, f"tags.`{SESSION_TAG}` = '{identifier}'")


def find_run(runs: Sequence[StoredRun], identifier: str) -> StoredRun:
    """Find the run whose id is, or begins with, what a user wrote.

    :param runs: Among these.
    :param identifier: The id, or its beginning.
    :return: The run.
    :raises UsageError: If there is none, or more than one.
    """
    found = [run for run in runs if identifier and run.identifier.startswith(identifier)]
    if len(found) != 1:
        how = f"{len(found)} of the {len(runs)} runs have" if found else f"none of the {len(runs)} runs has"
        raise UsageError(f"{how} an id that begins with '{identifier}': give the id of one.")
    return found[0]


def _find_session(runs: Iterable[StoredRun], session: str) -> str:
    """Return the id of the session that has this id, beginning of one, or name."""
    found = {run.session for run in runs if run.session and session and run.session.startswith(session)}
    found |= {run.identifier for run in runs if run.is_session and run.name == session}
    if len(found) != 1:
        which = f"{len(found)} sessions '{session}': give the id of one, {', '.join(sorted(found))}"
        raise UsageError(f"there are {which}." if found else f"there is no session '{session}'.")
    return found.pop()


@asks_the_store
def read_page(environment: Environment, token: str | None) -> tuple[list[StoredRun], str | None]:
    """Read many of the runs of a store, the newest first; of a database all of them.

    :param environment: Says which store.
    :param token: Where to go on; None for the beginning.
    :return: The runs, and where to go on, or None where these are the last.
    """
    if database := find_database(environment.mlflow_tracking_uri):
        return [_make_record(row) for row in read_rows(database, list_runs(database))], None
    store = connect(environment)
    experiments = _list_experiments(environment)
    page = store.search_runs(list(experiments), max_results=PAGE, page_token=token)
    return [_make_record(_make_row(entry, experiments)) for entry in page], page.token or None


@asks_the_store
def find_place(environment: Environment) -> int:
    """Return how far metrics have been written to a store; 0 where it cannot tell.

    :param environment: Says which store.
    """
    database = find_database(environment.mlflow_tracking_uri)
    return find_end(database) if database else 0


@asks_the_store
def refresh_runs(environment: Environment, known: Iterable[StoredRun], place: int) -> tuple[list[StoredRun], set[str]]:
    """Read the runs that are new or that may have changed since they were read.

    These are the newest, those in progress and, of a database, all whose metrics have been written to since.

    :param environment: Says which store.
    :param known: What was read before.
    :param place: What :func:`find_place` returned before that.
    :return: The runs as they are now, and the ids of those that have been deleted.
    """
    if database := find_database(environment.mlflow_tracking_uri):
        present = list_runs(database)
        before = {run.identifier: run for run in known}
        unsettled = [run for run in present if run not in before or before[run].is_active]
        rows = read_rows(database, list({*present[:NEWEST], *unsettled, *list_written(database, place)}))
        return [_make_record(row) for row in rows], before.keys() - set(present)
    store = connect(environment)
    experiments = _list_experiments(environment)
    newest = store.search_runs(list(experiments), max_results=NEWEST)
    read = {entry.info.run_id: _make_record(_make_row(entry, experiments)) for entry in newest}
    # As many as were asked for: what is older than the oldest of them has not been looked at.
    oldest = min((run.started for run in read.values()), default=0) if len(read) == NEWEST else -1
    others = [run for run in known if run.identifier not in read]
    gone = {run.identifier for run in others if run.started > oldest}
    for run in [run for run in others if run.is_active and run.identifier not in gone][:NEWEST]:
        entry = store.get_run(run.identifier)
        if entry.info.lifecycle_stage == "active" and entry.info.experiment_id in experiments:
            read[run.identifier] = _make_record(_make_row(entry, experiments))
        else:
            gone.add(run.identifier)
    return list(read.values()), gone


@asks_the_store
def read_curves(environment: Environment, run_ids: Sequence[str], metric: str) -> dict[str, Course]:
    """Read the course of a metric in several runs.

    :param environment: Says which store.
    :param run_ids: Which runs.
    :param metric: The metric's name.
    :return: By run.
    """
    if database := find_database(environment.mlflow_tracking_uri):
        return read_courses(database, run_ids, metric)
    return {identifier: _read_course(connect(environment), identifier, metric) for identifier in run_ids}


def _search(environment: Environment, experiments: Mapping[str, str], condition: str = "") -> list[StoredRun]:
    """Ask a server for all runs that meet a condition, the newest first."""
    runs: list[StoredRun] = []
    token: str | None = None
    while True:
        page = connect(environment).search_runs(list(experiments), condition, max_results=PAGE, page_token=token)
        runs += [_make_record(_make_row(entry, experiments)) for entry in page]
        token = page.token
        if not token:
            return runs


def _list_experiments(environment: Environment) -> dict[str, str]:
    """Return the names of the experiments by id."""
    if database := find_database(environment.mlflow_tracking_uri):
        return list_experiments(database)
    return {found.experiment_id: found.name for found in connect(environment).search_experiments()}


def _read_course(store: "MlflowClient", run_id: str, metric: str) -> Course:
    history = store.get_metric_history(run_id, metric)
    values = {entry.step: entry.value for entry in sorted(history, key=lambda entry: entry.timestamp)}
    steps = sorted(values)
    return steps, [values[step] for step in steps]


@asks_the_store
def open_store(environment: Environment) -> None:
    """Import MLflow, which takes seconds, and let it open the store: it is asked for the files of runs.

    :param environment: Says which store.
    """
    connect(environment)


@asks_the_store
def list_files(environment: Environment, run_id: str, folder: str) -> list[str]:
    """List the files in a folder of a run, those that only this machine has so far and those of the artifact store.

    :param environment: Says which store, and where runs are kept here.
    :param run_id: The run.
    :param folder: The folder; an empty text for the run's own.
    :return: Paths relative to the run's folder, sorted.
    """
    here = environment.runs_path / run_id
    local = {str(path.relative_to(here)) for path in (here / folder).glob("*") if path.is_file()}
    stored = connect(environment).list_artifacts(run_id, folder or None)
    return sorted(local | {file.path for file in stored if not file.is_dir})


@asks_the_store
def read_file(environment: Environment, run_id: str, path: str) -> bytes | None:
    """Read a file of a run: here, where it is newest, else from the artifact store.

    :param environment: Says which store, and where runs are kept here.
    :param run_id: The run.
    :param path: The file's path relative to the run's folder.
    :return: Its content, or None where there is none.
    """
    name = PurePosixPath(path)
    if name.is_absolute() or ".." in name.parts or run_id in {"", ".", ".."} or "/" in run_id:
        return None
    local = environment.runs_path / run_id / name
    if local.is_file():
        return local.read_bytes()
    store = connect(environment)
    parent = None if str(name.parent) == "." else str(name.parent)
    if path not in {file.path for file in store.list_artifacts(run_id, parent)}:
        return None
    with tempfile.TemporaryDirectory() as folder:
        return Path(store.download_artifacts(run_id, path, folder)).read_bytes()


def _make_row(entry: "Run", experiments: Mapping[str, str]) -> Row:
    info, data = entry.info, entry.data
    return Row(
        identifier=info.run_id,
        name=info.run_name,
        experiment=experiments[info.experiment_id],
        status=info.status,
        started=info.start_time,
        ended=info.end_time,
        parameters=data.params,
        metrics=data.metrics,
        tags=data.tags,
    )


def _make_record(row: Row) -> StoredRun:
    return StoredRun(
        identifier=row.identifier,
        name=row.name or row.identifier,
        experiment=row.experiment,
        state=row.tags.get(STATE_TAG) or STATES_BY_STATUS.get(row.status, row.status.lower()),
        started=row.started,
        ended=row.ended,
        parameters=row.parameters,
        metrics=row.metrics,
        tags=row.tags,
    )
