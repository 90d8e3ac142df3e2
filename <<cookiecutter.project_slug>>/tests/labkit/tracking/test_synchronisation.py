import pytest
from filelock import FileLock

from labkit.tracking.run import Run
from labkit.tracking.state import RUN_LOCK, STATE_TAG, State
from labkit.tracking.synchronisation import sync_runs
from tests.project import Project


@pytest.fixture
def other(project: Project, run: Run) -> Run:
    """A run beside the first one."""
    assert run.identifier
    return project.make_run()


def record(run: Run) -> None:
    run.spool.append({"state": State.RUNNING, "time": 1})
    run.log_metrics({"loss": 0.5, "accuracy": 0.25}, step=1)
    (run.folder / "result.txt").write_text("result")
    run.log_artifact(run.folder / "result.txt")
    run.spool.append({"state": State.FINISHED, "time": 2})
    run.spool.close()


def test_what_is_left_of_all_runs_is_sent(
    project: Project, run: Run, other: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    record(run)
    record(other)
    assert sync_runs.main([]) == 0
    # The event file of TensorBoard is the second one.
    lines = {f"{each.identifier}  2 metrics and tags and 2 files were sent" for each in (run, other)}
    assert set(capsys.readouterr().out.splitlines()) == {*lines, "2 runs: nothing is left to send."}
    for each in (run, other):
        assert project.read_metric(each.identifier, "loss") == [(1, 0.5)]
        assert project.store.get_run(each.identifier).info.status == "FINISHED"


def test_only_the_named_runs_are_sent(project: Project, run: Run, other: Run) -> None:
    record(run)
    record(other)
    assert sync_runs.main([other.identifier]) == 0
    assert project.read_metric(other.identifier, "loss") == [(1, 0.5)]
    assert project.read_metric(run.identifier, "loss") == []


def test_nothing_is_sent_twice(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    record(run)
    assert sync_runs.main([]) == 0
    capsys.readouterr()
    assert sync_runs.main([]) == 0
    assert capsys.readouterr().out == "1 runs: nothing is left to send.\n"


def test_what_cannot_be_sent_is_said(
    project: Project, run: Run, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("labkit.tracking.sender.SECONDS_OF_PATIENCE", 0.0)
    record(run)
    database = project.path / "mlflow.db"
    hidden = database.rename(database.with_suffix(".away"))
    database.mkdir()  # so that no new database takes its place
    assert sync_runs.main([]) == 1
    output = capsys.readouterr()
    # Files may get there: their store is another one, and its place is known.
    assert output.out.startswith(f"{run.identifier}  0 metrics and tags and ")
    assert f"{run.identifier}  metrics are left: " in output.err
    assert "Of 1 of 1 runs something is left: " in output.err

    database.rmdir()
    hidden.rename(database)
    assert sync_runs.main([]) == 0
    assert project.read_metric(run.identifier, "loss") == [(1, 0.5)]


def test_a_run_that_is_executed_is_left_to_its_own_sender(
    project: Project, run: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    run.log_metrics({"loss": 0.5}, step=1)
    run.spool.close()
    with FileLock(run.folder / RUN_LOCK):
        assert sync_runs.main([]) == 0
    assert capsys.readouterr().out.startswith(f"{run.identifier}  is being executed")
    assert project.read_metric(run.identifier, "loss") == []


def test_a_run_that_ended_without_a_last_word_was_interrupted(project: Project, run: Run) -> None:
    run.spool.append({"state": State.RUNNING, "time": 1})
    run.spool.close()
    assert sync_runs.main([]) == 0
    assert project.run.data.tags[STATE_TAG] == State.INTERRUPTED
    assert project.run.info.status == "SCHEDULED"


@pytest.mark.parametrize("run_id", ["unheard-of", ".", ""])
def test_a_run_that_is_not_here_is_refused(
    project: Project, run: Run, run_id: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run.folder.is_dir()
    assert sync_runs.main([run_id]) == 2
    assert capsys.readouterr().err == (
        f"sync-runs: there is no run '{run_id}' in {project.path / 'runs'}: give the id that `train` printed.\n"
    )
