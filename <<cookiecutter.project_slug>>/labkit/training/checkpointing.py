"""When checkpoints are written: a Lightning callback, and the plugin through which Lightning reads and writes them."""

import math
import sys
import time
from pathlib import Path
from typing import Any, Final, Literal

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Checkpoint
from lightning.pytorch.plugins.io import CheckpointIO

from labkit.command import UnavailableError
from labkit.data.loading import Loader
from labkit.tracking.interruption import Interruption
from labkit.tracking.run import Run
from labkit.tracking.state import State
from labkit.training.checkpoint import BEST, FOLDER, LAST, PREVIOUS, Name, path_of, read, write
from labkit.training.distribution import gather, rank
from labkit.training.duration import Interval
from labkit.training.seeding import capture_generators, restore_generators

SECONDS_PER_MINUTE: Final = 60
SECONDS_BETWEEN_EPOCHS: Final = 1.0
"""Epochs that are shorter do not each end with a checkpoint, unless checkpoints are asked for by the epoch."""


class AtomicCheckpointIO(CheckpointIO):
    """Reads and writes checkpoints whole.

    :ivar failure: Why the last one could not be written, if so. It is no exception to Lightning: all processes wait
        for each other after a checkpoint, and only the first one writes.
    """

    def __init__(self, run: Run) -> None:
        """Take the run whose checkpoints these are."""
        self.failure: OSError | None = None
        self._run = run

    def save_checkpoint(self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any = None) -> None:
        """Write a checkpoint; all metrics up to it are on the disk before."""
        del storage_options
        path, self.failure = Path(path), None
        previous = path_of(self._run.folder, PREVIOUS) if path == path_of(self._run.folder, LAST) else None
        try:
            self._run.spool.flush()
            write(checkpoint, path, previous=previous)
        except OSError as error:
            self.failure = error

    def load_checkpoint(self, path: str | Path, map_location: Any = None, weights_only: bool | None = None) -> Any:
        """Read a checkpoint; nothing in it is executed, whatever is asked for."""
        del map_location, weights_only
        return read(Path(path))

    def remove_checkpoint(self, path: str | Path) -> None:
        """Delete a checkpoint."""
        Path(path).unlink(missing_ok=True)


