"""Train a segmentation: `train --help`."""

import sys
from typing import TYPE_CHECKING, Annotated, Final

from labkit.command import Limits
from labkit.tracking.entry_point import entry_point
from labkit.tracking.run import Run
from labkit.training.duration import Duration, Interval
from labkit.training.execution import Execution

from .model import ARCHITECTURES, Architecture
from .scene import NAMES, SHAPE

if TYPE_CHECKING:
    from labkit.training.task import Task

FEATURES: Final = 16
"""The length of a pixel's representation."""


@entry_point
def train(
    run: Run,
    *,
    architecture: Architecture = "unet",
    learning_rate: Annotated[float, Limits(above=0)] = 0.01,
    batch_size: Annotated[int, Limits(least=1)] = 16,
    duration: Duration = Duration(10, "epochs"),
    validation_every: Duration = Duration(2, "epochs"),
    checkpoint_every: Interval = Interval(1, "minutes"),
    workers: Annotated[int, Limits(least=0)] = 0,
    data: str | None = None,
    fold: Annotated[int, Limits(least=0, most=3)] = 0,
    execution: Execution = Execution(),
) -> None:
    """Learn to tell of each pixel of a scene which handwritten digit it belongs to, or that it belongs to none.

    An example: train --architecture mlp --duration "2000 steps"

    :param architecture: The model.
    :param learning_rate: The largest step of the optimiser; the schedule rises to it and falls.
    :param batch_size: The scenes that one process takes at a time.
    :param duration: How long to train: "10 epochs" or "2000 steps".
    :param validation_every: How often to judge: "1 epoch" or "100 steps".
    :param checkpoint_every: How often to write a checkpoint beside the ends of epochs: "1 minute" or "100 steps".
    :param workers: The processes that load data; 0 loads in this one.
    :param data: What ``prepare`` made, a folder or an address; by default, the digits that come with scikit-learn.
    :param fold: Which of the four folds of the data is to judge by, 0 to 3.
    """
    # Imported here, so that `train --help` answers at once.
    from labkit.data.loading import Loader
    from labkit.report.gallery import plot_masks
    from labkit.report.illustration import CurvePicture
    from labkit.report.prediction import predict
    from labkit.report.results import plot_results
    from labkit.training.seeding import seed_everything
    from labkit.training.trainer import fit

    from .data import find_parts, shift

    parts = find_parts(run.environment, data, fold)
    run.log_footprint(parts.footprint)
    training = Loader(
        parts.training, batch_size=batch_size, seed=run.seed, shuffle=True, transform=shift, workers=workers
    )
    validation = Loader(parts.validation, batch_size=256, seed=run.seed)

    seed_everything(run.seed, "initialisation")
    task = make_task(architecture, learning_rate)
    fit(
        task,
        run,
        training,
        validation,
        duration=duration,
        validation_every=validation_every,
        checkpoint_every=checkpoint_every,
        execution=execution,
        callbacks=[CurvePicture(run)],
    )
    if run.is_led_here:
        for name, figure in plot_results(task.results["validation"]).items():
            run.log_figure(f"{name}-validation", figure)
        run.log_figure("masks-validation", plot_masks(*predict(task, validation), NAMES))


def make_task(architecture: Architecture, learning_rate: float = 0.01) -> "Task":
    """Put model, head, task, optimiser and schedule together; each is exchanged here and nowhere else.

    :param architecture: The model.
    :param learning_rate: The largest step of the optimiser.
    :return: The task, with fresh weights.
    """
    from torch import nn

    from labkit.training import tasks
    from labkit.training.choice import choose_optimizer, choose_scheduler

    model, head = ARCHITECTURES[architecture](SHAPE, FEATURES), nn.Conv2d(FEATURES, len(NAMES), 1)
    optimizer, schedule = choose_optimizer("AdamW", lr=learning_rate), choose_scheduler("OneCycleLR")
    return tasks.Segmentation(model, head, classes=len(NAMES), optimizer=optimizer, scheduler=schedule)


if __name__ == "__main__":
    sys.exit(train.main())
