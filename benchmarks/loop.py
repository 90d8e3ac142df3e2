"""Steps per second of Labkit's trainer beside bare Lightning and beside a plain PyTorch loop, for every task.

Run by `make benchmark NAME=loop`. All variants take the same model, loss, optimiser, batches and number of steps; each
is timed several times in turn, and the best time of each counts. What is timed is this process's share of the
processors, in one thread: threads that wait for one another would be timed too, and they wait the longer, the more the
machine does besides. Labkit has everything on: exact epoch metrics, the loss and learning rate of every step recorded
and sent to an SQLite store by a process of its own, checkpoints every minute, a progress bar. An epoch ends with a
validation, and with Labkit's pictures of it; that is timed apart, since how often it comes is the user's choice.
"""

import argparse
import contextlib
import io
import os
import tempfile
import time
import warnings
from collections.abc import Callable, Generator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import torch
from labkit.data.loading import Loader
from labkit.environment import Environment
from labkit.report.illustration import ConfusionPicture
from labkit.tracking.attempt import attempt
from labkit.tracking.run import Envelope, create_run
from labkit.training import tasks
from labkit.training.duration import Duration, Interval
from labkit.training.task import Task
from labkit.training.trainer import fit
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.loggers import CSVLogger
from torch import Tensor, nn
from torch.nn import functional
from torch.optim import AdamW
from torch.utils.data import DataLoader, TensorDataset

CLASSES = 10
FEATURES = 128
TOKENS = 17
BATCH_SIZE = 64
COPIES = 10
"""Of the digits, or an epoch would have only 29 steps."""
EPOCHS = 2
"""The first one warms up."""

Seconds = float


def make_mlp() -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(64, FEATURES), nn.ReLU())


