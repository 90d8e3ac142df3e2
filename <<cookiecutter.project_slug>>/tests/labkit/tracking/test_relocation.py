"""A run that is executed on one machine and then on another, which share no folder."""

import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import pytest

from labkit.environment import Environment
from labkit.tracking.attempt import attempt
from labkit.tracking.interruption import Interruption
from labkit.tracking.run import Envelope, Run, create_run, open_run
from labkit.tracking.state import STATE_TAG, State
from tests.labkit.tracking.test_outage import RECORD, STEPS, assert_complete, find_sender
from tests.project import Project

pytestmark = pytest.mark.slow


@dataclass(frozen=True)
class Machine:
    """A machine with a folder of its own for runs."""

    project: Project
    name: str

    @property
    def variables(self) -> dict[str, str]:
        return {"RUNS_PATH": str(self.project.path / self.name)}

    @property
    def environment(self) -> Environment:
        return Environment.read(self.variables, self.project.path)

    def open(self, run: Run) -> Run:
        return open_run(self.environment, run.identifier)

    def record(self, run: Run, *words: str) -> "subprocess.Popen[str]":
        """Execute a run, and return when it has recorded its steps."""
        process = subprocess.Popen(
            [sys.executable, "-c", RECORD, run.identifier, *words],
            env={**os.environ, **self.variables},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert process.stdout
        assert process.stdout.readline() == "recorded\n"
        return process

    def synchronise(self) -> "subprocess.CompletedProcess[str]":
        program = "import sys; from labkit.tracking.synchronisation import sync_runs; sys.exit(sync_runs.main([]))"
        return self.project.execute("-c", program, **self.variables)

    def spool(self, run: Run) -> Path:
        return self.project.path / self.name / run.identifier / "spool.jsonl"


@pytest.fixture
def first(project: Project) -> Machine:
    return Machine(project, "first")


@pytest.fixture
def second(project: Project) -> Machine:
    return Machine(project, "second")


@pytest.fixture
def lost(project: Project, first: Machine) -> Run:
    """A run whose machine was switched off in the middle, together with the sender."""
    envelope = Envelope(entry_point="train", arguments={}, seed=0)
    run = create_run(first.environment, envelope, experiment_name="experiment")
    process = first.record(run, "wait")
    while project.run.data.tags[STATE_TAG] != "running":
        time.sleep(0.02)
    os.kill(find_sender(run.folder), signal.SIGKILL)
    process.kill()
    process.communicate()
    return run


def finish(machine: Machine, run: Run) -> None:
    process = machine.record(run)
    assert process.communicate() == (
        "",
        "The run was last executed elsewhere: what it recorded there is fetched first.\n",
    )
    assert process.returncode == 0


def test_a_run_goes_on_elsewhere_and_every_step_is_recorded_once(project: Project, second: Machine, lost: Run) -> None:
    finish(second, lost)
    assert_complete(project, lost)
    assert second.open(lost).history == lost.history
    assert project.run.info.status == "FINISHED"


def test_the_machine_that_comes_back_changes_nothing(
    project: Project, first: Machine, second: Machine, lost: Run
) -> None:
    finish(second, lost)
    assert first.open(lost).has_finished
    assert project.run.data.tags[STATE_TAG] == "finished"

    done = first.synchronise()
    assert (done.returncode, project.run.info.status) == (0, "FINISHED"), done.stderr
    assert project.run.data.tags[STATE_TAG] == "finished"
    assert_complete(project, lost)


def test_what_only_the_machine_that_comes_back_knows_is_sent(
    project: Project, first: Machine, second: Machine, lost: Run
) -> None:
    with first.spool(lost).open("a") as spool:
        spool.write('{"metrics": {"loss": 0.5, "only here": 0.25}, "step": 3, "time": 1}\n')
    finish(second, lost)
    assert first.synchronise().returncode == 0
    assert project.read_metric(lost.identifier, "only here") == [(3, 0.25)]
    assert_complete(project, lost)


def test_to_look_at_a_run_from_elsewhere_says_nothing_about_its_state(
    project: Project, first: Machine, second: Machine, lost: Run
) -> None:
    run = second.open(lost)
    assert not run.has_finished
    assert second.synchronise().returncode == 0
    assert project.run.data.tags[STATE_TAG] == "running"
    first.open(lost)
    assert project.run.data.tags[STATE_TAG] == "interrupted"


def test_where_a_machine_knows_the_newest_attempt_nothing_is_fetched(project: Project, run: Run) -> None:
    spool = run.folder / "spool.jsonl"
    path = run.folder / "checkpoints" / "last.ckpt"
    path.parent.mkdir()
    for text in ("in the store", "newer, and not there yet"):
        path.write_text(text)
        before = spool.read_bytes() if spool.exists() else b""
        opened = open_run(project.environment, run.identifier)
        with attempt(opened):
            assert spool.read_bytes().startswith(before)
            assert opened.checkpoint("last").read_text() == text
            opened.log_artifact(path, "checkpoints")
            raise Interruption(State.INTERRUPTED)


def test_there_and_back_again(project: Project, first: Machine, second: Machine, lost: Run) -> None:
    process = second.record(lost, "wait")
    process.send_signal(signal.SIGTERM)
    process.communicate()
    assert project.run.data.tags[STATE_TAG] == "interrupted"
    finish(first, lost)
    assert_complete(project, lost)
    logs = {file.path for file in project.store.list_artifacts(lost.identifier, "logs")}
    assert logs == {f"logs/attempt-{number}.txt" for number in (1, 2, 3)}
    assert len(first.open(lost).history["loss"][0]) == STEPS


def test_a_newer_checkpoint_of_elsewhere_takes_the_place_of_the_one_here(project: Project, run: Run) -> None:
    def work(opened: Run, text: str) -> None:
        path = opened.folder / "checkpoints" / "last.ckpt"
        with attempt(opened):
            path.parent.mkdir(exist_ok=True)
            path.write_text(text)
            opened.log_artifact(path, "checkpoints")
            raise Interruption(State.INTERRUPTED)

    elsewhere = Environment.read({"RUNS_PATH": str(project.path / "elsewhere")}, project.path)
    work(run, "here")
    work(open_run(elsewhere, run.identifier), "there")
    opened = open_run(project.environment, run.identifier)
    assert opened.checkpoint("last").read_text() == "here"
    with attempt(opened):
        assert opened.checkpoint("last").read_text() == "there"
