"""Where a run stands, truthful at every moment."""

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Final

from filelock import FileLock

from labkit.tracking.spool import FILE_NAME, Spool, read_records

if TYPE_CHECKING:
    from mlflow import MlflowClient

STATE_TAG: Final = "labkit.state"
ATTEMPT_TAG: Final = "labkit.attempt"
"""What tells the newest attempt, wherever it was, from all others."""
RUN_LOCK: Final = "run.lock"
"""The file in a run's folder that the process holds that works on the run."""


class State(StrEnum):
    """Where a run stands."""

    CREATED = "created"
    RUNNING = "running"
    INTERRUPTED = "interrupted"
    FINISHED = "finished"
    FAILED = "failed"
    KILLED = "killed"

    @property
    def mlflow_status(self) -> str:
        """The nearest of MLflow's statuses: one that waits to run (again) is scheduled."""
        return "SCHEDULED" if self in {State.CREATED, State.INTERRUPTED} else self.name

    @property
    def is_final(self) -> bool:
        """Whether the run has ended; what was interrupted goes on later."""
        return self in {State.FINISHED, State.FAILED, State.KILLED}


def read_state(folder: Path) -> State | None:
    """Read from a run's spool where the run stands.

    :param folder: The run's folder.
    :return: The newest state, or None where no process on this machine has worked on the run yet.
    """
    if not (folder / FILE_NAME).exists():
        return None
    records = read_records(folder / FILE_NAME, containing='"state"')
    states = [record["state"] for _, record in records if record.get("state") in list(State)]
    return State(states[-1]) if states else None


def is_up_to_date(folder: Path, attempt: str) -> bool:
    """Tell whether a run's spool knows of an attempt, or whether that was on another machine.

    :param folder: The run's folder.
    :param attempt: What tells the attempt from all others.
    :return: Whether the spool has a record of it.
    """
    if not (folder / FILE_NAME).exists():
        return False
    records = read_records(folder / FILE_NAME, containing=attempt)
    return any(record.get("tags", {}).get(ATTEMPT_TAG) == attempt for _, record in records)


def conclude(folder: Path) -> bool:
    """Add to a run's spool that it was interrupted, if its process has ended without a last word.

    :param folder: The run's folder.
    :return: Whether it was so.
    :raises filelock.Timeout: If a process works on the run.
    """
    if not (folder / FILE_NAME).exists():
        return False
    with FileLock(folder / RUN_LOCK, timeout=0):
        if read_state(folder) is not State.RUNNING:
            return False
        time_of_end = (folder / FILE_NAME).stat().st_mtime_ns // 1_000_000
        with Spool(folder) as spool:
            spool.append({"state": State.INTERRUPTED, "time": time_of_end})
        return True


def tell(store: "MlflowClient", run_id: str, state: State, time: int) -> None:
    """Tell the tracking store where a run stands.

    :param store: The store.
    :param run_id: The run's id.
    :param state: The state.
    :param time: Since when, in milliseconds since 1970.
    """
    if state.is_final:
        store.set_terminated(run_id, state.mlflow_status, time)
    else:
        store.update_run(run_id, state.mlflow_status)
    store.set_tag(run_id, STATE_TAG, state)
