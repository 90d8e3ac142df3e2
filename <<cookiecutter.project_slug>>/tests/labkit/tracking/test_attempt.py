import os
import re
import signal
import sys
import time
from pathlib import Path

import pytest
from filelock import FileLock

from labkit.command import UnavailableError, UsageError
from labkit.tracking import attempt as module
from labkit.tracking.attempt import attempt
from labkit.tracking.entry_point import entry_point
from labkit.tracking.run import Run
from labkit.tracking.state import RUN_LOCK, STATE_TAG
from tests.project import Project


def read_artifact(project: Project, run_id: str, name: str) -> str:
    return Path(project.store.download_artifacts(run_id, name)).read_text(encoding="utf-8")


@pytest.mark.slow
def test_a_crash_is_recorded_with_its_traceback(project: Project, capsys: pytest.CaptureFixture[str]) -> None:
    @entry_point
    def train(run: Run) -> None:
        """Train."""
        run.log_metrics({"train/loss": 0.5}, step=1)
        print("the last words")
        raise ZeroDivisionError("the reason")

    assert train.main([]) == 1
    run = project.run
    assert run.info.status == "FAILED"
    assert run.data.tags[STATE_TAG] == "failed"
    assert project.read_metric(run.info.run_id, "train/loss") == [(1, 0.5)]
    traceback = read_artifact(project, run.info.run_id, "logs/traceback.txt")
    assert traceback.startswith("Traceback (most recent call last):\n")
    assert traceback.endswith("ZeroDivisionError: the reason\n")
    assert traceback in capsys.readouterr().err
    log = read_artifact(project, run.info.run_id, "logs/attempt-1.txt")
    assert log.startswith("the last words\n")
    assert traceback in log


@entry_point
def half(run: Run) -> None:
    """Record one step, and stop at the first by the signal whose number the environment names."""
    step = len(run.history.get("train/loss", ([], []))[0]) + 1
    run.log_metrics({"train/loss": 1 / step}, step=step)
    if step == 1:
        os.kill(os.getpid(), int(os.environ["SIGNAL"]))
        raise AssertionError("the signal stops nothing")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("number", "code", "status", "state"),
    [(signal.SIGINT, 130, "KILLED", "killed"), (signal.SIGTERM, 75, "SCHEDULED", "interrupted")],
)
def test_a_run_that_a_signal_stops_keeps_what_was_logged(
    project: Project,
    number: signal.Signals,
    code: int,
    status: str,
    state: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("SIGNAL", str(int(number)))
    handler = signal.getsignal(number)
    assert half.main([]) == code
    run_id = project.run.info.run_id
    assert project.run.info.status == status
    assert project.run.data.tags[STATE_TAG] == state
    assert project.read_metric(run_id, "train/loss") == [(1, 1.0)]
    assert f"\n{state.capitalize()}. To go on: half --run-id {run_id}\n" in capsys.readouterr().err
    assert signal.getsignal(number) is handler


@pytest.mark.slow
def test_an_interrupted_run_goes_on_as_the_same_run(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SIGNAL", str(int(signal.SIGUSR1)))
    assert half.main([]) == 75
    run_id = project.run.info.run_id
    assert half.main(["--run-id", run_id]) == 0
    assert project.run.info.status == "FINISHED"
    assert project.run.data.tags[STATE_TAG] == "finished"
    assert project.read_metric(run_id, "train/loss") == [(1, 1.0), (2, 0.5)]
    logs = {file.path for file in project.store.list_artifacts(run_id, "logs")}
    assert logs == {"logs/attempt-1.txt", "logs/attempt-2.txt"}


def test_bad_input_that_shows_only_later_is_one_sentence(
    project: Project, run: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    def fetch() -> None:
        while project.run.data.tags[STATE_TAG] == "created":
            time.sleep(0.05)
        assert project.run.data.tags[STATE_TAG] == "running"
        assert project.run.info.status == "RUNNING"
        raise UsageError("there is no data: fetch it first.")

    with attempt(run) as outcome:
        fetch()
    assert outcome.exit_code == 2
    assert capsys.readouterr().err == "train: there is no data: fetch it first.\n"
    assert project.run.info.status == "FAILED"


def test_what_is_not_available_later_is_one_sentence(
    project: Project, run: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    def fetch() -> None:
        raise UnavailableError("the bucket does not answer.")

    with attempt(run) as outcome:
        fetch()
    assert outcome.exit_code == 1
    assert capsys.readouterr().err == "train: the bucket does not answer.\n"
    assert project.run.info.status == "FAILED"


def test_a_run_that_another_process_works_on_is_left_alone(
    project: Project, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "SECONDS_TO_WAIT_FOR_THE_RUN", 0.0)
    sentence = f"^the run {run.identifier} is being executed by another process: wait for it, or end it\\.$"
    with FileLock(run.folder / RUN_LOCK), pytest.raises(UsageError, match=sentence), attempt(run):
        raise AssertionError("the run is executed twice")
    assert project.run.info.status == "SCHEDULED"


def test_what_could_not_be_sent_is_said(
    run: Run, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "executable", "/bin/false")  # a sender that fails at once
    with attempt(run) as outcome:
        run.log_metrics({"train/loss": 0.5}, step=1)
    assert outcome.exit_code == 0
    uri = re.escape(run.environment.mlflow_tracking_uri)
    sentence = (
        f"Not all of run {run.identifier} has reached {uri}: it is kept in {run.folder} and sent by `sync-runs`.\n"
    )
    assert re.fullmatch(sentence, capsys.readouterr().err)
    assert run.history == {"train/loss": ([1], [0.5])}
