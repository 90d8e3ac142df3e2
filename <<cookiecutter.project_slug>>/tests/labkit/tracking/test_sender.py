import math
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from filelock import FileLock
from tensorboard.backend.event_processing.event_file_loader import EventFileLoader

from labkit.tracking.lane import LARGEST_BATCH
from labkit.tracking.run import LIMIT_OF_BATCH, Run
from labkit.tracking.sender import Sender
from labkit.tracking.spool import FILE_NAME
from labkit.tracking.state import RUN_LOCK, STATE_TAG, State
from tests.project import Project


def send(run: Run) -> bool:
    """Send all that a run has to say, once no process works on it any more."""
    run.spool.close()
    return Sender(run.folder, run.environment).send_all()


def test_every_metric_arrives_once_and_in_order(project: Project, run: Run) -> None:
    count = 2 * LARGEST_BATCH + 1
    run.spool.append_metrics(
        ({"train/loss": 1 / (step + 1), "train/rate": float(step)}, step, 1000 + step) for step in range(count)
    )
    assert send(run)
    history = project.store.get_metric_history(run.identifier, "train/loss")
    assert [(metric.step, metric.timestamp, metric.value) for metric in history] == [
        (step, 1000 + step, 1 / (step + 1)) for step in range(count)
    ]
    assert project.read_metric(run.identifier, "train/rate") == [(step, float(step)) for step in range(count)]


def test_metrics_that_are_no_numbers_arrive_as_such(project: Project, run: Run) -> None:
    run.log_metrics({"train/loss": math.nan}, step=1)
    assert send(run)
    ((step, value),) = project.read_metric(run.identifier, "train/loss")
    assert step == 1
    assert math.isnan(value)


def test_more_metrics_of_one_step_than_the_store_takes_at_once_arrive(project: Project, run: Run) -> None:
    names = [f"test/recall-of-class-{number}" for number in range(LARGEST_BATCH + 1)]
    run.log_metrics(dict.fromkeys(names, 0.5), step=3)
    run.log_metrics({"test/loss": 0.25}, step=3)
    assert send(run)
    assert project.run.data.metrics == {**dict.fromkeys(names, 0.5), "test/loss": 0.25}


def test_more_tags_than_the_store_takes_at_once_arrive(project: Project, run: Run) -> None:
    tags = {f"tag-{number}": str(number) for number in range(LIMIT_OF_BATCH + 1)}
    run.log_tags(tags)
    assert send(run)
    assert tags.items() <= project.run.data.tags.items()


def test_tags_and_files_and_folders_arrive(project: Project, run: Run, tmp_path: Path) -> None:
    (run.folder / "notes").mkdir()
    (run.folder / "notes" / "a.txt").write_text("a")
    (run.folder / "b.txt").write_text("b")
    run.log_tags({"colour": "ü=\n1"})
    run.log_artifact(run.folder / "notes", "texts")
    run.log_artifact(run.folder / "b.txt")
    assert send(run)
    assert project.run.data.tags["colour"] == "ü=\n1"
    artifacts = Path(project.store.download_artifacts(run.identifier, "", str(tmp_path)))
    assert (artifacts / "texts" / "a.txt").read_text() == "a"
    assert (artifacts / "b.txt").read_text() == "b"


def test_a_file_that_is_gone_by_then_holds_up_nothing(project: Project, run: Run) -> None:
    run.log_artifact(run.folder / "gone.txt")
    (run.folder / "there.txt").write_text("there")
    run.log_artifact(run.folder / "there.txt")
    assert send(run)
    assert "there.txt" in [file.path for file in project.store.list_artifacts(run.identifier)]


def test_the_event_files_of_tensorboard_hold_every_metric(project: Project, run: Run, tmp_path: Path) -> None:
    run.spool.append_metrics([({"train/loss": 0.5, "train/accuracy": 1.0}, 1, 1000), ({"train/loss": 0.25}, 2, 2500)])
    assert send(run)
    folder = Path(project.store.download_artifacts(run.identifier, "tensorboard", str(tmp_path)))
    (path,) = folder.iterdir()
    events = [event for event in EventFileLoader(str(path)).Load() if event.HasField("summary")]
    assert [
        (value.tag, event.step, event.wall_time, value.tensor.float_val[0])
        for event in events
        for value in event.summary.value
    ] == [("train/loss", 1, 1.0, 0.5), ("train/accuracy", 1, 1.0, 1.0), ("train/loss", 2, 2.5, 0.25)]