def make_cnn() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(1, 32, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(32, 64, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
        nn.Flatten(), nn.Linear(64 * 4, FEATURES), nn.ReLU(),
    )  # fmt: skip


class Recurrent(nn.Module):
    """Reads an image row by row, as tokens of 16 values."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(TOKENS, 16)
        self.recurrence = nn.GRU(16, FEATURES, batch_first=True)

    def forward(self, tokens: Tensor) -> Tensor:
        return self.recurrence(self.embedding(tokens))[0]


@dataclass(frozen=True)
class Case:
    """A task, and how a batch of it is made of images and classes."""

    make: Callable[..., Task]
    make_model: Callable[[], nn.Module]
    make_head: Callable[[], nn.Module]
    make_data: Callable[[Tensor, Tensor], TensorDataset]


def as_they_are(images: Tensor, classes: Tensor) -> TensorDataset:
    return TensorDataset(images, classes)


def as_tokens(images: Tensor, classes: Tensor) -> TensorDataset:
    return TensorDataset((images * (TOKENS - 1)).long().flatten(1)[:, ::4], classes)


CASES = {
    "classification, MLP": Case(
        partial(tasks.Classification, classes=CLASSES), make_mlp, partial(nn.Linear, FEATURES, CLASSES), as_they_are
    ),
    "classification, CNN": Case(
        partial(tasks.Classification, classes=CLASSES), make_cnn, partial(nn.Linear, FEATURES, CLASSES), as_they_are
    ),
    "multi-label classification": Case(
        partial(tasks.MultiLabelClassification, classes=CLASSES),
        make_cnn,
        partial(nn.Linear, FEATURES, CLASSES),
        lambda images, classes: TensorDataset(images, functional.one_hot(classes, CLASSES)),
    ),
    "regression": Case(
        tasks.Regression,
        make_cnn,
        partial(nn.Linear, FEATURES, 1),
        lambda images, classes: TensorDataset(images, classes.float()),
    ),
    "segmentation": Case(
        partial(tasks.Segmentation, classes=2),
        partial(nn.Conv2d, 1, 32, 3, padding=1),
        partial(nn.Conv2d, 32, 2, 1),
        lambda images, _: TensorDataset(images, (images[:, 0] > 1 / 2).long()),
    ),
    "autoencoding": Case(tasks.Autoencoding, make_cnn, partial(nn.Linear, FEATURES, 64), as_they_are),
    "similarity": Case(tasks.Similarity, make_cnn, partial(nn.Linear, FEATURES, 32), as_they_are),
    "contrastive": Case(tasks.Contrastive, make_cnn, partial(nn.Linear, FEATURES, 32), as_they_are),
    "semi-supervised": Case(
        partial(tasks.SemiSupervised, classes=CLASSES),
        make_cnn,
        partial(nn.Linear, FEATURES, CLASSES),
        lambda images, classes: TensorDataset(images, classes.where(images.mean(dim=(1, 2, 3)) > 1 / 3, -1)),
    ),
    "language modelling": Case(
        partial(tasks.LanguageModelling, vocabulary=TOKENS), Recurrent, partial(nn.Linear, FEATURES, TOKENS), as_tokens
    ),
    "sequence classification": Case(
        partial(tasks.SequenceClassification, classes=CLASSES),
        Recurrent,
        partial(nn.Linear, FEATURES, CLASSES),
        as_tokens,
    ),
}


def load_digits() -> tuple[Tensor, Tensor]:
    from sklearn.datasets import load_digits

    images, classes = load_digits(return_X_y=True)
    images, classes = torch.from_numpy(images).float().reshape(-1, 1, 8, 8) / 16, torch.from_numpy(classes).long()
    return images.repeat(COPIES, 1, 1, 1), classes.repeat(COPIES)


def make_task(case: Case) -> Task:
    torch.manual_seed(0)
    return case.make(case.make_model(), case.make_head(), optimizer=partial(AdamW, lr=1e-3))


class Bare(LightningModule):
    """The least that Lightning asks for, around what a task computes."""

    def __init__(self, task: Task, *, log_each_step: bool) -> None:
        super().__init__()
        self.task = task
        self.log_each_step = log_each_step

    def training_step(self, batch: Any, _: int) -> Tensor:
        loss = self.task.compute(batch).loss
        if self.log_each_step:
            self.log("train/loss", loss)
        return loss

    def validation_step(self, batch: Any, _: int) -> None:
        self.log("validation/loss", self.task.compute(batch).loss)

    def configure_optimizers(self) -> AdamW:
        return AdamW(self.parameters(), lr=1e-3)


class Times(NamedTuple):
    """What an epoch took."""

    steps: Seconds
    validation: Seconds


class Clock(Callback):
    """Times the last epoch, without the start and end of a trainer, which a training has once."""

    def __init__(self) -> None:
        self.begin = self.after_steps = self.end = 0.0

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.begin = time.process_time()

    def on_train_batch_end(self, *_: Any, **__: Any) -> None:
        self.after_steps = time.process_time()

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.end = time.process_time()

    @property
    def times(self) -> Times:
        return Times(self.after_steps - self.begin, self.end - self.after_steps)


def time_plain(task: Task, training: TensorDataset, validation: TensorDataset) -> Times:
    loader, judged = DataLoader(training, BATCH_SIZE, shuffle=True), DataLoader(validation, 512)
    optimizer = AdamW(task.parameters(), lr=1e-3)
    begin = after_steps = 0.0
    for _ in range(EPOCHS):
        begin = time.process_time()
        for batch in loader:
            optimizer.zero_grad()
            task.compute(batch).loss.backward()
            optimizer.step()
        after_steps = time.process_time()
        with torch.no_grad():
            for batch in judged:
                task.compute(batch)
    return Times(after_steps - begin, time.process_time() - after_steps)


def time_lightning(task: Task, training: TensorDataset, validation: TensorDataset, *, log_each_step: bool) -> Times:
    clock = Clock()
    with tempfile.TemporaryDirectory() as folder:
        trainer = Trainer(
            max_epochs=EPOCHS,
            callbacks=[clock],
            logger=CSVLogger(folder) if log_each_step else False,
            log_every_n_steps=1,
            num_sanity_val_steps=0,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            accelerator="cpu",
        )
        loaders = DataLoader(training, BATCH_SIZE, shuffle=True), DataLoader(validation, 512)
        trainer.fit(Bare(task, log_each_step=log_each_step), *loaders)
    return clock.times


def time_labkit(task: Task, training: TensorDataset, validation: TensorDataset, environment: Environment) -> Times:
    clock = Clock()
    run = create_run(environment, Envelope(entry_point="train", arguments={}, seed=1), experiment_name="benchmark")
    with attempt(run):
        fit(
            task,
            run,
            Loader(training, batch_size=BATCH_SIZE, seed=1, shuffle=True),
            Loader(validation, batch_size=512, seed=1),
            duration=Duration(EPOCHS, "epochs"),
            checkpoint_every=Interval(1, "minutes"),
            callbacks=[ConfusionPicture(run), clock],
            accelerator="cpu",
        )
    return clock.times


@contextlib.contextmanager
def temporary_store() -> Generator[Environment]:
    with tempfile.TemporaryDirectory() as folder:
        variables = {"MLFLOW_TRACKING_URI": f"sqlite:///{folder}/mlflow.db", "RUNS_PATH": f"{folder}/runs"}
        yield Environment.read({**os.environ, **variables}, Path(folder))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repetitions", type=int, default=3)
    parser.add_argument("--only", choices=CASES, action="append", help="a task, or several: all by default")
    options = parser.parse_args()
    warnings.filterwarnings("ignore")
    torch.set_num_threads(1)
    images, classes = load_digits()
    steps = -(-len(images) // BATCH_SIZE)
    with temporary_store() as environment:
        for name in options.only or CASES:
            case = CASES[name]
            training = case.make_data(images, classes)
            validation = case.make_data(images[: len(images) // COPIES], classes[: len(images) // COPIES])
            variants: dict[str, Callable[[Task, TensorDataset, TensorDataset], Times]] = {
                "plain loop": time_plain,
                "bare Lightning": partial(time_lightning, log_each_step=False),
                "Lightning, logging steps": partial(time_lightning, log_each_step=True),
                "Labkit, everything on": partial(time_labkit, environment=environment),
            }
            times: dict[str, list[Times]] = {variant: [] for variant in variants}
            for _ in range(options.repetitions):
                for variant, measure in variants.items():
                    with contextlib.redirect_stdout(io.StringIO()):
                        times[variant].append(measure(make_task(case), training, validation))
            print_table(
                name, steps, {variant: Times(*map(min, zip(*all_, strict=True))) for variant, all_ in times.items()}
            )


def print_table(name: str, steps: int, best: dict[str, Times]) -> None:
    """Print how fast each variant is, and where the time of a step goes: what each adds to the one above it."""
    print(f"\n{name}, an epoch of {steps} steps of {BATCH_SIZE}, and a validation")
    bare, before = best["bare Lightning"].steps, 0.0
    for variant, seconds in best.items():
        print(
            f"  {variant:<26}{steps / seconds.steps:7.0f} steps/s   {bare / seconds.steps:5.2f} of bare Lightning"
            f"   {(seconds.steps - before) / steps * 1e6:+7.0f} µs a step   {seconds.validation:6.2f} s the validation",
            flush=True,
        )
        if variant != "Lightning, logging steps":
            before = seconds.steps


if __name__ == "__main__":
    main()
