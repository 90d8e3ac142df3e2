"""Two processes that continue one run at the same moment: one of them does, and the other leaves it alone."""

import os
import signal
import subprocess
import sys
import time

import pytest

from labkit.tracking.run import Run
from labkit.tracking.spool import read_history
from labkit.tracking.state import STATE_TAG
from tests.project import Project
from tests.tiny_study import seal

# The other process gives up sooner than in earnest.
CONTINUE = """
import sys
from labkit.tracking import attempt
from tiny.train import train
attempt.SECONDS_TO_WAIT_FOR_THE_RUN = float(sys.argv[1])
sys.exit(train.main(["--run-id", sys.argv[2]]))
"""


def start_two(study: Project, run: Run, seconds_to_wait: float) -> "list[subprocess.Popen[str]]":
    """Continue a run twice at once."""
    return [
        subprocess.Popen(
            [sys.executable, "-c", CONTINUE, str(seconds_to_wait), run.identifier],
            cwd=study.path,
            env=dict(os.environ),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for _ in range(2)
    ]


def await_the_first(processes: "list[subprocess.Popen[str]]") -> "list[subprocess.Popen[str]]":
    """Wait until one of them has ended, and return them in the order of their ends."""
    while all(process.poll() is None for process in processes):
        time.sleep(0.05)
    return sorted(processes, key=lambda process: process.poll() is None)


@pytest.mark.slow
def test_a_run_is_executed_by_one_of_them(study: Project) -> None:
    run = seal(study.environment, "seconds=600,steps=5")
    refused, executing = await_the_first(start_two(study, run, 1.0))
    output, errors = refused.communicate()
    assert (refused.returncode, output) == (2, "")
    assert errors == f"train: the run {run.identifier} is being executed by another process: wait for it, or end it.\n"
    assert executing.poll() is None

    while not (run.folder / "executed").exists():
        time.sleep(0.05)
    executing.send_signal(signal.SIGTERM)
    executing.communicate()
    assert executing.returncode == 75
    assert study.run.data.tags[STATE_TAG] == "interrupted"
    assert [path.name for path in (run.folder / "logs").glob("attempt-*")] == ["attempt-1.txt"]


@pytest.mark.slow
def test_a_run_that_is_over_by_the_time_is_not_executed_again(study: Project) -> None:
    run = seal(study.environment, "seconds=2,steps=5")
    processes = start_two(study, run, 60.0)
    errors = [process.communicate()[1] for process in processes]
    codes = [process.returncode for process in processes]
    assert sorted(codes) == [0, 2], errors
    assert errors[codes.index(2)].startswith(f"train: the run {run.identifier} has finished: ")
    assert errors[codes.index(0)] == ""
    assert study.run.data.tags[STATE_TAG] == "finished"
    steps, values = read_history(run.folder / "spool.jsonl")["train/loss"]
    assert steps == [1, 2, 3, 4, 5]
    assert study.read_metric(run.identifier, "train/loss") == list(zip(steps, values, strict=True))
    assert [path.name for path in (run.folder / "logs").glob("attempt-*")] == ["attempt-1.txt"]
