"""Lightning's way to a run: metrics are gathered as they come, and written to the run's spool many at a time."""

import time
from collections.abc import Mapping
from typing import Any, Final

import torch
from lightning.pytorch.loggers import Logger
from lightning.pytorch.utilities import rank_zero_only
from torch import Tensor

from labkit.tracking.run import Run, now

ROWS_BEFORE_WRITING: Final = 64
SECONDS_BEFORE_WRITING: Final = 1.0


class RunLogger(Logger):
    """Records metrics in a run; a tensor is read when it is written, or steps would wait for the accelerator."""

    def __init__(self, run: Run) -> None:
        """Record in a run.

        :param run: The run that this process works on.
        """
        super().__init__()
        self.run = run
        self._rows: list[tuple[Mapping[str, float | Tensor], int, int]] = []
        self._time_of_writing = time.monotonic()

    @property
    def name(self) -> str:
        """The experiment's name."""
        return self.run.experiment_name

    @property
    def version(self) -> str:
        """The run's id."""
        return self.run.identifier

    @property
    def save_dir(self) -> str:
        """The run's folder."""
        return str(self.run.folder)

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, float | Tensor], step: int | None = None) -> None:
        """Record metrics.

        :param metrics: Values by name; scalars.
        :param step: The optimiser steps done.
        """
        self._rows.append((metrics, step or 0, now()))
        if len(self._rows) >= ROWS_BEFORE_WRITING or time.monotonic() - self._time_of_writing > SECONDS_BEFORE_WRITING:
            self.save()

    def log_hyperparams(self, *_: Any, **__: Any) -> None:
        """Do nothing: the run knows its arguments since before it was executed."""

    @rank_zero_only
    def save(self) -> None:
        """Write what was gathered."""
        tensors = [value for metrics, *_ in self._rows for value in metrics.values() if isinstance(value, Tensor)]
        values = iter(torch.stack([tensor.detach().double() for tensor in tensors]).tolist() if tensors else ())
        self.run.spool.append_metrics(
            (
                {name: next(values) if isinstance(value, Tensor) else value for name, value in metrics.items()},
                step,
                milliseconds,
            )
            for metrics, step, milliseconds in self._rows
        )
        self._rows.clear()
        self._time_of_writing = time.monotonic()

    def finalize(self, status: str) -> None:
        """Write what was gathered; how the run ended is said by its attempt."""
        del status
        self.save()
