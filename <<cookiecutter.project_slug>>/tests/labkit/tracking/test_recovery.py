import shutil
from pathlib import Path

import pytest

from labkit.tracking.attempt import attempt
from labkit.tracking.interruption import Interruption
from labkit.tracking.run import Run, open_run
from labkit.tracking.spool import FILE_NAME
from labkit.tracking.state import State
from tests.project import Project


def work(run: Run, *steps: int) -> None:
    """Do what an attempt does that is interrupted: print, record, write a checkpoint."""
    with attempt(run):
        print(f"steps {steps}")
        for step in steps:
            run.log_metrics({"train/loss": 1 / step, "train/rate": step / 8}, step=step)
        path = run.folder / "checkpoints" / "last.ckpt"
        path.parent.mkdir(exist_ok=True)
        path.write_text(f"after step {steps[-1]}")
        run.log_artifact(path, "checkpoints")
        raise Interruption(State.INTERRUPTED)


@pytest.fixture
def elsewhere(project: Project, run: Run) -> Path:
    """The folder of the run as another machine has it, which went to step 3."""
    work(run, 1, 2, 3)
    return run.folder.rename(project.path / "elsewhere")


def read_checkpoint(run: Run) -> str:
    return run.checkpoint("last").read_text()


@pytest.mark.usefixtures("elsewhere")
def test_a_run_that_this_machine_does_not_know_brings_all_it_needs(project: Project, run: Run) -> None:
    opened = open_run(project.environment, run.identifier)
    with attempt(opened):
        assert opened.history["train/loss"] == ([1, 2, 3], [1, 1 / 2, 1 / 3])
        assert read_checkpoint(opened) == "after step 3"
        opened.log_metrics({"train/loss": 0.5}, step=3)  # once more, as after a checkpoint that is older
        opened.log_metrics({"train/loss": 0.25}, step=4)
    assert project.read_metric(run.identifier, "train/loss") == [(1, 1), (2, 1 / 2), (3, 1 / 3), (4, 0.25)]
    logs = {file.path for file in project.store.list_artifacts(run.identifier, "logs")}
    assert logs == {"logs/attempt-1.txt", "logs/attempt-2.txt"}


def test_what_went_on_elsewhere_meanwhile_is_taken_over(
    project: Project, run: Run, elsewhere: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    work(open_run(project.environment, run.identifier), 4, 5)
    shutil.rmtree(run.folder)
    elsewhere.rename(run.folder)
    opened = open_run(project.environment, run.identifier)
    capsys.readouterr()
    with attempt(opened):
        assert opened.history["train/rate"] == ([1, 2, 3, 4, 5], [1 / 8, 2 / 8, 3 / 8, 4 / 8, 5 / 8])
        assert read_checkpoint(opened) == "after step 5"
    assert "was executed elsewhere: fetched its metrics, its logs, last.ckpt." in capsys.readouterr().err


def test_where_this_machine_has_all_nothing_is_fetched(project: Project, run: Run) -> None:
    work(run, 1, 2)
    checkpoint = run.checkpoint("last")
    checkpoint.write_text("newer than the store's")
    spool = (run.folder / FILE_NAME).read_bytes()
    opened = open_run(project.environment, run.identifier)
    with attempt(opened):
        assert read_checkpoint(opened) == "newer than the store's"
        assert (run.folder / FILE_NAME).read_bytes().startswith(spool)
        assert opened.history["train/loss"] == ([1, 2], [1, 1 / 2])
