"""What happens to a run's records while the store, the disk or the sender itself fails."""

import contextlib
import os
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest
from filelock import FileLock

from labkit.command import UnavailableError
from labkit.tracking.attempt import attempt
from labkit.tracking.run import Run, create_run, open_run
from labkit.tracking.sender import SENDER_LOCK, Sender
from labkit.tracking.spool import Spool, read_history
from labkit.tracking.state import RUN_LOCK, STATE_TAG, State, read_state
from labkit.tracking.upload import GrowingFiles, frozen
from tests.project import Project
from tests.small_disk import SmallDisk

STEPS = 500

HOLD_DATABASE = """
import sqlite3, sys, time
database = sqlite3.connect("mlflow.db", isolation_level=None)
database.execute("begin exclusive")
print("locked", flush=True)
sys.stdin.read()
"""

RECORD = f"""
import sys, time
from labkit.environment import Environment
from labkit.tracking.attempt import attempt
from labkit.tracking.run import open_run
run = open_run(Environment.read(), sys.argv[1])
with attempt(run):
    for step in range({STEPS}):
        run.log_metrics({{"loss": step / 7, "rate": -step / 3}}, step)
    print("recorded", flush=True)
    while "wait" in sys.argv:
        time.sleep(0.01)
"""


def send(run: Run) -> Sender:
    """Send all that a run has to say, once no process works on it any more."""
    run.spool.close()
    sender = Sender(run.folder, run.environment)
    sender.send_all()
    return sender


