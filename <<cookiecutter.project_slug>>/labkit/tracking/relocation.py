"""Going on with a run on another machine than the one that executed it last.

A machine knows the attempts of which its own spool tells. Where the store knows a newer one, what is here is out of
date: the run's records, checkpoints and logs are fetched, and what this machine had not sent yet and nobody has
recorded since is kept. That an attempt is repeated in part does no harm: a step is recorded once.
"""

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, NamedTuple

from labkit.environment import Environment
from labkit.tracking.contact import asks_the_store
from labkit.tracking.run import Run, connect
from labkit.tracking.spool import FILE_NAME, read_records
from labkit.tracking.state import ATTEMPT_TAG, is_up_to_date

CHECKPOINTS: Final = "checkpoints"
LOGS: Final = "logs"
SURROUNDINGS: Final = "environment.json"
LANES: Final = ("metrics", "files", "states")
"""Those whose places in the spool say what has been sent."""


class Value(NamedTuple):
    """A value of a metric, as the store has it."""

    name: str
    value: float
    step: int
    time: int


def catch_up(run: Run) -> None:
    """Fetch what a run has recorded elsewhere since it was executed here, if it has.

    :param run: A run that this process holds, and of which it has not written anything yet.
    :raises UnavailableError: If the store does not answer.
    """
    attempt = run.stored_attempt
    if attempt is None or is_up_to_date(run.folder, attempt):
        return
    print("The run was last executed elsewhere: what it recorded there is fetched first.", file=sys.stderr)
    history = _ask_for_history(run.environment, run.identifier)
    _fetch_files(run)
    old = run.folder / FILE_NAME
    leftovers = list(_find_leftovers(old, history)) if old.exists() else []
    draft = old.with_suffix(".part")
    with draft.open("w", encoding="utf-8") as file:
        for record in [{"tags": {ATTEMPT_TAG: attempt}}, *_make_records(history)]:
            file.write(json.dumps(record) + "\n")
        end = file.tell()
        file.writelines(json.dumps(record) + "\n" for record in leftovers)
    # Without their places all would be sent once more, which the store takes as once.
    for lane in LANES:
        _place_of(run.folder, lane).unlink(missing_ok=True)
    draft.replace(old)
    for lane in LANES:
        _place_of(run.folder, lane).write_text(str(end))


@asks_the_store
def _ask_for_history(environment: Environment, identifier: str) -> list[Value]:
    store = connect(environment)
    return [
        Value(name, metric.value, metric.step, metric.timestamp)
        for name in store.get_run(identifier).data.metrics
        for metric in store.get_metric_history(identifier, name)
    ]


@asks_the_store
def _list_artifacts(environment: Environment, identifier: str, folder: str | None) -> list[str]:
    return [file.path for file in connect(environment).list_artifacts(identifier, folder) if not file.is_dir]


def _fetch_files(run: Run) -> None:
    """Fetch what a later attempt has replaced, and what is not here of the rest."""
    for folder in (None, CHECKPOINTS, LOGS):
        for artifact in _list_artifacts(run.environment, run.identifier, folder):
            path = run.folder / artifact
            if folder == CHECKPOINTS or artifact == SURROUNDINGS or not path.exists():
                run.download(artifact, path)


def _make_records(history: list[Value]) -> Iterator[dict[str, Any]]:
    """Turn a history into records, those of one moment and step together, in the order of time."""
    moments: dict[tuple[int, int], dict[str, float]] = {}
    for value in history:
        moments.setdefault((value.time, value.step), {})[value.name] = value.value
    for (time, step), metrics in sorted(moments.items()):
        yield {"metrics": metrics, "step": step, "time": time}


def _find_leftovers(spool: Path, history: list[Value]) -> Iterator[dict[str, Any]]:
    """Yield the metrics of an old spool that the store lacks."""
    known = {(value.name, value.step) for value in history}
    for _, record in read_records(spool, containing='"metrics"'):
        metrics = {
            name: value for name, value in record.get("metrics", {}).items() if (name, record["step"]) not in known
        }
        if metrics:
            yield {**record, "metrics": metrics}


def _place_of(folder: Path, lane: str) -> Path:
    return folder / f"spool.{lane}"
