"""What a tracking store in an SQLite file knows of runs, read from its tables.

MLflow makes an object of every parameter and every value of a metric, which takes it a minute for ten thousand runs; a
query that takes them all at once takes a second. Nothing is written, and nothing is locked.
"""

import contextlib
import json
import math
import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple, TypeAlias
from urllib.parse import quote

SQLITE: Final = "sqlite:///"
SECONDS_TO_WAIT: Final = 10.0
"""For one who writes."""

Course: TypeAlias = tuple[Sequence[int], Sequence[float]]
"""The steps of a metric, rising, and the last value at each."""


class Row(NamedTuple):
    """A run as the tables have it."""

    identifier: str
    name: str | None
    experiment: str
    status: str
    started: int
    ended: int | None
    parameters: Mapping[str, str]
    metrics: Mapping[str, float]
    tags: Mapping[str, str]


def find_database(uri: str) -> Path | None:
    """Return the file that a tracking store is kept in, or None where it is kept elsewhere or not made yet."""
    path = Path(uri.removeprefix(SQLITE))
    return path if uri.startswith(SQLITE) and path.is_file() else None


def list_experiments(path: Path) -> dict[str, str]:
    """List the names of the experiments that have not been deleted, by id.

    :param path: The file.
    """
    with _open(path) as database:
        rows = database.execute("SELECT experiment_id, name FROM experiments WHERE lifecycle_stage = 'active'")
        return {str(identifier): name for identifier, name in rows}


def list_runs(path: Path) -> list[str]:
    """List the ids of the runs that have not been deleted, the newest first.

    :param path: The file.
    """
    with _open(path) as database:
        rows = database.execute(
            "SELECT run_uuid FROM runs JOIN experiments USING (experiment_id)"
            " WHERE runs.lifecycle_stage = 'active' AND experiments.lifecycle_stage = 'active'"
            " ORDER BY start_time DESC, run_uuid"
        )
        return [identifier for (identifier,) in rows]


def find_end(path: Path) -> int:
    """Return the place up to which values of metrics have been written.

    :param path: The file.
    """
    with _open(path) as database:
        ((end,),) = database.execute("SELECT coalesce(max(rowid), 0) FROM metrics")
        return end


def list_written(path: Path, place: int) -> list[str]:
    """List the ids of the runs of which values of metrics have been written after a place.

    :param path: The file.
    :param place: What :func:`find_end` returned then.
    """
    with _open(path) as database:
        rows = database.execute("SELECT DISTINCT run_uuid FROM metrics WHERE rowid > ?", [place])
        return [identifier for (identifier,) in rows]


def read_rows(path: Path, run_ids: Sequence[str]) -> list[Row]:
    """Read runs, in no order; those that have been deleted are left out.

    :param path: The file.
    :param run_ids: Which.
    """
    given = [json.dumps(list(run_ids))]
    with _open(path) as database:
        parameters = _collect(
            database.execute(
                "SELECT run_uuid, key, value FROM params WHERE run_uuid IN (SELECT value FROM json_each(?))", given
            )
        )
        tags = _collect(
            database.execute(
                "SELECT run_uuid, key, value FROM tags WHERE run_uuid IN (SELECT value FROM json_each(?))", given
            )
        )
        latest = database.execute(
            "SELECT run_uuid, key, value, is_nan FROM latest_metrics"
            " WHERE run_uuid IN (SELECT value FROM json_each(?))",
            given,
        )
        metrics = _collect((run, name, math.nan if is_nan else value) for run, name, value, is_nan in latest)
        runs = database.execute(
            "SELECT run_uuid, runs.name, experiments.name, status, start_time, end_time"
            " FROM runs JOIN experiments USING (experiment_id)"
            " WHERE runs.lifecycle_stage = 'active' AND experiments.lifecycle_stage = 'active'"
            " AND run_uuid IN (SELECT value FROM json_each(?))",
            given,
        )
        return [
            Row(
                run,
                name,
                experiment,
                status,
                start,
                end,
                parameters.get(run, {}),
                metrics.get(run, {}),
                tags.get(run, {}),
            )
            for run, name, experiment, status, start, end in runs
        ]


def read_courses(path: Path, run_ids: Sequence[str], metric: str) -> dict[str, Course]:
    """Read the course of a metric in several runs.

    :param path: The file.
    :param run_ids: Which.
    :param metric: The metric's name.
    :return: By run.
    """
    courses: dict[str, dict[int, float]] = {identifier: {} for identifier in run_ids}
    with _open(path) as database:
        values = database.execute(
            "SELECT run_uuid, step, value, is_nan FROM metrics"
            " WHERE key = ? AND run_uuid IN (SELECT value FROM json_each(?)) ORDER BY timestamp",
            [metric, json.dumps(list(run_ids))],
        )
        for run, step, value, is_nan in values:
            courses[run][step] = math.nan if is_nan else value
    return {run: (sorted(course), [course[step] for step in sorted(course)]) for run, course in courses.items()}


def _open(path: Path) -> contextlib.closing[sqlite3.Connection]:
    address = f"file:{quote(str(path))}?mode=ro"
    return contextlib.closing(sqlite3.connect(address, timeout=SECONDS_TO_WAIT, uri=True))


def _collect(cells: Iterable[tuple[str, str, Any]]) -> dict[str, dict[str, Any]]:
    collected: dict[str, dict[str, Any]] = {}
    for run, name, value in cells:
        collected.setdefault(run, {})[name] = value
    return collected