def start_recording(run: Run, *words: str) -> "subprocess.Popen[str]":
    """Record steps in a process of its own, and return when it has done so."""
    process = subprocess.Popen(
        [sys.executable, "-c", RECORD, run.identifier, *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout
    assert process.stdout.readline() == "recorded\n"
    return process


def assert_complete(project: Project, run: Run) -> None:
    assert project.read_metric(run.identifier, "loss") == [(step, step / 7) for step in range(STEPS)]
    assert project.read_metric(run.identifier, "rate") == [(step, -step / 3) for step in range(STEPS)]


def await_state(project: Project, state: State) -> None:
    while project.run.data.tags[STATE_TAG] != state:
        time.sleep(0.02)


def find_sender(folder: Path) -> int:
    """Return the process id of the sender of a run's folder, as soon as there is one: it holds a lock."""
    while True:
        for file in Path("/proc").glob("[0-9]*/fd/*"):
            with contextlib.suppress(OSError):  # of a process that has just ended
                if file.readlink() == folder / SENDER_LOCK:
                    return int(file.parts[2])
        time.sleep(0.02)


@pytest.mark.slow
def test_a_database_that_another_process_holds_for_a_while_gets_everything(project: Project, run: Run) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", HOLD_DATABASE], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as holder:
        assert holder.stdout
        assert holder.stdout.readline() == "locked\n"
        with attempt(run) as outcome:
            for step in range(STEPS):
                run.log_metrics({"loss": step / 7, "rate": -step / 3}, step)
            while not (run.folder / "sender.log").read_text().count("database is locked"):
                time.sleep(0.02)
            holder.communicate("")
    assert outcome.exit_code == 0
    assert_complete(project, run)
    assert project.run.info.status == "FINISHED"


@pytest.mark.slow
def test_a_store_that_cannot_be_used_is_one_sentence_before_anything_begins(project: Project, run: Run) -> None:
    database = sqlite3.connect(project.path / "mlflow.db", isolation_level=None)
    database.execute("begin exclusive")
    with pytest.raises(UnavailableError, match=r"^the tracking store sqlite:.* cannot be used .*database is locked"):
        create_run(run.environment, run.envelope, experiment_name="experiment")
    database.close()


def test_artifacts_that_are_refused_hold_up_neither_metrics_nor_the_state(
    project: Project, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("labkit.tracking.sender.SECONDS_OF_PATIENCE", 0.0)
    artifacts = Path(str(project.run.info.artifact_uri).removeprefix("file://"))
    hidden = artifacts.rename(artifacts.with_name("away"))
    artifacts.touch()  # so that there can be no folder
    (run.folder / "result.txt").write_text("result")
    run.log_artifact(run.folder / "result.txt")
    run.log_metrics({"loss": 0.5}, step=1)
    run.spool.append({"state": State.FINISHED, "time": 1})
    sender = send(run)
    assert not sender.has_sent_all
    assert sender.errors.keys() == {"files", "logs"}
    assert project.read_metric(run.identifier, "loss") == [(1, 0.5)]
    assert project.run.info.status == "FINISHED"

    artifacts.unlink()
    hidden.rename(artifacts)
    assert send(run).has_sent_all
    assert (artifacts / "result.txt").read_text() == "result"


@pytest.mark.slow
@pytest.mark.parametrize("place", [b"", b"0"])
def test_a_sender_that_dies_before_it_notes_its_place_sends_nothing_twice(
    project: Project, run: Run, place: bytes
) -> None:
    run.spool.append({"state": State.RUNNING, "time": 1})
    run.spool.append_metrics(({"loss": step / 7, "rate": -step / 3}, step, step) for step in range(STEPS))
    run.spool.append({"state": State.FINISHED, "time": 2})
    assert send(run).has_sent_all
    (run.folder / "spool.metrics").write_bytes(place)
    sender = send(run)
    assert sender.entries.sent == 2 * STEPS
    assert_complete(project, run)
    assert project.run.info.status == "FINISHED"


@pytest.mark.slow
def test_two_senders_send_nothing_twice(project: Project, run: Run) -> None:
    run.spool.append_metrics(({"loss": step / 7, "rate": -step / 3}, step, step) for step in range(STEPS))
    run.spool.close()
    senders = [subprocess.Popen([sys.executable, "-m", "labkit.tracking.sender", str(run.folder)]) for _ in range(2)]
    assert [sender.wait() for sender in senders] == [0, 0]
    assert_complete(project, run)


@pytest.mark.slow
def test_a_run_that_is_killed_is_interrupted_and_then_running_again(project: Project, run: Run) -> None:
    process = start_recording(run, "wait")
    await_state(project, State.RUNNING)
    assert project.run.info.status == "RUNNING"
    process.kill()
    process.communicate()
    await_state(project, State.INTERRUPTED)
    assert_complete(project, run)
    assert project.run.info.status == "SCHEDULED"

    again = start_recording(run)
    assert again.communicate() == ("", "")
    assert again.returncode == 0
    assert project.run.info.status == "FINISHED"
    assert_complete(project, run)


@pytest.mark.slow
def test_the_log_of_a_run_that_is_killed_is_kept(project: Project, run: Run) -> None:
    process = start_recording(run, "wait")
    process.kill()
    process.communicate()
    await_state(project, State.INTERRUPTED)
    (path,) = (Path(project.store.download_artifacts(run.identifier, "logs"))).iterdir()
    assert path.name == "attempt-1.txt"
    assert path.read_text() == "recorded\n"


@pytest.mark.slow
def test_a_run_that_is_killed_with_its_sender_is_corrected_when_it_is_opened(project: Project, run: Run) -> None:
    process = start_recording(run, "wait")
    await_state(project, State.RUNNING)
    os.kill(find_sender(run.folder), signal.SIGKILL)
    process.kill()
    process.communicate()
    assert project.run.data.tags[STATE_TAG] == State.RUNNING

    open_run(project.environment, run.identifier)
    assert project.run.data.tags[STATE_TAG] == State.INTERRUPTED
    assert project.run.info.status == "SCHEDULED"
    assert read_state(run.folder) is State.INTERRUPTED


def test_a_run_that_is_executed_is_not_corrected(project: Project, run: Run) -> None:
    run.spool.append({"state": State.RUNNING, "time": 1})
    with FileLock(run.folder / RUN_LOCK):
        open_run(project.environment, run.identifier)
    assert read_state(run.folder) is State.RUNNING


@pytest.mark.slow
def test_a_sender_that_was_killed_is_followed_by_another_when_the_run_ends(project: Project, run: Run) -> None:
    with attempt(run) as outcome:
        for step in range(STEPS):
            run.log_metrics({"loss": step / 7, "rate": -step / 3}, step)
        os.kill(find_sender(run.folder), signal.SIGKILL)
    assert outcome.exit_code == 0
    assert_complete(project, run)
    assert project.run.info.status == "FINISHED"


def test_damaged_lines_are_left_out_and_named(project: Project, run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    run.log_metrics({"before": 1.0}, step=1)
    with (run.folder / "spool.jsonl").open("ab") as file:
        file.write(b'{"metrics": {"half": 1.\n\x00\xff\n[1, 2]\n"text"\n{"metrics": "none", "step": 1, "time": 0}\n')
    run.log_metrics({"after": 2.0}, step=2)
    run.spool.append({"state": "unheard of", "time": 1})
    sender = send(run)
    assert sender.has_sent_all
    assert sender.refusals == 6
    assert project.run.data.metrics == {"before": 1.0, "after": 2.0}
    assert capsys.readouterr().err.count("refused, and left out: a record of an unknown kind") == 6


def test_a_run_that_was_deleted_loses_nothing(project: Project, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("labkit.tracking.sender.SECONDS_OF_PATIENCE", 0.0)
    run.log_metrics({"loss": 0.5}, step=1)
    project.store.delete_run(run.identifier)
    sender = send(run)
    assert not sender.has_sent_all
    assert "is deleted in the store" in str(sender.errors["metrics"])

    project.store.restore_run(run.identifier)
    assert send(run).has_sent_all
    assert project.read_metric(run.identifier, "loss") == [(1, 0.5)]


def test_of_a_file_that_is_recorded_many_times_only_the_newest_is_sent(project: Project, run: Run) -> None:
    path = run.folder / "checkpoints" / "last.ckpt"
    path.parent.mkdir()
    for step in range(100):
        path.write_text(f"{step}")
        run.log_artifact(path, "checkpoints")
    assert send(run).files.sent == 1
    assert Path(project.store.download_artifacts(run.identifier, "checkpoints/last.ckpt")).read_text() == "99"


def test_a_file_that_is_replaced_while_it_is_sent_stays_whole(tmp_path: Path) -> None:
    path = tmp_path / "last.ckpt"
    path.write_text("old")
    with frozen(path, tmp_path) as held:
        (tmp_path / "new").write_text("new")
        (tmp_path / "new").replace(path)
        assert held.name == "last.ckpt"
        assert held.read_text() == "old"
    assert not held.exists()


def test_logs_are_sent_while_they_grow_and_only_then(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("labkit.tracking.upload.SECONDS_BETWEEN_UPLOADS", 0.0)
    monkeypatch.setattr("labkit.tracking.upload.SHARE_OF_TIME", 1e9)
    log = tmp_path / "logs" / "attempt-1.txt"
    log.parent.mkdir()
    sent: list[tuple[str, str, str]] = []

    def upload(path: Path, folder: str) -> None:
        sent.append((folder, path.name, path.read_text()))

    log.write_text("one\n")
    files = GrowingFiles(tmp_path, upload)
    assert files.advance("logs/*", is_last=False) == 1
    assert files.advance("logs/*", is_last=False) == 0
    log.write_text("one\ntwo\n")
    assert GrowingFiles(tmp_path, upload).advance("logs/*", is_last=False) == 1
    assert GrowingFiles(tmp_path, upload).advance("logs/*", is_last=True) == 0
    assert sent == [("logs", "attempt-1.txt", "one\n"), ("logs", "attempt-1.txt", "one\ntwo\n")]


@pytest.mark.slow
def test_a_sender_waits_for_the_one_before(run: Run) -> None:
    run.spool.close()
    with FileLock(run.folder / SENDER_LOCK):
        sender = subprocess.Popen([sys.executable, "-m", "labkit.tracking.sender", str(run.folder)])
        with pytest.raises(subprocess.TimeoutExpired):
            sender.wait(5)
    assert sender.wait() == 0


def test_a_full_disk_stops_no_step_and_loses_none_of_them(
    small_disk: SmallDisk, capsys: pytest.CaptureFixture[str]
) -> None:
    with Spool(small_disk.path) as spool:
        small_disk.fill(room=8192)
        for step in range(STEPS):
            spool.append_metrics([({"loss": step / 7}, step, step)])
        assert capsys.readouterr().err == (
            f"The disk is full: {small_disk.path / 'spool.jsonl'} waits in memory until there is room.\n"
        )
        with pytest.raises(OSError, match="No space left on device"):
            spool.flush()
        assert len(read_history(spool.path)["loss"][0]) < STEPS
        small_disk.clear()
        spool.append_metrics([({"loss": 0.0}, STEPS, 0)])
    steps, values = read_history(small_disk.path / "spool.jsonl")["loss"]
    assert steps == list(range(STEPS + 1))
    assert values == [*(step / 7 for step in range(STEPS)), 0.0]
