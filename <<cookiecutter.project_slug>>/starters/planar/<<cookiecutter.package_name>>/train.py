"""Train a classifier of points: `train --help`."""

import sys
from typing import TYPE_CHECKING, Annotated, Final

from labkit.command import Limits
from labkit.tracking.entry_point import entry_point
from labkit.tracking.run import Run
from labkit.training.duration import Duration, Interval
from labkit.training.execution import Execution

from .distribution import CLASSES
from .model import ARCHITECTURES, Architecture

if TYPE_CHECKING:
    from labkit.training.task import Task

FEATURES: Final = 64
"""The length of a representation, what the model makes of a point."""


@entry_point
def train(
    run: Run,
    *,
    data: str = "spiral",
    architecture: Architecture = "mlp",
    learning_rate: Annotated[float, Limits(above=0)] = 0.03,
    batch_size: Annotated[int, Limits(least=1)] = 64,
    duration: Duration = Duration(50, "epochs"),
    validation_every: Duration = Duration(5, "epochs"),
    checkpoint_every: Interval = Interval(1, "minutes"),
    fold: Annotated[int, Limits(least=0, most=3)] = 0,
    execution: Execution = Execution(),
) -> None:
    """Train a classifier of points in the plane, and draw where it decides for which class, at every validation.

    An example: train --data donut --architecture linear

    :param data: A distribution: diagonal, circle, donut, stripes, spiral, xor or blobs; or what ``prepare`` made of
        one, a folder or an address.
    :param architecture: The model.
    :param learning_rate: The largest step of the optimiser; the schedule rises to it and falls.
    :param batch_size: The points that one process takes at a time.
    :param duration: How long to train: "10 epochs" or "2000 steps".
    :param validation_every: How often to judge, and to draw: "5 epochs" or "100 steps".
    :param checkpoint_every: How often to write a checkpoint beside the ends of epochs: "1 minute" or "100 steps".
    :param fold: Which of the four folds of the data is to judge by, 0 to 3.
    """
    # Imported here, so that `train --help` answers at once.
    from labkit.data.loading import Loader
    from labkit.report.illustration import BoundaryPicture, CurvePicture
    from labkit.training.seeding import seed_everything
    from labkit.training.trainer import fit

    from .data import find_parts

    parts = find_parts(run.environment, data, fold)
    run.log_footprint(parts.footprint)
    seed_everything(run.seed, "initialisation")
    fit(
        make_task(architecture, learning_rate),
        run,
        Loader(parts.training, batch_size=batch_size, seed=run.seed, shuffle=True),
        Loader(parts.validation, batch_size=256, seed=run.seed),
        duration=duration,
        validation_every=validation_every,
        checkpoint_every=checkpoint_every,
        execution=execution,
        callbacks=[BoundaryPicture(run, *parts.validation.tensors), CurvePicture(run)],
    )


def make_task(architecture: Architecture, learning_rate: float = 0.03) -> "Task":
    """Put model, head, task, optimiser and schedule together; each is exchanged here and nowhere else.

    :param architecture: The model.
    :param learning_rate: The largest step of the optimiser.
    :return: The task, with fresh weights.
    """
    from torch import nn

    from labkit.training import tasks
    from labkit.training.choice import choose_optimizer, choose_scheduler

    model, head = ARCHITECTURES[architecture](FEATURES), nn.Linear(FEATURES, CLASSES)
    optimizer, schedule = choose_optimizer("AdamW", lr=learning_rate), choose_scheduler("OneCycleLR")
    return tasks.Classification(model, head, classes=CLASSES, optimizer=optimizer, scheduler=schedule)


if __name__ == "__main__":
    sys.exit(train.main())
