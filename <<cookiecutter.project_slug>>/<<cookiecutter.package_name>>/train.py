"""Train a classifier: `train --help`."""

import sys
from typing import TYPE_CHECKING, Annotated, Final

from labkit.command import Limits
from labkit.tracking.entry_point import entry_point
from labkit.tracking.run import Run
from labkit.training.choice import Choice
from labkit.training.duration import Duration, Interval
from labkit.training.execution import Execution

from .digits import CLASSES, SHAPE
from .model import ARCHITECTURES, Architecture

if TYPE_CHECKING:
    from labkit.training.task import Task

FEATURES: Final = 128
"""The length of a representation, what the model makes of an image."""


@entry_point
def train(
    run: Run,
    *,
    architecture: Architecture = "cnn",
    learning_rate: Annotated[float, Limits(above=0)] = 0.01,
    optimizer: Choice = Choice("AdamW"),
    scheduler: Choice = Choice("OneCycleLR"),
    batch_size: Annotated[int, Limits(least=1)] = 64,
    duration: Duration = Duration(15, "epochs"),
    validation_every: Duration = Duration(1, "epochs"),
    checkpoint_every: Interval = Interval(1, "minutes"),
    workers: Annotated[int, Limits(least=0)] = 0,
    data: str | None = None,
    fold: Annotated[int, Limits(least=0, most=3)] = 0,
    run_id_pretrained: str | None = None,
    may_be_missing: tuple[str, ...] = (),
    execution: Execution = Execution(),
) -> None:
    """Train a classifier of handwritten digits.

    An example: train --architecture mlp --duration "2000 steps"

    :param architecture: The model.
    :param learning_rate: The largest step of the optimiser; the schedule rises to it and falls.
    :param optimizer: One of torch.optim, with arguments of its own: "SGD(momentum=0.9)".
    :param scheduler: One of torch.optim.lr_scheduler: "StepLR(step_size=100)".
    :param batch_size: The images that one process takes at a time.
    :param duration: How long to train: "10 epochs" or "2000 steps".
    :param validation_every: How often to judge: "1 epoch" or "100 steps".
    :param checkpoint_every: How often to write a checkpoint beside the ends of epochs: "1 minute" or "100 steps".
    :param workers: The processes that load data; 0 loads in this one.
    :param data: What ``prepare`` made, a folder or an address; by default, the digits that come with scikit-learn.
    :param fold: Which of the four folds of the data is to judge by, 0 to 3.
    :param run_id_pretrained: Begin with the best weights of this run, rather than with random ones.
    :param may_be_missing: The weights that stay random where that run has none of their shape: "head.*".
    """
    # Imported here, so that `train --help` answers at once.
    from labkit.data.loading import Loader
    from labkit.report.illustration import ConfusionPicture, CurvePicture, illustrate
    from labkit.report.representation import RepresentationPicture
    from labkit.training.pretraining import load_pretrained
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
    task = make_task(architecture, learning_rate, optimizer, scheduler)
    if run_id_pretrained:
        load_pretrained(task, run, run_id_pretrained, may_be_missing=may_be_missing)
    fit(
        task,
        run,
        training,
        validation,
        duration=duration,
        validation_every=validation_every,
        checkpoint_every=checkpoint_every,
        execution=execution,
        callbacks=[ConfusionPicture(run), CurvePicture(run), RepresentationPicture(run)],
    )
    illustrate(task, run, validation)


def make_task(
    architecture: Architecture,
    learning_rate: float = 0.01,
    optimizer: Choice = Choice("AdamW"),
    scheduler: Choice = Choice("OneCycleLR"),
) -> "Task":
    """Put model, head, task, optimiser and schedule together; each is exchanged here and nowhere else.

    :param architecture: The model.
    :param learning_rate: The largest step of the optimiser.
    :param optimizer: The optimiser, by name.
    :param scheduler: The schedule of the learning rate, by name.
    :return: The task, with fresh weights.
    """
    from torch import nn

    from labkit.training import tasks
    from labkit.training.choice import choose_optimizer, choose_scheduler

    model = ARCHITECTURES[architecture](SHAPE, FEATURES)
    head = nn.Linear(FEATURES, CLASSES)
    make_optimizer, make_scheduler = choose_optimizer(optimizer, lr=learning_rate), choose_scheduler(scheduler)
    return tasks.Classification(model, head, classes=CLASSES, optimizer=make_optimizer, scheduler=make_scheduler)


if __name__ == "__main__":
    sys.exit(train.main())
