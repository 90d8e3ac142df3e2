import json
import math
import os
import signal
import subprocess
import sys
import time

import pytest
import torch

from labkit.command import UsageError
from labkit.data.footprint import record_footprint
from labkit.launch.opening import execute
from labkit.report.reproduction import (
    REPRODUCES_TAG,
    MetricComparison,
    compare_histories,
    read_history,
    reproduce_run,
)
from labkit.tracking.attempt import recording
from labkit.tracking.run import Run, open_run
from labkit.tracking.state import STATE_TAG
from labkit.training.checkpoint import path_of
from labkit.training.checkpoint import write as write_checkpoint
from tests.project import Project
from tests.repository import write
from tests.tiny_study import seal

SECONDS_TO_START = 60.0


def make_finished_run(study: Project, arguments: str = "") -> Run:
    """Seal a run and execute it."""
    run = seal(study.environment, arguments)
    assert execute(run) == 0
    return open_run(study.environment, run.identifier)


def pretend_finished_run(
    study: Project, arguments: str = "", *, metrics: dict[str, float], reproduces: Run | None = None
) -> Run:
    """Make a run of which this machine alone knows that it has finished, with values at step 1."""
    run = seal(study.environment, arguments)
    run.log_metrics(metrics, step=1)
    run.spool.append({"state": "finished", "time": 0})
    run.spool.close()
    if reproduces:
        study.store.set_tag(run.identifier, REPRODUCES_TAG, reproduces.identifier)
    return run


def reproduce(study: Project, *words: str) -> subprocess.CompletedProcess[str]:
    return study.execute("-m", "labkit.report.reproduction", *words, COLUMNS="200")


def find_reproductions(study: Project, run: Run) -> list[str]:
    return [found.info.run_id for found in study.runs if found.data.tags.get(REPRODUCES_TAG) == run.identifier]


class TestCompareHistories:
    def test_the_same_numbers_are_identical(self) -> None:
        history = {"train/loss": {1: 0.1, 2: math.nan, 3: math.inf}}
        (comparison,) = compare_histories(history, {"train/loss": {1: 0.1, 2: math.nan, 3: math.inf}})
        assert comparison == MetricComparison(
            name="train/loss", last=(math.inf, math.inf), steps=3, missing=(0, 0), differing=[], distance=0.0
        )
        assert comparison.is_identical
        assert comparison.verdict == "identical"

    def test_it_is_said_where_numbers_differ_and_by_how_much(self) -> None:
        (comparison,) = compare_histories({"a": {1: 1.0, 2: 2.0, 3: 3.0}}, {"a": {1: 1.0, 2: 2.5, 3: 2.75}})
        assert not comparison.is_identical
        assert comparison.verdict == "differs at 2 of 3 steps, first at 2, by at most 0.5"
        assert comparison.last == (3.0, 2.75)

    def test_a_last_bit_counts(self) -> None:
        (comparison,) = compare_histories({"a": {1: 0.1}}, {"a": {1: math.nextafter(0.1, 1)}})
        assert comparison.verdict == "differs at 1 of 1 steps, first at 1, by at most 1.39e-17"

    def test_what_is_no_number_is_the_largest_difference(self) -> None:
        (comparison,) = compare_histories({"a": {1: 1.0, 2: 1.0, 3: 1.0}}, {"a": {1: 9.0, 2: math.nan, 3: 5.0}})
        assert comparison.verdict == "differs at 3 of 3 steps, first at 1, by at most nan"

    def test_steps_that_one_run_lacks_are_counted(self) -> None:
        fewer, other = compare_histories({"a": {1: 1.0, 2: 1.0}, "b": {1: 0.0}}, {"a": {2: 1.0, 3: 1.0, 4: 1.0}})
        assert fewer.verdict == "the old run lacks 2 of 4 steps; the new run lacks 1 of 4 steps"
        assert (other.verdict, other.last) == ("the new run lacks 1 of 1 steps", (0.0, None))
        assert not fewer.is_identical
        assert not other.is_identical


