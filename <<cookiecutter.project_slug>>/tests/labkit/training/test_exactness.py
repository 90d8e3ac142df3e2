"""Interrupted or not, a run ends with the same bits: each time stopped at fresh random moments."""

import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, Final

import pytest
import torch

from labkit.tracking.spool import FILE_NAME, read_history
from labkit.training import checkpoint
from tests.labkit.tracking.test_outage import find_sender
from tests.project import ROOT, Project

SEED_OF_RUN: Final = 7
SECONDS_UNTIL_STUCK: Final = 240
LONGEST_MOMENT: Final = 0.4
"""Seconds from a process's first step to the signal; ten of them are less than the training takes."""
STUDY: Final = "tests.labkit.training.noisy_study"


def start(project: Project, *words: str) -> subprocess.Popen[bytes]:
    with (project.path / "stderr.txt").open("ab") as errors:
        return subprocess.Popen(
            [sys.executable, "-m", STUDY, *words],
            cwd=project.path,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            stdout=subprocess.DEVNULL,
            stderr=errors,
        )


def folders_of_runs(project: Project) -> set[Path]:
    return set((project.path / "runs").glob("*"))


def wait_for_a_step(process: subprocess.Popen[bytes], spool: Path, size: int) -> None:
    """Wait until a process has recorded something beyond what was there, or has ended."""
    while process.poll() is None and not (spool.exists() and spool.stat().st_size > size):
        time.sleep(0.01)


def start_slowly(project: Project, *words: str) -> tuple[subprocess.Popen[bytes], Path]:
    """Start a training that takes seconds; return it, and the folder of its run."""
    before = folders_of_runs(project)
    process = start(project, "--seed", str(SEED_OF_RUN), "--seconds-per-batch", "0.02", *words)
    while not (new := folders_of_runs(project) - before):
        assert process.poll() is None, (project.path / "stderr.txt").read_text()
        time.sleep(0.01)
    (folder,) = new
    return process, folder


def interrupt_at_random(project: Project, stop: signal.Signals, times: int, seed: int, *words: str) -> Path:
    """Train to the end in spite of so many signals; return the folder of the run."""
    moments = random.Random(seed)
    process, folder = start_slowly(project, *words)
    spool = folder / FILE_NAME
    for _ in range(times):
        wait_for_a_step(process, spool, spool.stat().st_size if spool.exists() else 0)
        time.sleep(moments.uniform(0, LONGEST_MOMENT))
        process.send_signal(stop)
        assert process.wait(SECONDS_UNTIL_STUCK) != 0, "the training was over before it was stopped often enough"
        process = start(project, "--run-id", folder.name)
    assert process.wait(SECONDS_UNTIL_STUCK) == 0, (project.path / "stderr.txt").read_text()
    return folder


def assert_same(one: Any, other: Any, place: str = "checkpoint") -> None:
    """Compare what a checkpoint holds, bit for bit."""
    assert type(one) is type(other), place
    if isinstance(one, torch.Tensor):
        assert torch.equal(one, other), place
    elif isinstance(one, dict):
        assert one.keys() == other.keys(), place
        for key in one:
            assert_same(one[key], other[key], f"{place}/{key}")
    elif isinstance(one, list | tuple):
        assert len(one) == len(other), place
        for index, pair in enumerate(zip(one, other, strict=True)):
            assert_same(*pair, f"{place}/{index}")
    else:
        assert one == other, place


def assert_same_outcome(project: Project, whole: Path, stopped: Path) -> None:
    """Compare a run that was stopped with one that was not: checkpoints, metrics, also in the store, and the state."""
    for name in ("last", "best"):
        one, other = (checkpoint.read(checkpoint.path_of(folder, name)) for folder in (whole, stopped))
        assert_same(one, other)
    histories = [read_history(folder / FILE_NAME) for folder in (whole, stopped)]
    assert histories[0] == histories[1]
    steps_taken = checkpoint.read(checkpoint.path_of(whole, "last"))["global_step"]
    assert histories[1]["train/loss_step"][0] == list(range(1, steps_taken + 1))
    for metric, (steps, values) in histories[1].items():
        assert project.read_metric(stopped.name, metric) == list(zip(steps, values, strict=True))
    run = project.store.get_run(stopped.name)
    assert (run.info.status, run.data.tags["labkit.state"]) == ("FINISHED", "finished")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("stop", "times", "words"),
    [
        pytest.param(signal.SIGKILL, 10, (), id="killed ten times"),
        pytest.param(signal.SIGUSR1, 4, (), id="interrupted by the scheduler"),
        pytest.param(signal.SIGINT, 2, ("--validation-every", "5 steps"), id="stopped by Ctrl-C"),
        pytest.param(signal.SIGUSR1, 2, ("--devices", "2"), id="two processes interrupted"),
        pytest.param(signal.SIGKILL, 2, ("--devices", "2"), id="two processes killed"),
    ],
)
def test_an_interrupted_run_ends_with_the_same_bits(
    project: Project, stop: signal.Signals, times: int, words: tuple[str, ...]
) -> None:
    seed = random.randrange(2**32)
    print(f"the moments derive from the seed {seed}")
    assert start(project, "--seed", str(SEED_OF_RUN), *words).wait(SECONDS_UNTIL_STUCK) == 0
    (whole,) = folders_of_runs(project)

    stopped = interrupt_at_random(project, stop, times, seed, *words)
    assert_same_outcome(project, whole, stopped)


def await_upload(project: Project, process: subprocess.Popen[bytes], run_id: str, after: int) -> int:
    """Wait, while a process trains, until the store has a checkpoint of a later step, and the metrics up to it."""
    copy = project.path / "copy.ckpt"
    while True:
        assert process.poll() is None, "the training was over before the store had its checkpoint"
        if project.store.list_artifacts(run_id, checkpoint.FOLDER):
            shutil.copyfile(project.store.download_artifacts(run_id, f"{checkpoint.FOLDER}/last.ckpt"), copy)
            if checkpoint.is_complete(copy):
                step = checkpoint.read(copy)["global_step"]
                if step > after and (step in dict(project.read_metric(run_id, "train/loss_step"))):
                    return step
        time.sleep(0.02)


@pytest.mark.slow
def test_checkpoints_are_in_the_store_while_it_trains_and_a_machine_that_is_lost_costs_no_bit(
    project: Project,
) -> None:
    assert start(project, "--seed", str(SEED_OF_RUN)).wait(SECONDS_UNTIL_STUCK) == 0
    (whole,) = folders_of_runs(project)
    process, folder = start_slowly(project)
    first = await_upload(project, process, folder.name, after=0)
    second = await_upload(project, process, folder.name, after=first)
    os.kill(find_sender(folder), signal.SIGKILL)
    process.kill()
    process.wait()
    shutil.rmtree(folder)

    assert start(project, "--run-id", folder.name).wait(SECONDS_UNTIL_STUCK) == 0
    assert_same_outcome(project, whole, folder)
    log = Path(project.store.download_artifacts(folder.name, "logs/attempt-2.txt")).read_text()
    assert min(int(step) for step in re.findall(r"step (\d+)", log)) > second
