"""Evaluating a checkpoint of a run, and keeping with the run what came out.

A test set is for one question at the end. Every test is recorded, and one that is not the first says so.
"""

import sys
from pathlib import Path
from typing import Any, Final, Literal, NamedTuple

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor

from labkit.atomic import write_atomically
from labkit.data.loading import Loader
from labkit.tracking.run import Run, read_tags
from labkit.training.checkpoint import load_weights
from labkit.training.export import Export, Format, export_network
from labkit.training.task import Task
from labkit.training.trainer import evaluate

FOLDER: Final = "predictions"
FOLDER_OF_EXPORTS: Final = "exports"
TEST: Final = "test"
TESTED_TAG: Final = "labkit.tested"
"""On a run that was tested: which checkpoints were, one after the other."""


class Evaluation(NamedTuple):
    """What came of evaluating a checkpoint."""

    checkpoint: Path
    results: dict[str, Tensor]
    """All metrics by name, without the stage's name; also those that are no scalars."""
    predictions: Path
    """A file of NumPy with the arrays ``prediction`` and ``target``, their rows in the order of the data."""
    exported: Export | None

    @property
    def metrics(self) -> dict[str, float]:
        """The metrics that are numbers."""
        return {name: float(value) for name, value in self.results.items() if value.numel() == 1}


class _Collector(Callback):
    """Keeps what the task predicts."""

    def __init__(self) -> None:
        """Begin with nothing."""
        self.predictions: list[Tensor] = []
        self.targets: list[Tensor] = []

    def on_test_batch_end(  # noqa: PLR0917  as Lightning has it
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Keep what was predicted of a batch."""
        del trainer, pl_module, batch, batch_idx, dataloader_idx
        self.predictions.append(outputs["prediction"].cpu())
        self.targets.append(outputs["target"].cpu())


def evaluate_run(
    task: Task,
    run: Run,
    loader: Loader,
    *,
    checkpoint: Literal["best", "last"] = "best",
    split: str = TEST,
    export: Format | None = None,
) -> Evaluation:
    """Compute the metrics of a run's checkpoint, and keep the predictions with the run, which is being recorded.

    The metrics of the test set are recorded in the run, as ``test/accuracy``; those of other splits are only returned,
    since training has recorded them.

    :param task: The run's task, with whatever weights.
    :param run: The run.
    :param loader: The batches of the split, in the order of the data.
    :param checkpoint: Which of the run's checkpoints.
    :param split: The split's name; ``test`` is the one to evaluate on once.
    :param export: Write the network to a file first, and check it with the first inputs of the split.
    :return: Metrics, and where the predictions are.
    :raises UsageError: If the run has no such checkpoint, or it does not fit.
    """
    path = run.checkpoint(checkpoint)
    step = load_weights(task, path)
    exported = None
    if export:
        inputs = task.select_inputs(next(iter(loader)))
        exported = export_network(task, inputs, run.folder / FOLDER_OF_EXPORTS / checkpoint, export)
        run.log_artifact(exported.path, FOLDER_OF_EXPORTS)
    collector = _Collector()
    results = evaluate(task, loader, callbacks=[collector])
    evaluation = Evaluation(path, results, run.folder / FOLDER / f"{split}-{checkpoint}.npz", exported)
    if split == TEST:
        _note_test(run, f"{path.name}, step {step}")
        run.log_metrics({f"{TEST}/{name}": value for name, value in evaluation.metrics.items()}, step=step)
    _write_predictions(collector, evaluation.predictions)
    run.log_artifact(evaluation.predictions, FOLDER)
    return evaluation


def _note_test(run: Run, tested: str) -> None:
    """Record that a run is tested, and say so where it was before."""
    earlier = read_tags(run.environment, run.identifier).get(TESTED_TAG)
    if earlier:
        print(
            f"The run {run.identifier} was tested before ({earlier}): who chooses among tests has no test left.",
            file=sys.stderr,
        )
    run.log_tags({TESTED_TAG: f"{earlier}; {tested}" if earlier else tested})


def _write_predictions(collector: _Collector, path: Path) -> None:
    import numpy as np

    path.parent.mkdir(exist_ok=True)
    prediction, target = (torch.cat(tensors).numpy() for tensors in (collector.predictions, collector.targets))
    with write_atomically(path) as file:
        np.savez(file, prediction=prediction, target=target)
