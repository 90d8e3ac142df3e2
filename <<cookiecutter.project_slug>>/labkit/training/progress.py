"""What a user sees of a training: a bar on a terminal, plain lines elsewhere."""

import sys
import time
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn


class ProgressDisplay(Callback):
    """Shows steps as they are done, and the metrics of every validation."""

    def __init__(self) -> None:
        """Show nothing yet."""
        # The bar goes to the terminal itself: in the run's log it would be thousands of lines.
        self._console = Console(file=sys.__stderr__)
        self._bar: Progress | None = None
        self._start = time.monotonic()

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Begin."""
        del pl_module
        self._start = time.monotonic()
        if self._console.is_terminal and trainer.is_global_zero:
            self._bar = Progress(
                TextColumn("epoch {task.fields[epoch]}"),
                BarColumn(),
                MofNCompleteColumn(),
                TextColumn("steps"),
                TimeRemainingColumn(),
                console=self._console,
                transient=True,
                refresh_per_second=5,
                # What is printed meanwhile has its own way, through the mask of secrets and into the run's log.
                redirect_stdout=False,
                redirect_stderr=False,
            )
            self._bar.add_task(
                "", total=int(trainer.estimated_stepping_batches), completed=trainer.global_step, epoch=1
            )
            self._bar.start()

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Move the bar."""
        del pl_module, outputs, batch, batch_idx
        if self._bar:
            self._bar.update(self._bar.task_ids[0], completed=trainer.global_step, epoch=trainer.current_epoch + 1)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Print the metrics of the validation."""
        del pl_module
        if trainer.state.fn != "fit" or not trainer.is_global_zero:
            return
        metrics = "  ".join(
            f"{name} {float(value):.4f}"
            for name, value in sorted(trainer.callback_metrics.items())
            if name.startswith("validation/")
        )
        seconds = time.monotonic() - self._start
        if self._bar:
            self._bar.stop()
        print(f"epoch {trainer.current_epoch + 1}  step {trainer.global_step}  {metrics}  {seconds:.1f} s", flush=True)
        if self._bar:
            self._bar.start()

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """End the bar."""
        del trainer, pl_module
        self._stop()

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """End the bar."""
        del trainer, pl_module, exception
        self._stop()

    def _stop(self) -> None:
        if self._bar:
            self._bar.stop()
            self._bar = None
