"""A study in which all is random that can be: order, augmentation, workers, dropout; with schedule,
accumulation and a moving average of the weights.
"""

import random
import sys
import time

import numpy as np

from labkit.tracking.entry_point import entry_point
from labkit.tracking.run import Run
from labkit.training.duration import Duration, Interval


@entry_point
def train(
    run: Run,
    *,
    duration: Duration = Duration(30, "epochs"),
    validation_every: Duration = Duration(1, "epochs"),
    checkpoint_every: Interval = Interval(3, "steps"),
    workers: int = 2,
    seconds_per_batch: float = 0.0,
    devices: int = 1,
) -> None:
    """Train on noise.

    :param duration: How long.
    :param validation_every: How often to judge.
    :param checkpoint_every: How often to write a checkpoint.
    :param workers: The processes that load.
    :param seconds_per_batch: How long each batch dawdles, so that there is time to interrupt it.
    :param devices: The processes that train together.
    """
    from functools import partial

    import torch
    from torch import Tensor, nn
    from torch.optim import AdamW, Optimizer
    from torch.optim.lr_scheduler import LRScheduler, OneCycleLR
    from torch.utils.data import Dataset

    from labkit.data.loading import Loader
    from labkit.training.execution import Execution
    from labkit.training.seeding import seed_everything
    from labkit.training.task import Result
    from labkit.training.tasks import Classification
    from labkit.training.trainer import fit

    class Noise(Dataset[tuple[Tensor, int]]):
        def __len__(self) -> int:
            return 54

        def __getitem__(self, index: int) -> tuple[Tensor, int]:
            shift = random.random() + np.random.random() + torch.rand(()).item()
            return torch.arange(8.0) * (index + 1) / 54 + shift, index % 3

    class Dawdling(Classification):
        def compute(self, batch: tuple[Tensor, Tensor]) -> Result:
            time.sleep(seconds_per_batch)
            return super().compute(batch)

    def jitter(sample: tuple[Tensor, int], generator: torch.Generator) -> tuple[Tensor, int]:
        return sample[0] + torch.randn(8, generator=generator), sample[1]

    training = Loader(Noise(), batch_size=4, seed=run.seed, shuffle=True, workers=workers, transform=jitter)
    validation = Loader(Noise(), batch_size=16, seed=run.seed + 1)

    def schedule(optimizer: Optimizer, steps: int) -> LRScheduler:
        return OneCycleLR(optimizer, 0.01, total_steps=steps)

    seed_everything(run.seed, "initialisation")
    task = Dawdling(
        nn.Sequential(nn.Linear(8, 32), nn.BatchNorm1d(32), nn.ReLU(), nn.Dropout(0.5), nn.Linear(32, 3)),
        classes=3,
        optimizer=partial(AdamW, lr=0.01),
        scheduler=schedule,
        gradient_clip=1.0,
        average_decay=0.9,
    )
    fit(
        task,
        run,
        training,
        validation,
        duration=duration,
        validation_every=validation_every,
        checkpoint_every=checkpoint_every,
        execution=Execution(accumulate=2, devices=devices),
        accelerator="cpu",
    )


if __name__ == "__main__":
    sys.exit(train.main())
