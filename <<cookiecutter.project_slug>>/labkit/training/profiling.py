"""Where the time of a step goes: a trace of the first ones."""

import gzip
from typing import Any, Final

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch.profiler import ProfilerActivity, profile

from labkit.atomic import write_atomically
from labkit.tracking.run import Run

FOLDER: Final = "profile"
STEPS: Final = 5
ROWS: Final = 50


class Profiling(Callback):
    """Keeps a trace of the first steps, which https://ui.perfetto.dev shows, and a table of the operators by time."""

    def __init__(self, run: Run) -> None:
        """Keep them with a run.

        :param run: The run.
        """
        self.run = run
        self._profile: profile | None = None
        self._batches = 0

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Begin, in the first of the processes that train together."""
        del pl_module
        if trainer.is_global_zero:
            activities = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if torch.cuda.is_available() else [])]
            self._profile = profile(activities=activities, record_shapes=True)
            self._profile.start()

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """End after enough of them."""
        del trainer, pl_module, outputs, batch, batch_idx
        self._batches += 1
        if self._batches == STEPS:
            self._finish()

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """End, if there were fewer."""
        del trainer, pl_module
        self._finish()

    def _finish(self) -> None:
        if self._profile is None:
            return
        finished, self._profile = self._profile, None
        finished.stop()
        folder = self.run.folder / FOLDER
        folder.mkdir(exist_ok=True)
        trace = folder / "trace.json"
        finished.export_chrome_trace(str(trace))
        with write_atomically(folder / "trace.json.gz") as file:
            file.write(gzip.compress(trace.read_bytes()))
        trace.unlink()
        table = finished.key_averages().table(sort_by="self_cpu_time_total", row_limit=ROWS)
        (folder / "operators.txt").write_text(table, encoding="utf-8")
        for path in sorted(folder.iterdir()):
            self.run.log_artifact(path, FOLDER)