class TestReadHistory:
    def test_what_the_store_has_not_heard_of_is_known_from_this_machine(self, project: Project, run: Run) -> None:
        assert project.run.data.metrics == {}
        run.log_metrics({"train/loss": 1.0, "train/rate": math.inf}, step=1)
        run.spool.append({"state": "finished", "time": 0})
        run.log_metrics({"test/accuracy": 0.5}, step=1)
        assert read_history(run) == {"train/loss": {1: 1.0}, "train/rate": {1: sys.float_info.max}}


@pytest.mark.slow
def test_a_run_does_the_same_again_with_its_own_code_and_data_or_not_at_all(
    study: Project, capfd: pytest.CaptureFixture[str]
) -> None:
    data = study.path / "data" / "cells"
    write(data, {"a.txt": "1"})
    old = make_finished_run(study, f"rate=3,seed=7,label={data}")
    assert old.root is not None
    write(study.path, {"tiny/model.py": "FACTOR = 666.0\n"})  # of no interest: the run has its own code
    with recording(old):
        old.log_metrics({"test/accuracy": 0.5, "train/loss": 9.0}, step=4)  # nor this: it had finished
    history = {"train/loss": {1: 37.0, 2: 22.0, 3: 17.0}}
    assert read_history(old) == history
    (old.folder / "spool.jsonl").unlink()  # now the store alone knows
    assert read_history(old) == history

    done = reproduce(study, old.identifier)
    assert done.returncode == 0, done.stderr
    (new,) = find_reproductions(study, old)
    assert new != old.identifier
    again, stored = study.store.get_run(new), study.store.get_run(old.identifier)
    assert again.data.params == stored.data.params
    assert again.data.tags[STATE_TAG] == "finished"
    assert again.info.experiment_id == stored.info.experiment_id
    lines = done.stdout.splitlines()
    assert [line.split() for line in lines if line.startswith("train/loss ") and "identical" in line] == [
        ["train/loss", "17", "17", "identical"]
    ]
    assert not any("test/accuracy" in line for line in lines)
    assert lines[-2:] == ["Both ran in the same environment.", f"The run {new} is identical to {old.identifier}."]

    write(data, {"a.txt": "2"})
    record_footprint(data)
    capfd.readouterr()
    assert reproduce_run(old.identifier) == 1
    errors = capfd.readouterr().err
    assert f"not {old.root} as --expect says: these are other data." in errors
    assert "ended with exit code 2 and is not compared" in errors


