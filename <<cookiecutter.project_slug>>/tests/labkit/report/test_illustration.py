from functools import partial
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.optim import SGD
from torch.utils.data import TensorDataset

from labkit.command import EXIT_DONE, EXIT_INTERRUPTED
from labkit.data.loading import Loader
from labkit.report.figures import plot_boundaries, plot_curves
from labkit.report.illustration import BoundaryPicture, CurvePicture
from labkit.tracking.attempt import attempt
from labkit.tracking.run import Run, open_run
from labkit.training.duration import Duration
from labkit.training.execution import Execution
from labkit.training.seeding import seed_everything
from labkit.training.tasks import Classification
from labkit.training.trainer import fit
from tests.labkit.training.test_trainer import signal_after, train

CLASSES = 5
POINTS = torch.randn(20, 2, generator=torch.Generator().manual_seed(0))
NUMBERS = torch.arange(20) % CLASSES


def test_every_validation_draws_how_the_average_of_the_weights_decides_without_dropout(run: Run) -> None:
    seed_everything(0, "initialisation")
    network = nn.Sequential(nn.Linear(2, 16), nn.Dropout(0.5), nn.ReLU(), nn.Linear(16, CLASSES))
    task = Classification(network, classes=CLASSES, optimizer=partial(SGD, lr=0.1), average_decay=0.9)
    data = TensorDataset(POINTS, NUMBERS)
    training, validation = Loader(data, batch_size=5, seed=0, shuffle=True), Loader(data, batch_size=20, seed=0)
    picture = BoundaryPicture(run, POINTS, NUMBERS)

    fit(task, run, training, validation, duration=Duration(2, "epochs"), callbacks=[picture])

    pictures = sorted((run.folder / "figures").iterdir())
    assert [path.name for path in pictures] == ["boundaries-000004.png", "boundaries-000008.png"]

    def judge(places: NDArray[np.float64]) -> NDArray[np.floating]:
        with torch.no_grad():
            return task.eval()(torch.from_numpy(places).float()).numpy()

    expected = run.log_figure("expected", plot_boundaries(judge, POINTS.numpy(), NUMBERS.numpy()))
    assert pictures[-1].read_bytes() == expected.read_bytes() != pictures[0].read_bytes()


def test_learning_curves_are_those_up_to_an_interruption_and_then_of_the_whole_training(
    run: Run, tmp_path: Path
) -> None:
    picture, expected = run.folder / "figures" / "curves.png", tmp_path / "expected.png"
    with attempt(run) as outcome:
        train(run, callbacks=[signal_after(7), CurvePicture(run)])
    assert outcome.exit_code == EXIT_INTERRUPTED
    plot_curves(run.history).savefig(expected, dpi=150)
    assert picture.read_bytes() == expected.read_bytes()

    resumed = open_run(run.environment, run.identifier)
    with attempt(resumed) as outcome:
        train(resumed, callbacks=[CurvePicture(resumed)])
    assert outcome.exit_code == EXIT_DONE
    plot_curves(resumed.history).savefig(expected, dpi=150)
    assert picture.read_bytes() == expected.read_bytes()
    assert resumed.history["train/loss_step"][0] == list(range(1, 11))


def test_boundaries_are_drawn_in_the_precision_of_the_training(run: Run) -> None:
    task = Classification(nn.Linear(2, CLASSES), classes=CLASSES, optimizer=partial(SGD, lr=0.1))
    loader = Loader(TensorDataset(POINTS, NUMBERS), batch_size=20, seed=0)
    execution = Execution(precision="bf16-true", fast_dev_run=True)
    callbacks = [BoundaryPicture(run, POINTS, NUMBERS)]
    fit(task, run, loader, loader, duration=Duration(1, "epochs"), execution=execution, callbacks=callbacks)
    assert (run.folder / "figures" / "boundaries-000001.png").exists()
    assert task.dtype == torch.float32
