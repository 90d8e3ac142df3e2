"""Steps per second of Labkit's trainer beside bare Lightning and beside a plain PyTorch loop, for every task.

Run by `make benchmark NAME=loop`. All variants take the same model, loss, optimiser, batches and number of steps; each
is timed several times in turn, and the best time of each counts. What is timed is this process's share of the
processors, in one thread: threads that wait for one another would be timed too, and they wait the longer, the more the
machine does besides. Labkit has everything on: exact epoch metrics, the loss
and learning rate of every step recorded and sent to an SQLite store by a process of its own, checkpoints.
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
from typing import Any

import torch
from labkit.data.loading import Loader
from labkit.environment import Environment
from labkit.tracking.attempt import attempt
from labkit.tracking.run import Envelope, create_run
from labkit.training import tasks
from labkit.training.duration import Duration, Interval
from labkit.training.task import Task
from labkit.training.trainer import fit
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.loggers import CSVLogger
from torch import Tensor, nn
from torch.nn import functional
from torch.optim import AdamW
from torch.utils.data import DataLoader, TensorDataset

CLASSES = 10
FEATURES = 128
TOKENS = 17
BATCH_SIZE = 64

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
    return torch.from_numpy(images).float().reshape(-1, 1, 8, 8) / 16, torch.from_numpy(classes).long()


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

    def configure_optimizers(self) -> AdamW:
        return AdamW(self.parameters(), lr=1e-3)


class Clock:
    """Times the steps alone: without the start and end of a trainer, which a real training does once."""

    def __init__(self) -> None:
        self.start = self.end = 0.0

    def callback(self) -> Any:
        from lightning.pytorch import Callback

        clock = self

        class Timing(Callback):
            def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
                if trainer.current_epoch == 1:
                    clock.start = time.process_time()

            def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
                clock.end = time.process_time()

        return Timing()


def time_plain(task: Task, data: TensorDataset, epochs: int) -> Seconds:
    loader = DataLoader(data, BATCH_SIZE, shuffle=True)
    optimizer = AdamW(task.parameters(), lr=1e-3)
    start = 0.0
    for epoch in range(epochs + 1):
        if epoch == 1:
            start = time.process_time()
        for batch in loader:
            optimizer.zero_grad()
            task.compute(batch).loss.backward()
            optimizer.step()
    return time.process_time() - start


def time_lightning(task: Task, data: TensorDataset, epochs: int, *, log_each_step: bool) -> Seconds:
    clock = Clock()
    with tempfile.TemporaryDirectory() as folder:
        trainer = Trainer(
            max_epochs=epochs + 1,
            callbacks=[clock.callback()],
            logger=CSVLogger(folder) if log_each_step else False,
            log_every_n_steps=1,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            accelerator="cpu",
        )
        trainer.fit(Bare(task, log_each_step=log_each_step), DataLoader(data, BATCH_SIZE, shuffle=True))
    return clock.end - clock.start


def time_labkit(task: Task, data: TensorDataset, epochs: int, environment: Environment) -> Seconds:
    clock = Clock()
    run = create_run(environment, Envelope(entry_point="train", arguments={}, seed=1), experiment_name="benchmark")
    training = Loader(data, batch_size=BATCH_SIZE, seed=1, shuffle=True)
    validation = Loader(data, batch_size=512, seed=1)
    with attempt(run):
        fit(
            task,
            run,
            training,
            validation,
            duration=Duration(epochs + 1, "epochs"),
            validation_every=Duration(10**6, "epochs"),
            checkpoint_every=Interval(1, "minutes"),
            callbacks=[clock.callback()],
            accelerator="cpu",
        )
    return clock.end - clock.start


@contextlib.contextmanager
def temporary_store() -> Generator[Environment]:
    with tempfile.TemporaryDirectory() as folder:
        variables = {"MLFLOW_TRACKING_URI": f"sqlite:///{folder}/mlflow.db", "RUNS_PATH": f"{folder}/runs"}
        yield Environment.read({**os.environ, **variables}, Path(folder))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--epochs", type=int, default=20, help="epochs that are timed, 29 steps each")
    parser.add_argument("--repetitions", type=int, default=3)
    parser.add_argument("--only", choices=CASES, action="append", help="a task, or several: all by default")
    options = parser.parse_args()
    warnings.filterwarnings("ignore")
    torch.set_num_threads(1)
    images, classes = load_digits()
    steps = -(-len(images) // BATCH_SIZE) * options.epochs
    with temporary_store() as environment:
        for name in options.only or CASES:
            case = CASES[name]
            data = case.make_data(images, classes)
            variants: dict[str, Callable[[Task], Seconds]] = {
                "plain loop": partial(time_plain, data=data, epochs=options.epochs),
                "bare Lightning": partial(time_lightning, data=data, epochs=options.epochs, log_each_step=False),
                "Lightning, logging steps": partial(
                    time_lightning, data=data, epochs=options.epochs, log_each_step=True
                ),
                "Labkit, everything on": partial(
                    time_labkit, data=data, epochs=options.epochs, environment=environment
                ),
            }
            times: dict[str, list[Seconds]] = {variant: [] for variant in variants}
            for _ in range(options.repetitions):
                for variant, measure in variants.items():
                    with contextlib.redirect_stdout(io.StringIO()):
                        times[variant].append(measure(make_task(case)))
            plain, bare = min(times["plain loop"]), min(times["bare Lightning"])
            print(f"\n{name}, {steps} steps of {BATCH_SIZE}", flush=True)
            for variant, seconds in times.items():
                best = min(seconds)
                print(
                    f"  {variant:<30}{steps / best:8.0f} steps/s   {plain / best:5.2f} of the plain loop"
                    f"   {bare / best:5.2f} of bare Lightning",
                    flush=True,
                )


if __name__ == "__main__":
    main()