def test_it_is_said_what_differs_in_numbers_weights_and_environment(
    study: Project, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    old = pretend_finished_run(study, metrics={"train/loss": 5.0})
    new = pretend_finished_run(study, metrics={"train/loss": 5.5}, reproduces=old)
    for run, value in ((old, 1.0), (new, 1.25)):
        weights = {"weight": torch.tensor([1.0, value]), "bias": torch.ones(3)}
        write_checkpoint({"state_dict": weights}, path_of(run.folder, "last"))
    path = old.folder / "environment.json"
    surroundings = json.loads(path.read_text())
    packages = surroundings["packages"] | {"torch": "0.1"}
    path.write_text(json.dumps(surroundings | {"packages": packages, "cores": 1000}))

    assert reproduce_run(old.identifier, reproduction=new.identifier) == 1
    printed = capsys.readouterr().out
    assert "differs at 1 of 1 steps, first at 1, by at most 0.5" in printed
    assert "1 of 2 weights differ" in printed
    assert "weight: 1 of 2 values, by at most 0.25" in printed
    assert "best.ckpt" not in printed
    rows = [line.split() for line in printed.splitlines()]
    assert ["cores", "1000", str(len(os.sched_getaffinity(0)))] in rows
    assert ["packages:", "torch", "0.1", surroundings["packages"]["torch"]] in rows
    assert printed.endswith(f"The run {new.identifier} is not identical to {old.identifier}.\n")


@pytest.mark.slow
def test_an_interrupted_reproduction_goes_on_where_it_is_named(study: Project) -> None:
    old = pretend_finished_run(study, "seconds=600,steps=1,seed=0", metrics={"train/loss": 5.0})
    process = subprocess.Popen(
        [sys.executable, "-m", "labkit.report.reproduction", old.identifier],
        cwd=study.path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    deadline = time.monotonic() + SECONDS_TO_START
    while not list((study.path / "runs").glob("*/executed")):
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.05)
    process.send_signal(signal.SIGTERM)
    _, errors = process.communicate()
    (new,) = find_reproductions(study, old)
    assert process.returncode == 75, errors
    assert errors.splitlines()[-1] == (
        f"reproduce-run: the run {new} ended with exit code 75 and is not compared. "
        f"To go on: reproduce-run {old.identifier} --reproduction {new}"
    )
    assert reproduce_run(old.identifier, reproduction=new) == 0
    assert find_reproductions(study, old) == [new]


@pytest.mark.slow
def test_a_run_that_fails_this_time_is_not_compared(study: Project, capfd: pytest.CaptureFixture[str]) -> None:
    old = pretend_finished_run(study, "label=fail", metrics={"train/loss": 5.0})
    assert reproduce_run(old.identifier) == 1
    (new,) = find_reproductions(study, old)
    printed = capfd.readouterr()
    assert f"reproduce-run: the run {new} ended with exit code 1 and is not compared. " in printed.err
    assert "identical" not in printed.out


def test_only_finished_runs_can_be_reproduced(study: Project) -> None:
    run = seal(study.environment)
    with pytest.raises(UsageError, match=rf"^the run {run.identifier} has not finished, so there is nothing yet"):
        reproduce_run(run.identifier)
    assert len(study.runs) == 1


def test_only_reproductions_are_compared(study: Project) -> None:
    old = pretend_finished_run(study, metrics={"train/loss": 5.0})
    other = pretend_finished_run(study, metrics={"train/loss": 5.0})
    sentence = rf"^the run {other.identifier} is no reproduction of {old.identifier}: leave out --reproduction\.$"
    with pytest.raises(UsageError, match=sentence):
        reproduce_run(old.identifier, reproduction=other.identifier)


def test_a_reproduction_that_has_finished_is_compared_at_once(
    study: Project, capsys: pytest.CaptureFixture[str]
) -> None:
    metrics = {"train/loss": 5.0, "test/f1[macro]": 0.25}
    old = pretend_finished_run(study, metrics=metrics)
    new = pretend_finished_run(study, metrics=metrics, reproduces=old)
    assert reproduce_run(old.identifier, reproduction=new.identifier) == 0
    rows = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert ["test/f1[macro]", "0.25", "0.25", "identical"] in rows
    assert not (new.folder / "executed").exists()


def test_a_run_that_went_on_with_other_code_is_named(study: Project, capsys: pytest.CaptureFixture[str]) -> None:
    old = pretend_finished_run(study, metrics={"train/loss": 5.0})
    study.store.set_tag(old.identifier, "labkit.other_source", "1234")
    new = pretend_finished_run(study, metrics={"train/loss": 6.0}, reproduces=old)
    assert reproduce_run(old.identifier, reproduction=new.identifier) == 1
    assert f"The run {old.identifier} went on with other code than it was sealed with" in capsys.readouterr().out


def test_a_store_that_is_gone_when_it_is_needed_is_named(
    study: Project, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    old = pretend_finished_run(study, metrics={"train/loss": 5.0})
    new = pretend_finished_run(study, metrics={"train/loss": 5.0}, reproduces=old)

    def lose_the_store(*_: object) -> None:
        (study.path / "mlflow.db").write_bytes(b"no database")

    monkeypatch.setattr("labkit.report.reproduction._open_reproduction", lambda *_: lose_the_store() or new)
    new.has_finished = True
    assert reproduce_run.main([old.identifier, "--reproduction", new.identifier]) == 1
    assert capsys.readouterr().err.startswith("reproduce-run: the tracking store sqlite:///")


def test_runs_without_a_number_show_nothing(study: Project, capsys: pytest.CaptureFixture[str]) -> None:
    old = pretend_finished_run(study, metrics={})
    new = pretend_finished_run(study, metrics={}, reproduces=old)
    assert reproduce_run(old.identifier, reproduction=new.identifier) == 1
    assert "nothing tells whether they did the same" in " ".join(capsys.readouterr().out.split())
