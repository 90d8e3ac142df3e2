"""Steps per second of Labkit's trainer beside bare Lightning and beside a plain PyTorch loop, on the digits.

Run by `make benchmark NAME=loop`. All variants take the same model, optimiser, batches and number of steps; each is
timed several times in turn, and the best time of each counts, so that what else the machine does weighs little. Labkit
has everything on: exact epoch metrics, the loss and learning rate of every step recorded and sent to an SQLite store,
checkpoints.
"""

import argparse
import contextlib
import io
import os
import tempfile
import time
import warnings
from collections.abc import Callable, Generator
from functools import partial
from pathlib import Path
from typing import Any

import torch
from labkit.data.loading import Loader
from labkit.environment import Environment
from labkit.tracking.attempt import attempt
from labkit.tracking.run import Envelope, create_run
from labkit.training.duration import Duration, Interval
from labkit.training.tasks import Classification
from labkit.training.trainer import fit
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.loggers import CSVLogger
from torch import Tensor, nn
from torch.nn import functional
from torch.optim import AdamW
from torch.utils.data import DataLoader, TensorDataset

CLASSES = 10
BATCH_SIZE = 64

Seconds = float


def make_mlp() -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, CLASSES))


def make_cnn() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(1, 32, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(32, 64, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
        nn.Flatten(), nn.Linear(64 * 4, CLASSES),
    )  # fmt: skip


def load_digits() -> TensorDataset:
    from sklearn.datasets import load_digits

    images, classes = load_digits(return_X_y=True)
    return TensorDataset(torch.from_numpy(images).float().reshape(-1, 1, 8, 8) / 16, torch.from_numpy(classes).long())


class Bare(LightningModule):
    """The least that Lightning asks for."""

    def __init__(self, model: nn.Module, *, log_each_step: bool) -> None:
        super().__init__()
        self.model = model
        self.log_each_step = log_each_step

    def training_step(self, batch: tuple[Tensor, Tensor], _: int) -> Tensor:
        loss = functional.cross_entropy(self.model(batch[0]), batch[1])
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
                    clock.start = time.perf_counter()

            def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
                clock.end = time.perf_counter()

        return Timing()


def time_plain(model: nn.Module, data: TensorDataset, epochs: int) -> Seconds:
    loader = DataLoader(data, BATCH_SIZE, shuffle=True)
    optimizer = AdamW(model.parameters(), lr=1e-3)
    start = 0.0
    for epoch in range(epochs + 1):
        if epoch == 1:
            start = time.perf_counter()
        for images, classes in loader:
            optimizer.zero_grad()
            functional.cross_entropy(model(images), classes).backward()
            optimizer.step()
    return time.perf_counter() - start


def time_lightning(model: nn.Module, data: TensorDataset, epochs: int, *, log_each_step: bool) -> Seconds:
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
        trainer.fit(Bare(model, log_each_step=log_each_step), DataLoader(data, BATCH_SIZE, shuffle=True))
    return clock.end - clock.start


def time_labkit(model: nn.Module, data: TensorDataset, epochs: int, environment: Environment) -> Seconds:
    clock = Clock()
    run = create_run(environment, Envelope(entry_point="train", arguments={}, seed=1), experiment_name="benchmark")
    task = Classification(model, classes=CLASSES, optimizer=partial(AdamW, lr=1e-3))
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
    options = parser.parse_args()
    warnings.filterwarnings("ignore")
    data = load_digits()
    steps = -(-len(data) // BATCH_SIZE) * options.epochs
    with temporary_store() as environment:
        variants: dict[str, Callable[[nn.Module], Seconds]] = {
            "plain loop": lambda model: time_plain(model, data, options.epochs),
            "bare Lightning": lambda model: time_lightning(model, data, options.epochs, log_each_step=False),
            "Lightning, logging steps": lambda model: time_lightning(model, data, options.epochs, log_each_step=True),
            "Labkit, everything on": lambda model: time_labkit(model, data, options.epochs, environment),
        }
        for name, make_model in {"MLP": make_mlp, "CNN": make_cnn}.items():
            times: dict[str, list[Seconds]] = {variant: [] for variant in variants}
            for _ in range(options.repetitions):
                for variant, measure in variants.items():
                    torch.manual_seed(0)
                    with contextlib.redirect_stdout(io.StringIO()):
                        times[variant].append(measure(make_model()))
            plain, bare = min(times["plain loop"]), min(times["bare Lightning"])
            print(f"\n{name}, {steps} steps of {BATCH_SIZE}")
            for variant, seconds in times.items():
                best = min(seconds)
                print(
                    f"  {variant:<30}{steps / best:8.0f} steps/s   {plain / best:5.2f} of the plain loop"
                    f"   {bare / best:5.2f} of bare Lightning"
                )


if __name__ == "__main__":
    main()