@pytest.mark.parametrize(
    ("state", "status", "has_ended"),
    [
        (State.FINISHED, "FINISHED", True),
        (State.FAILED, "FAILED", True),
        (State.KILLED, "KILLED", True),
        (State.INTERRUPTED, "SCHEDULED", False),
    ],
)
def test_the_store_is_told_how_the_run_ended(
    project: Project, run: Run, state: State, status: str, *, has_ended: bool
) -> None:
    run.spool.append({"state": state, "time": 12345})
    assert send(run)
    assert project.run.data.tags[STATE_TAG] == state
    assert project.run.info.status == status
    assert project.run.info.end_time == (12345 if has_ended else None)


def test_the_state_of_a_run_that_is_executed_again_is_that_of_the_newer_attempt(project: Project, run: Run) -> None:
    for state in (State.RUNNING, State.INTERRUPTED, State.RUNNING):
        run.spool.append({"state": state, "time": 1})
    run.spool.close()
    sender = Sender(run.folder, run.environment)
    assert sender.entries.advance() == 2
    sender.ends.advance()
    assert project.run.data.tags[STATE_TAG] == State.RUNNING
    assert project.run.info.status == "RUNNING"


def test_a_line_that_is_still_being_written_is_left_for_later(project: Project, run: Run) -> None:
    run.spool.append_metrics([({"loss": 1.0}, 1, 0)])
    run.spool.close()
    path = run.folder / FILE_NAME
    whole = path.read_bytes()
    path.write_bytes(whole + b'{"metrics": {"loss": 0.5}, ')
    sender = Sender(run.folder, run.environment)
    while sender.entries.advance():
        pass
    assert project.read_metric(run.identifier, "loss") == [(1, 1.0)]
    path.write_bytes(whole + b'{"metrics": {"loss": 0.5}, "step": 2, "time": 0}\n')
    assert sender.send_all()
    assert project.read_metric(run.identifier, "loss") == [(1, 1.0), (2, 0.5)]


@pytest.mark.slow
def test_a_killed_sender_is_followed_by_one_that_goes_on_where_it_ended(project: Project, run: Run) -> None:
    count = 3 * LARGEST_BATCH
    run.spool.append_metrics(({"loss": float(step % 7)}, step, step) for step in range(count))
    place = run.folder / "spool.metrics"
    with FileLock(run.folder / RUN_LOCK):  # the run goes on, so this sender does not end by itself
        sender = subprocess.Popen([sys.executable, "-m", "labkit.tracking.sender", str(run.folder)])
        while not place.exists():
            assert sender.poll() is None
            time.sleep(0.01)
        sender.send_signal(signal.SIGKILL)
        sender.wait()
    assert sender.returncode == -signal.SIGKILL
    sent = int(place.read_text())
    assert sent > 0

    # Whoever sent the beginning once more would now send other values.
    path = run.folder / FILE_NAME
    spool = path.read_bytes()
    path.write_bytes(spool[:sent].replace(b'{"loss": ', b'{"lost": ') + spool[sent:])
    run.spool.append_metrics([({"loss": 0.5}, count, 0)])
    assert send(run)
    assert project.read_metric(run.identifier, "loss") == [
        *((step, float(step % 7)) for step in range(count)),
        (count, 0.5),
    ]
    assert project.run.data.metrics.keys() == {"loss"}


def test_an_unreachable_store_loses_nothing(project: Project, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("labkit.tracking.sender.SECONDS_OF_PATIENCE", 0.0)
    run.log_metrics({"loss": 0.5}, step=1)
    run.spool.append({"state": State.FINISHED, "time": 1})
    database = project.path / "mlflow.db"
    hidden = database.rename(database.with_suffix(".away"))
    database.mkdir()  # so that no new database takes its place
    assert not send(run)

    database.rmdir()
    hidden.rename(database)
    assert Sender(run.folder, run.environment).send_all()
    assert project.read_metric(run.identifier, "loss") == [(1, 0.5)]
    assert project.run.info.status == "FINISHED"