class Checkpointing(Checkpoint):
    """Writes checkpoints where training can go on exactly: between optimiser steps, but not before a due validation.

    As a ``Checkpoint`` it is called after the task has recorded an epoch's metrics.
    """

    def __init__(
        self,
        run: Run,
        loader: Loader,
        io: AtomicCheckpointIO,
        *,
        steps: int,
        every: Interval,
        monitor: str,
        mode: Literal["min", "max"],
        batches_per_validation: int | None,
    ) -> None:
        """Decide when.

        :param run: The run that the checkpoints are of.
        :param loader: The batches to learn from, whose place is kept.
        :param io: Writes them.
        :param steps: The optimiser steps of the whole training.
        :param every: How often, beside the ends of epochs and the arrival of signals.
        :param monitor: The metric by which a checkpoint is the best.
        :param mode: Whether the best is the smallest or the largest.
        :param batches_per_validation: Every so many batches comes a validation; None where epochs are followed by one.
        """
        self.run = run
        self.loader = loader
        self.io = io
        self.steps = steps
        self.every = every
        self.monitor = monitor
        self.mode = mode
        self.batches_per_validation = batches_per_validation
        self.best_score: float | None = None
        self._step = 0
        self._generators: dict[str, Any] | None = None
        self._step_of_checkpoint = 0
        self._time_of_checkpoint = time.monotonic()

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Put the random streams where the checkpoint has them, and from now on stop only at good moments."""
        del pl_module
        self._step = self._step_of_checkpoint = trainer.global_step
        if self._generators:
            restore_generators(self._generators)
        self.run.signals.defer()

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Write a checkpoint if one is due, or stop if a signal has asked for it."""
        del pl_module, outputs, batch
        if trainer.global_step == self._step:
            return  # gradients are being accumulated
        self._step = trainer.global_step
        if not trainer.strategy.reduce_boolean_decision(bool(self.run.signals.requested) or self._is_due(), all=False):
            return
        last_of_epoch = batch_idx + 1 >= trainer.num_training_batches or self._step == self.steps
        interval = self.batches_per_validation
        if last_of_epoch or (interval and trainer.fit_loop.total_batch_idx % interval == interval - 1):
            return
        self._save_last(trainer)
        self._stop_if_asked(trainer)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write the best checkpoint, if this is the best."""
        del pl_module
        if trainer.sanity_checking or trainer.state.fn != "fit":
            return
        if self.monitor not in trainer.callback_metrics:
            known = ", ".join(sorted(trainer.callback_metrics))
            raise KeyError(f"there is no metric '{self.monitor}' to tell the best checkpoint by, only {known}")
        score = float(trainer.callback_metrics[self.monitor])
        if self._is_best(score):
            self.best_score = score
            self._save(trainer, BEST, is_needed=True)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write a checkpoint at the end of an epoch, and at the end of all."""
        del pl_module
        is_end = trainer.global_step == self.steps or trainer.should_stop
        wanted = is_end or bool(self.run.signals.requested) or self._is_due_after_epoch(trainer.current_epoch + 1)
        if trainer.strategy.reduce_boolean_decision(wanted, all=False):
            self._save_last(trainer, is_needed=is_end)
        if not is_end:
            self._stop_if_asked(trainer)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Stop at once again when a signal comes."""
        del trainer, pl_module
        self.run.signals.resume()

    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Keep the states of the random streams and the place in the data."""
        del trainer, pl_module
        checkpoint["generators"] = gather(capture_generators())
        checkpoint["loader"] = self.loader.state_dict()

    def on_load_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Take the place in the data, and the random streams' states, which are put back when all else is ready."""
        del trainer, pl_module
        self._generators = checkpoint["generators"][rank()]
        # Lightning would do this too, but not after the end of an epoch.
        self.loader.load_state_dict(checkpoint["loader"])

    def state_dict(self) -> dict[str, Any]:
        """Return the best score so far."""
        return {"best_score": self.best_score}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take the best score so far."""
        self.best_score = state_dict["best_score"]

    def _is_due(self) -> bool:
        match self.every.unit:
            case "steps":
                return self._step // self.every.amount > self._step_of_checkpoint // self.every.amount
            case "minutes":
                return time.monotonic() - self._time_of_checkpoint >= self.every.amount * SECONDS_PER_MINUTE
            case "epochs":
                return False

    def _is_due_after_epoch(self, epochs: int) -> bool:
        if self.every.unit == "epochs":
            return epochs % self.every.amount == 0
        return time.monotonic() - self._time_of_checkpoint >= SECONDS_BETWEEN_EPOCHS

    def _is_best(self, score: float) -> bool:
        if math.isnan(score):
            return False
        if self.best_score is None:
            return True
        return score < self.best_score if self.mode == "min" else score > self.best_score

    def _save_last(self, trainer: Trainer, *, is_needed: bool = False) -> None:
        self._save(trainer, LAST, is_needed=is_needed)
        self._step_of_checkpoint = self._step
        self._time_of_checkpoint = time.monotonic()

    def _save(self, trainer: Trainer, name: Name, *, is_needed: bool) -> None:
        """Write a checkpoint.

        :param trainer: Knows what it holds.
        :param name: Which one.
        :param is_needed: Whether there is no use in going on without it; another one is written later.
        :raises UnavailableError: If it is needed, and the disk does not take it.
        """
        path = path_of(self.run.folder, name)
        if trainer.logger and trainer.is_global_zero:
            trainer.logger.save()
        trainer.save_checkpoint(path, weights_only=False)
        if not trainer.is_global_zero:
            return
        if self.io.failure is None:
            self.run.log_artifact(path, FOLDER)
            return
        fault = f"the checkpoint {path} could not be written ({self.io.failure.strerror})"
        if is_needed:
            raise UnavailableError(f"{fault}: make room, and go on: {self.run.command_to_go_on}")
        print(f"At step {self._step} {fault}: training goes on.", file=sys.stderr)

    def _stop_if_asked(self, trainer: Trainer) -> None:
        """Stop all processes together, if a signal has come to any of them."""
        requested = [state for state in gather(self.run.signals.requested or "") if state]
        trainer.strategy.barrier()
        if requested:
            raise Interruption(State(requested[0]))
