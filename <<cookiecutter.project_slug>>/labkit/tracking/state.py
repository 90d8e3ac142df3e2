"""Where a run stands, truthful at every moment."""

from enum import StrEnum


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
