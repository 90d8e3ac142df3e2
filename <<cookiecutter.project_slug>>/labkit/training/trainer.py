"""Training a task for a while, as part of a run."""

import logging
import math
import warnings
from collections.abc import Sequence
from typing import Any, Literal

import torch
from lightning.pytorch import Callback, LightningModule, Trainer

from labkit.command import UsageError
from labkit.data.loading import Loader
from labkit.tracking.logger import RunLogger
from labkit.tracking.run import Run
from labkit.training.checkpoint import find_newest
from labkit.training.checkpointing import AtomicCheckpointIO, Checkpointing
from labkit.training.duration import Duration, Interval
from labkit.training.execution import Execution, Precision
from labkit.training.profiling import Profiling
from labkit.training.progress import ProgressDisplay
from labkit.training.seeding import seed_everything
from labkit.training.task import Task


class StepRecorder(Callback):
    """Records the loss and the learning rate of every optimiser step, and ends the training after the last one.

    Lightning's own limit of steps would change how it resumes at the end of an epoch.
    """

    def __init__(self, steps: int) -> None:
        """Begin before the first step.

        :param steps: The optimiser steps of the whole training.
        """
        self.steps = steps
        self._step = -1
        self._losses: list[Any] = []

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Begin after the steps of a checkpoint."""
        self._step = trainer.global_step
        self.on_train_epoch_start(trainer, pl_module)

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Let the last epoch be followed by a validation, or its weights would never be judged."""
        del pl_module
        if trainer.check_val_every_n_epoch and trainer.current_epoch + 1 == trainer.max_epochs:
            trainer.check_val_every_n_epoch = 1

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Record the step, if its gradients are complete."""
        del pl_module, batch, batch_idx
        self._losses.append(outputs["loss"].detach())
        if trainer.global_step == self._step:
            return
        self._step = trainer.global_step
        trainer.should_stop = trainer.should_stop or self._step >= self.steps
        if trainer.logger is None:
            return
        loss: Any = sum(self._losses[1:], start=self._losses[0])  # Lightning has divided each by their number
        if trainer.world_size > 1:
            loss = trainer.strategy.reduce(loss.clone(), reduce_op="mean")  # which changes what it is given
        self._losses.clear()
        rate = trainer.optimizers[0].param_groups[0]["lr"]
        trainer.logger.log_metrics({"train/loss_step": loss, "train/learning_rate_step": rate}, step=self._step)


def fit(
    task: Task,
    run: Run,
    training: Loader,
    validation: Loader,
    *,
    duration: Duration,
    validation_every: Duration = Duration(1, "epochs"),
    checkpoint_every: Interval = Interval(1, "minutes"),
    monitor: str = "validation/loss",
    mode: Literal["min", "max"] = "min",
    execution: Execution = Execution(),
    shows_progress: bool = True,
    callbacks: Sequence[Callback] = (),
    **trainer_arguments: Any,
) -> None:
    """Train a task; where the run has a checkpoint, from there.

    :param task: What is trained.
    :param run: The run that this is part of.
    :param training: Batches to learn from.
    :param validation: Batches to judge by.
    :param duration: How long, in epochs or steps.
    :param validation_every: How often to judge, in epochs or steps; the end is always judged.
    :param checkpoint_every: How often to write a checkpoint, beside the ends of epochs.
    :param monitor: The metric by which a checkpoint is the best.
    :param mode: Whether the best is the smallest or the largest.
    :param execution: On what, in which precision, and how much of it.
    :param shows_progress: Whether the user sees steps and validations.
    :param callbacks: Further callbacks of Lightning.
    :param trainer_arguments: Further arguments of :class:`lightning.pytorch.Trainer`, such as ``accelerator``.
    :raises UsageError: If data are expected that the run has not been compared with, or this machine lacks what the
        training is to be executed on.
    """
    run.check_expectation()
    _quieten_lightning()
    devices = execution.devices or run.environment.processes_per_node
    nodes = execution.nodes or run.environment.nodes
    _check_accelerators(devices, execution.precision)
    for loader in (training, validation):
        loader.batches.distribute(run.environment.rank, devices * nodes)
        loader.batches.restrict(execution.batches, fixed=execution.overfit_batches is not None)
    if execution.fast_dev_run:
        duration = Duration(1, "steps")
    accumulate = execution.accumulate
    steps_per_epoch = math.ceil(len(training) / accumulate)
    steps = duration.in_steps(steps_per_epoch)
    batches_per_validation = None
    if validation_every.unit == "steps":
        batches_per_validation = validation_every.in_steps(steps_per_epoch) * accumulate
    checkpoint_io = AtomicCheckpointIO(run)
    trainer = Trainer(
        max_epochs=math.ceil(steps / steps_per_epoch),
        val_check_interval=batches_per_validation,
        check_val_every_n_epoch=None if batches_per_validation else validation_every.amount,
        accumulate_grad_batches=accumulate,
        gradient_clip_val=task.gradient_clip,
        devices=devices,
        num_nodes=nodes,
        precision=execution.precision,
        detect_anomaly=execution.detect_anomaly,
        logger=RunLogger(run),
        callbacks=[
            *callbacks,
            *([Profiling(run)] if execution.profile else []),
            StepRecorder(steps),
            *([ProgressDisplay()] if shows_progress else []),
            Checkpointing(
                run,
                training,
                checkpoint_io,
                steps=steps,
                every=checkpoint_every,
                monitor=monitor,
                mode=mode,
                batches_per_validation=batches_per_validation,
            ),
        ],
        plugins=[checkpoint_io],
        default_root_dir=run.folder,
        log_every_n_steps=1,
        num_sanity_val_steps=0,
        use_distributed_sampler=False,
        sync_batchnorm=torch.cuda.is_available() and trainer_arguments.get("accelerator") != "cpu",
        enable_progress_bar=False,
        enable_model_summary=False,
        **trainer_arguments,
    )
    task.steps, task.epochs = steps, math.ceil(steps / steps_per_epoch)
    task.monitor, task.mode = monitor, mode
    if execution.compile:
        task.model.compile()
        task.head.compile()
    seed_everything(run.seed, "training", trainer.global_rank)
    trainer.fit(task, training, validation, ckpt_path=find_newest(run.folder), weights_only=True)
    task.float()  # figures and tests are not computed in the precision of the training
    for loader in (training, validation):
        loader.batches.distribute(0, 1)


def evaluate(task: Task, loader: Loader, *, callbacks: Sequence[Callback] = ()) -> dict[str, Any]:
    """Compute a task's metrics on a test set.

    :param task: A task with its weights.
    :param loader: The batches of the test set.
    :param callbacks: Callbacks of Lightning.
    :return: Metrics by name, tensors, without the stage's name.
    """
    _quieten_lightning()
    trainer = Trainer(
        devices=1,  # every process would take the whole set
        logger=False,
        callbacks=[*callbacks],
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.test(task, loader, verbose=False)
    return task.results["test"]


def _check_accelerators(devices: int, precision: Precision) -> None:
    """Make sure that this machine has what it takes; Lightning would say so at length, or do something else."""
    accelerators = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if accelerators and devices > accelerators:
        raise UsageError(f"--devices is {devices}, and this machine has {accelerators}.")
    if precision == "16-mixed" and not accelerators:
        raise UsageError("--precision 16-mixed needs an accelerator: take bf16-mixed, whose range is that of 32 bits.")


def _quieten_lightning() -> None:
    """Leave out what says nothing about the run: advertisements, absent devices, a library's own leftovers."""
    logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)
    warnings.filterwarnings("ignore", message=".*LeafSpec.* is deprecated", module="lightning")
    warnings.filterwarnings("ignore", message="The `srun` command is available on your system but is not used")
