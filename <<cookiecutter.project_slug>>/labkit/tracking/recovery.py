"""Fetching what a run left in the store where this machine has less of it: the run went on elsewhere, or was lost."""

import sys
from collections import defaultdict
from pathlib import Path
from typing import Final

from labkit.environment import Environment
from labkit.tracking.contact import asks_the_store
from labkit.tracking.run import Run, connect
from labkit.tracking.spool import FILE_NAME

CHECKPOINTS: Final = "checkpoints"
LOGS: Final = "logs"


@asks_the_store
def recover(environment: Environment, run: Run) -> None:
    """Fetch checkpoints, metrics and logs of a run, if it was executed where this machine does not know of it.

    Each attempt at a run keeps a log of its own, so one that is missing here was made elsewhere. It is fetched last:
    whoever is interrupted here begins again.

    :param environment: Says which store.
    :param run: A run that this process holds, and has written nothing of yet.
    :raises UnavailableError: If the store does not answer.
    """
    if not run.was_executed:
        return
    has_spool = (run.folder / FILE_NAME).exists()
    logs = [path for path in _list(environment, run, LOGS) if not (run.folder / path).exists()]
    if has_spool and not logs:
        return
    checkpoints = _list(environment, run, CHECKPOINTS)
    for path in checkpoints:
        run.download(path, run.folder / path)
    _fetch_metrics(environment, run)
    for path in logs:
        run.download(path, run.folder / path)
    names = ", ".join(Path(path).name for path in checkpoints) or "no checkpoint"
    print(f"The run {run.identifier} was executed elsewhere: fetched its metrics, its logs, {names}.", file=sys.stderr)


def _list(environment: Environment, run: Run, folder: str) -> list[str]:
    return [file.path for file in connect(environment).list_artifacts(run.identifier, folder) if not file.is_dir]


def _fetch_metrics(environment: Environment, run: Run) -> None:
    """Append to the spool what it lacks; that the sender sends it again does no harm."""
    store = connect(environment)
    rows: defaultdict[tuple[int, int], dict[str, float]] = defaultdict(dict)
    for name in store.get_run(run.identifier).data.metrics:
        for metric in store.get_metric_history(run.identifier, name):
            rows[metric.timestamp, metric.step][name] = metric.value
    run.spool.append_metrics((metrics, step, time) for (time, step), metrics in sorted(rows.items()))
