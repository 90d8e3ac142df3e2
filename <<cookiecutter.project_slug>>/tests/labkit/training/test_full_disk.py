"""A disk that is full while a run trains: nothing that was recorded is lost, and what to do is one sentence."""

import contextlib
import math

import pytest
import torch
from lightning.pytorch import Trainer
from lightning.pytorch.callbacks import LambdaCallback

from labkit.command import UnavailableError
from labkit.environment import Environment
from labkit.tracking.attempt import attempt
from labkit.tracking.run import Run, create_run, open_run
from labkit.training import checkpoint
from labkit.training.duration import Duration
from tests.labkit.training.test_trainer import follow, read_weights, train
from tests.project import Project
from tests.small_disk import SmallDisk

EVERY_STEP = Duration(1, "steps")
LAST_WORDS = contextlib.suppress(UnavailableError)
pytestmark = pytest.mark.slow
"""Whether they still fit on the disk is chance: what could not be written left a few bytes."""
ERROR = "could not be written (No space left on device)"


@pytest.fixture
def whole(run: Run) -> Run:
    """A run to whose steps nothing happens."""
    train(run, "2 epochs", follow(math.nan, math.nan))
    return run


@pytest.fixture
def cramped(run: Run, project: Project, small_disk: SmallDisk) -> Run:
    """A run whose folder is on the small disk."""
    environment = Environment.read({"RUNS_PATH": str(small_disk.path)}, project.path)
    return create_run(environment, run.envelope, experiment_name=run.experiment_name)


def at_step(step: int, act: object) -> LambdaCallback:
    def look(trainer: Trainer, *_: object) -> None:
        if trainer.global_step == step and callable(act):
            act()

    return LambdaCallback(on_train_batch_end=look)


def assert_same(run: Run, whole: Run) -> None:
    assert run.history == whole.history
    truth = read_weights(whole)
    assert read_weights(run)["global_step"] == truth["global_step"]
    for name, value in truth["state_dict"].items():
        assert torch.equal(read_weights(run)["state_dict"][name], value), name


def test_a_disk_that_is_full_for_a_while_costs_checkpoints_and_nothing_else(
    project: Project, whole: Run, cramped: Run, small_disk: SmallDisk, capfd: pytest.CaptureFixture[str]
) -> None:
    callbacks = [at_step(2, small_disk.fill), at_step(4, small_disk.clear)]
    with attempt(cramped) as outcome:
        train(cramped, "2 epochs", follow(math.nan, math.nan), checkpoint_every=EVERY_STEP, callbacks=callbacks)
    assert outcome.exit_code == 0
    path = checkpoint.path_of(cramped.folder, "last")
    complaints = [line for line in capfd.readouterr().err.splitlines() if "checkpoint" in line]
    assert complaints == [f"At step {step} the checkpoint {path} {ERROR}: training goes on." for step in (2, 3)]
    assert_same(cramped, whole)
    assert sorted(file.name for file in path.parent.iterdir()) == ["last.ckpt", "previous.ckpt"]
    assert project.store.get_run(cramped.identifier).info.status == "FINISHED"
    steps, values = whole.history["train/loss_step"]
    assert project.read_metric(cramped.identifier, "train/loss_step") == list(zip(steps, values, strict=True))


def test_a_disk_that_stays_full_ends_the_run_in_one_sentence_and_it_goes_on_exactly(
    project: Project, whole: Run, cramped: Run, small_disk: SmallDisk, capfd: pytest.CaptureFixture[str]
) -> None:
    way_on = f"make room, and go on: train --run-id {cramped.identifier}"
    with LAST_WORDS, attempt(cramped) as outcome:
        train(
            cramped,
            "2 epochs",
            follow(math.nan, math.nan),
            checkpoint_every=EVERY_STEP,
            callbacks=[at_step(3, small_disk.fill)],
        )
    assert outcome.exit_code == 1
    path = checkpoint.path_of(cramped.folder, "last")
    errors = capfd.readouterr().err.splitlines()
    assert f"train: the checkpoint {path} {ERROR}: {way_on}" in errors
    assert not [line for line in errors if "Traceback" in line]
    assert read_weights(cramped)["global_step"] == 2

    small_disk.clear()
    again = open_run(cramped.environment, cramped.identifier)
    with attempt(again) as outcome:
        train(again, "2 epochs", follow(math.nan, math.nan), checkpoint_every=EVERY_STEP)
    assert outcome.exit_code == 0
    assert_same(again, whole)
    steps, values = whole.history["train/loss_step"]
    assert project.read_metric(cramped.identifier, "train/loss_step") == list(zip(steps, values, strict=True))


def test_the_best_checkpoint_is_never_an_older_one(
    cramped: Run, small_disk: SmallDisk, capfd: pytest.CaptureFixture[str]
) -> None:
    script = follow(3.0, 1.0, 2.0)
    with LAST_WORDS, attempt(cramped) as outcome:
        train(cramped, "3 epochs", script, callbacks=[at_step(7, small_disk.fill)])
    assert outcome.exit_code == 1
    assert f"{checkpoint.path_of(cramped.folder, 'best')} {ERROR}: make room" in capfd.readouterr().err
    small_disk.clear()
    again = open_run(cramped.environment, cramped.identifier)
    with attempt(again) as outcome:
        train(again, "3 epochs", script)
    assert outcome.exit_code == 0
    assert read_weights(again, "best")["global_step"] == 10
    assert read_weights(again, "last")["global_step"] == 15
