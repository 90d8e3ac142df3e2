"""Train a classifier of texts: `train --help`."""

import sys
from typing import TYPE_CHECKING, Annotated, Final

from labkit.command import Limits
from labkit.tracking.entry_point import entry_point
from labkit.tracking.run import Run
from labkit.training.duration import Duration, Interval
from labkit.training.execution import Execution

from .model import ARCHITECTURES, Architecture
from .passage import TOPICS

if TYPE_CHECKING:
    from labkit.training.task import Task

FEATURES: Final = 64
"""The length of a representation, what the model makes of a word."""


@entry_point
def train(
    run: Run,
    *,
    architecture: Architecture = "cnn",
    learning_rate: Annotated[float, Limits(above=0)] = 0.01,
    batch_size: Annotated[int, Limits(least=1)] = 64,
    duration: Duration = Duration(10, "epochs"),
    validation_every: Duration = Duration(1, "epochs"),
    checkpoint_every: Interval = Interval(1, "minutes"),
    data: str | None = None,
    fold: Annotated[int, Limits(least=0, most=3)] = 0,
    execution: Execution = Execution(),
) -> None:
    """Train a classifier that tells which package of SciPy a passage of documentation is from.

    An example: train --architecture mlp --duration "2000 steps"

    :param architecture: The model.
    :param learning_rate: The largest step of the optimiser; the schedule rises to it and falls.
    :param batch_size: The passages that one process takes at a time.
    :param duration: How long to train: "10 epochs" or "2000 steps".
    :param validation_every: How often to judge: "1 epoch" or "100 steps".
    :param checkpoint_every: How often to write a checkpoint beside the ends of epochs: "1 minute" or "100 steps".
    :param data: What ``prepare`` made, a folder or an address; by default, the documentation of the installed SciPy.
    :param fold: Which of the four folds of the data is to judge by, 0 to 3.
    """
    # Imported here, so that `train --help` answers at once.
    from labkit.data.loading import Loader
    from labkit.report.illustration import CurvePicture
    from labkit.training.seeding import seed_everything
    from labkit.training.trainer import fit

    from .data import find_parts
    from .illustration import illustrate

    parts = find_parts(run.environment, data, fold)
    run.log_footprint(parts.footprint)
    validation = Loader(parts.validation, batch_size=256, seed=run.seed)
    seed_everything(run.seed, "initialisation")
    task = make_task(architecture, learning_rate)
    fit(
        task,
        run,
        Loader(parts.training, batch_size=batch_size, seed=run.seed, shuffle=True),
        validation,
        duration=duration,
        validation_every=validation_every,
        checkpoint_every=checkpoint_every,
        execution=execution,
        callbacks=[CurvePicture(run)],
    )
    illustrate(task, run, parts)


def make_task(architecture: Architecture, learning_rate: float = 0.01) -> "Task":
    """Put model, head, task, optimiser and schedule together; each is exchanged here and nowhere else.

    :param architecture: The model.
    :param learning_rate: The largest step of the optimiser.
    :return: The task, with fresh weights.
    """
    from torch import nn

    from labkit.training import tasks
    from labkit.training.choice import choose_optimizer, choose_scheduler

    from .data import VOCABULARY

    model, head = ARCHITECTURES[architecture](VOCABULARY, FEATURES), nn.Linear(FEATURES, len(TOPICS))
    optimizer, schedule = choose_optimizer("AdamW", lr=learning_rate), choose_scheduler("OneCycleLR")
    return tasks.SequenceClassification(model, head, classes=len(TOPICS), optimizer=optimizer, scheduler=schedule)


if __name__ == "__main__":
    sys.exit(train.main())
