"""What every task has: schedules by step and by epoch, clipping, and the moving average of the weights."""

import math
import re
from functools import partial
from typing import Any

import pytest
import torch
from lightning.pytorch.callbacks import LambdaCallback
from torch import Tensor, nn
from torch.optim import SGD

from labkit.command import UsageError
from labkit.data.loading import Loader
from labkit.tracking.interruption import Interruption
from labkit.tracking.run import Run
from labkit.training import checkpoint
from labkit.training.choice import choose_scheduler
from labkit.training.duration import Duration
from labkit.training.seeding import seed_everything
from labkit.training.tasks import Classification
from labkit.training.trainer import evaluate, fit
from tests.labkit.training.test_trainer import BATCH_SIZE, CLASSES, DATA, follow, signal_after
from tests.project import Project


def make_task(task: type[Classification] = Classification, **arguments: Any) -> Classification:
    seed_everything(7, "initialisation")
    model = nn.Sequential(nn.Linear(2, 8), nn.BatchNorm1d(8), nn.ReLU())
    head = nn.Linear(8, CLASSES)
    return task(model, head, classes=CLASSES, optimizer=partial(SGD, lr=0.5), **arguments)


def train(run: Run, task: Classification, duration: str = "2 epochs", **arguments: Any) -> Classification:
    training = Loader(DATA, batch_size=BATCH_SIZE, seed=run.seed, shuffle=True)
    validation = Loader(DATA, batch_size=7, seed=run.seed)
    fit(task, run, training, validation, duration=Duration.parse(duration), accelerator="cpu", **arguments)
    return task


def read_rates(run: Run) -> list[float]:
    return run.history["train/learning_rate_step"][1]


def test_a_schedule_counts_epochs_where_it_is_asked_to(run: Run) -> None:
    train(
        run, make_task(scheduler=choose_scheduler("LinearLR(start_factor=1, end_factor=0)"), scheduler_interval="epoch")
    )
    assert read_rates(run) == pytest.approx([0.5] * 4 + [0.25] * 5 + [0])


def test_a_schedule_counts_steps_else(run: Run) -> None:
    train(run, make_task(scheduler=choose_scheduler("LinearLR(start_factor=1, end_factor=0)")))
    assert read_rates(run) == pytest.approx([0.5 - 0.05 * step for step in range(1, 11)])


def test_a_schedule_may_wait_for_a_plateau(run: Run) -> None:
    plateau = choose_scheduler("ReduceLROnPlateau(patience=0)")
    script = follow(*[math.nan, 2.0] * 2, *[math.nan, 1.0] * 2)  # what the epochs in between say is not heard
    every = Duration(2, "epochs")
    train(run, make_task(script, scheduler=plateau), "8 epochs", validation_every=every)
    assert read_rates(run)[::10] == pytest.approx([0.5, 0.5, 0.05, 0.05])


def test_a_schedule_waits_for_a_plateau_of_what_tells_the_best(run: Run, project: Project) -> None:
    arguments = {"monitor": "validation/accuracy", "mode": "max"}
    rising = choose_scheduler("ReduceLROnPlateau(mode='max', patience=0, threshold=1.0, threshold_mode='abs')")
    train(run, make_task(scheduler=rising), "3 epochs", **arguments)
    assert read_rates(run)[::5] == pytest.approx([0.5, 0.5, 0.05])
    falling = choose_scheduler("ReduceLROnPlateau(patience=0)")
    sentence = (
        "the best validation/accuracy is its max, and the schedule waits for its min:"
        " choose ReduceLROnPlateau(mode='max')."
    )
    with pytest.raises(UsageError, match=f"^{re.escape(sentence)}$"):
        train(project.make_run(), make_task(scheduler=falling), "1 epoch", **arguments)


def test_gradients_are_clipped_all_together(run: Run) -> None:
    norms: list[float] = []

    def watch(_: object, task: Classification, *__: object) -> None:
        gradients = [weight.grad.flatten() for weight in task.parameters() if weight.grad is not None]
        norms.append(float(torch.cat(gradients).norm()))

    train(run, make_task(gradient_clip=0.01), callbacks=[LambdaCallback(on_train_batch_end=watch)])
    assert norms == pytest.approx([0.01] * 10, rel=1e-3)


def copy(task: nn.Module) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in task.state_dict().items()}


def test_the_average_of_the_weights_follows_them_step_by_step(run: Run) -> None:
    states: list[dict[str, Tensor]] = []

    def watch(*_: object) -> None:
        states.append(copy(task))

    task = make_task(average_decay=0.5)
    expected = copy(task)
    assert torch.equal(expected["average.model.0.weight"], expected["model.0.weight"])
    train(run, task, callbacks=[LambdaCallback(on_train_batch_end=watch)])
    for step, state in enumerate(states, start=1):
        decay = min(0.5, step / (9 + step))
        for name in ("model.0.weight", "model.1.bias", "head.bias"):
            average = expected[f"average.{name}"] * decay + state[name] * (1 - decay)
            torch.testing.assert_close(state[f"average.{name}"], average)
        assert torch.equal(state["average.model.1.running_mean"], state["model.1.running_mean"])
        expected = state
    assert len(states) == 10
    assert not torch.equal(expected["average.head.bias"], expected["head.bias"])


def test_it_is_the_average_that_is_judged_and_tested(run: Run, project: Project) -> None:
    task = train(run, make_task(average_decay=0.9))
    loader = Loader(DATA, batch_size=7, seed=0)
    judged = run.history["validation/loss"][1][-1]
    assert float(evaluate(task, loader)["loss"]) == judged
    average = {name.removeprefix("average."): value for name, value in copy(task).items() if "average." in name}
    plain = make_task()
    plain.load_state_dict(average)
    assert float(evaluate(plain, loader)["loss"]) == judged
    assert float(evaluate(train(project.make_run(), make_task()), loader)["loss"]) != judged


def test_the_optimiser_leaves_the_average_alone() -> None:
    (group,) = make_task(average_decay=0.9).configure_optimizers().param_groups
    assert len(group["params"]) == 6


@pytest.mark.parametrize("step", [3, 5, 7])
def test_the_average_goes_on_after_an_interruption_as_if_nothing_had_happened(
    run: Run, project: Project, step: int
) -> None:
    train(run, make_task(average_decay=0.9))
    stopped = project.make_run()
    with stopped.signals.installed(), pytest.raises(Interruption):
        train(stopped, make_task(average_decay=0.9), callbacks=[signal_after(step)])
    stopped.spool.close()
    again = Run(stopped.identifier, stopped.name, stopped.experiment_name, stopped.envelope, stopped.environment)
    train(again, make_task(average_decay=0.9))
    assert again.history == run.history
    for name in ("last", "best"):
        one, other = (checkpoint.read(checkpoint.path_of(each.folder, name))["state_dict"] for each in (run, again))
        for key, value in one.items():
            assert torch.equal(value, other[key]), key
    again.spool.close()
