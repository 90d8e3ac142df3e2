"""A study without chance but in the order of the data, which several processes can do together."""

import sys

from labkit.tracking.entry_point import entry_point
from labkit.tracking.run import Run
from labkit.training.execution import Execution

SAMPLES = 48


@entry_point
def train(run: Run, *, batch_size: int = 4, epochs: int = 2, execution: Execution = Execution()) -> None:
    """Train on numbers.

    :param batch_size: The samples that one process takes at a time.
    :param epochs: How long.
    """
    from functools import partial

    import torch
    from torch import nn
    from torch.optim import SGD
    from torch.utils.data import TensorDataset

    from labkit.data.loading import Loader
    from labkit.training.choice import choose_scheduler
    from labkit.training.duration import Duration
    from labkit.training.seeding import seed_everything
    from labkit.training.tasks import Classification
    from labkit.training.trainer import fit

    inputs = torch.randn(SAMPLES, 4, generator=torch.Generator().manual_seed(0))
    data = TensorDataset(inputs, (inputs[:, 0] > 0).long())
    training = Loader(data, batch_size=batch_size, seed=run.seed, shuffle=True)
    validation = Loader(data, batch_size=8, seed=run.seed)
    seed_everything(run.seed, "initialisation")
    task = Classification(
        nn.Sequential(nn.Linear(4, 8), nn.Tanh()),
        nn.Linear(8, 2),
        classes=2,
        optimizer=partial(SGD, lr=0.1, momentum=0.9),
        scheduler=choose_scheduler("OneCycleLR"),
        gradient_clip=0.5,
        average_decay=0.9,
    )
    fit(task, run, training, validation, duration=Duration(epochs, "epochs"), execution=execution, accelerator="cpu")
    run.log_metrics({"batches_to_look_at": len(validation)}, step=1)


if __name__ == "__main__":
    sys.exit(train.main())
