import json
import re
import sqlite3
from dataclasses import replace
from pathlib import Path

import pytest
from matplotlib.figure import Figure

from labkit.command import UnavailableError, UsageError
from labkit.environment import Environment
from labkit.tracking.run import (
    ENTRY_POINT_TAG,
    LIMIT_OF_BATCH,
    LIMIT_OF_PARAMETER,
    Envelope,
    Run,
    connect,
    create_run,
    find_newest_run,
    find_or_create_experiment,
    open_run,
)
from labkit.tracking.sender import Sender
from labkit.tracking.state import STATE_TAG
from tests.project import Project


def test_a_run_is_in_the_store_before_anything_executes(project: Project, run: Run) -> None:
    stored = project.run
    assert stored.info.run_id == run.identifier
    assert stored.info.run_name == run.name
    assert stored.info.status == "SCHEDULED"
    assert stored.data.params == {"seed": "7", "learning_rate": "0.1"}
    assert stored.data.tags[STATE_TAG] == "created"
    assert stored.data.tags[ENTRY_POINT_TAG] == "train"
    assert project.store.get_experiment(stored.info.experiment_id).name == "experiment"


def test_the_envelope_lies_in_the_folder_and_in_the_store(project: Project, run: Run, tmp_path: Path) -> None:
    envelope = {"entry_point": "train", "arguments": {"learning_rate": 0.1}, "seed": 7}
    copy = Path(project.store.download_artifacts(run.identifier, "envelope.json", str(tmp_path)))
    assert envelope.items() <= json.loads((run.folder / "envelope.json").read_text()).items()
    assert copy.read_bytes() == (run.folder / "envelope.json").read_bytes()


def test_every_argument_arrives_however_many_they_are_and_however_long(project: Project) -> None:
    arguments = {f"weight_{number}": number for number in range(LIMIT_OF_BATCH)}
    text = "long " * LIMIT_OF_PARAMETER
    envelope = Envelope(entry_point="train", arguments={**arguments, "text": text}, seed=0)
    run = create_run(project.environment, envelope, experiment_name="experiment")
    assert project.run.data.params == {
        "seed": "0",
        **{name: str(value) for name, value in arguments.items()},
        "text": text[:LIMIT_OF_PARAMETER],
    }
    assert open_run(project.environment, run.identifier).arguments["text"] == text


def test_a_run_can_be_opened_where_it_was_made(project: Project, run: Run) -> None:
    opened = open_run(project.environment, run.identifier)
    assert opened.envelope == run.envelope
    assert opened.seed == 7
    assert (opened.name, opened.experiment_name, opened.folder) == (run.name, run.experiment_name, run.folder)


def test_a_run_can_be_opened_on_another_machine(project: Project, run: Run, tmp_path: Path) -> None:
    elsewhere = Environment.read({"RUNS_PATH": str(tmp_path / "elsewhere")}, project.path)
    opened = open_run(elsewhere, run.identifier)
    assert opened.envelope == run.envelope
    assert opened.folder == tmp_path / "elsewhere" / run.identifier


def test_a_run_that_is_not_there_is_refused(project: Project) -> None:
    sentence = (
        rf"^there is no run 'nothing' in sqlite:///{project.path}/mlflow\.db: give the id that `train` printed\.$"
    )
    with pytest.raises(UsageError, match=sentence):
        open_run(project.environment, "nothing")
    assert project.runs == []
    assert not (project.path / "runs" / "nothing").exists()


def test_a_run_of_another_program_is_refused(project: Project) -> None:
    experiment = find_or_create_experiment(project.environment, "experiment")
    foreign = project.store.create_run(experiment).info.run_id
    with pytest.raises(UsageError, match=rf"^the run {foreign} has no 'envelope\.json' in the artifact store\.$"):
        open_run(project.environment, foreign)


def test_a_checkpoint_is_fetched_from_the_store_if_it_is_not_here(project: Project, run: Run, tmp_path: Path) -> None:
    here = run.folder / "checkpoints" / "best.ckpt"
    here.parent.mkdir()
    here.write_bytes(b"weights")
    run.log_artifact(here, "checkpoints")
    run.spool.close()
    assert Sender(run.folder, run.environment).send_all()
    assert run.checkpoint("best") == here

    elsewhere = Environment.read({"RUNS_PATH": str(tmp_path / "elsewhere")}, project.path)
    fetched = open_run(elsewhere, run.identifier).checkpoint("best")
    assert fetched == tmp_path / "elsewhere" / run.identifier / "checkpoints" / "best.ckpt"
    assert fetched.read_bytes() == b"weights"
    assert [path.name for path in fetched.parent.iterdir()] == ["best.ckpt"]


def test_that_there_is_no_checkpoint_yet_is_said(run: Run) -> None:
    sentence = f"the run {run.identifier} has no last.ckpt yet: `train --run-id {run.identifier}` continues it."
    with pytest.raises(UsageError, match=f"^{re.escape(sentence)}$"):
        run.checkpoint("last")
    run.has_finished = True
    with pytest.raises(UsageError, match=rf"^the run {run.identifier} has finished without a best\.ckpt: name another"):
        run.checkpoint("best")


@pytest.mark.slow
def test_that_the_store_is_away_is_not_taken_for_an_absent_checkpoint(project: Project, run: Run) -> None:
    database = sqlite3.connect(project.path / "mlflow.db", isolation_level=None)
    database.execute("begin exclusive")
    with pytest.raises(UnavailableError, match=r"^the tracking store sqlite:.* cannot be used .*database is locked"):
        run.checkpoint("last")
    database.close()


def test_a_run_whose_artifacts_are_refused_is_not_made(project: Project, run: Run) -> None:
    artifacts = project.path / "mlruns" / "experiment"
    artifacts.rename(artifacts.with_name("away"))
    artifacts.touch()  # so that there can be no folder
    with pytest.raises(UnavailableError, match=r"^the tracking store sqlite:.* cannot be used \(.*Error: "):
        create_run(project.environment, run.envelope, experiment_name="experiment")
    made = project.runs[0]
    assert made.info.run_id != run.identifier
    assert (made.info.status, made.data.tags[STATE_TAG]) == ("FAILED", "failed")


def test_a_bucket_that_does_not_answer_is_one_sentence_too(
    project: Project, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in {
        "MLFLOW_S3_ENDPOINT_URL": "http://127.0.0.1:1",
        "AWS_ACCESS_KEY_ID": "key",
        "AWS_SECRET_ACCESS_KEY": "secret",
        "AWS_MAX_ATTEMPTS": "1",
    }.items():
        monkeypatch.setenv(name, value)
    project.store.create_experiment("in a bucket", artifact_location="s3://bucket/folder")
    with pytest.raises(UnavailableError, match=r"^the tracking store sqlite:.* cannot be used \(.*127\.0\.0\.1:1"):
        create_run(project.environment, run.envelope, experiment_name="in a bucket")
    assert {made.info.status for made in project.runs} == {"SCHEDULED", "FAILED"}


def test_the_history_is_what_was_recorded(run: Run) -> None:
    assert run.history == {}
    run.log_metrics({"train/loss": 1.0}, step=1)
    run.log_metrics({"train/loss": 0.5}, step=2)
    assert run.history == {"train/loss": ([1, 2], [1.0, 0.5])}


def test_a_figure_is_kept_as_a_picture(run: Run) -> None:
    path = run.log_figure("curves", Figure())
    assert path == run.folder / "figures" / "curves.png"
    assert path.read_bytes().startswith(b"\x89PNG")


def test_the_run_that_finished_last_is_found(project: Project) -> None:
    def finish(entry_point: str, experiment: str, state: str, time: int) -> str:
        envelope = Envelope(entry_point=entry_point, arguments={}, seed=0)
        run = create_run(project.environment, envelope, experiment_name=experiment)
        project.store.set_terminated(run.identifier, state, time)
        return run.identifier

    late = finish("train", "experiment", "FINISHED", 2000)
    finish("train", "experiment", "FINISHED", 1000)
    finish("train", "experiment", "FAILED", 3000)
    finish("evaluate", "experiment", "FINISHED", 3000)
    finish("train", "another", "FINISHED", 3000)
    assert find_newest_run(project.environment, "experiment", "train").identifier == late


@pytest.mark.parametrize("experiment", ["experiment", "nothing"])
def test_without_a_finished_run_there_is_none_to_find(project: Project, run: Run, experiment: str) -> None:
    assert run.experiment_name == "experiment"
    with pytest.raises(
        UsageError, match=rf"^no run of `train` has finished in experiment '{experiment}': run it first"
    ):
        find_newest_run(project.environment, experiment, "train")


def test_files_of_a_local_store_lie_in_the_project(
    project: Project, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "notebooks").mkdir()
    monkeypatch.chdir(tmp_path / "notebooks")
    identifier = find_or_create_experiment(Environment.read(), "an experiment")
    assert (
        project.store.get_experiment(identifier).artifact_location == (project.path / "mlruns/an experiment").as_uri()
    )
    assert find_or_create_experiment(Environment.read(), "an experiment") == identifier


def test_a_run_that_mlflow_made_is_taken_over(project: Project) -> None:
    experiment = find_or_create_experiment(project.environment, "experiment of mlflow")
    made = project.store.create_run(experiment)
    project.store.log_param(made.info.run_id, "learning_rate", "0.10")
    environment = Environment.read({"MLFLOW_RUN_ID": made.info.run_id}, project.path)
    envelope = Envelope(entry_point="train", arguments={"learning_rate": 0.1, "width": 8}, seed=3)
    run = create_run(environment, envelope, experiment_name="another", run_name="a name")
    assert (run.identifier, run.name, run.experiment_name) == (made.info.run_id, "a name", "experiment of mlflow")
    assert project.run.data.params == {"learning_rate": "0.10", "width": "8", "seed": "3"}
    assert project.run.info.run_name == "a name"
    assert open_run(project.environment, run.identifier).arguments == {"learning_rate": 0.1, "width": 8}


@pytest.mark.parametrize("name", ["../[/x]", "/tmp/x", "..", "a/b"])
def test_the_name_of_an_experiment_leads_nowhere(project: Project, name: str) -> None:
    run = create_run(project.environment, Envelope(entry_point="train", arguments={}, seed=1), experiment_name=name)
    (folder,) = (project.path / "mlruns").iterdir()
    assert [path.name for path in folder.iterdir()] == [run.identifier]
    assert project.store.get_experiment_by_name(name) is not None


def test_a_folder_that_mlflow_cannot_work_in_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "Ada's"
    with pytest.raises(UsageError, match=r"MLflow can keep no store in .*, because of the ' in its path"):
        connect(Environment.read({}, folder))


def test_the_password_of_the_store_is_in_no_sentence(project: Project) -> None:
    hidden = replace(project.environment, further_secrets=(project.path.name,))
    with pytest.raises(UsageError) as refusal:
        open_run(hidden, "nothing")
    assert project.path.name not in str(refusal.value)


def test_an_experiment_that_was_deleted_is_said_to_be(project: Project, run: Run) -> None:
    experiment = project.store.get_run(run.identifier).info.experiment_id
    project.store.delete_experiment(experiment)
    sentence = (
        rf"^the experiment 'experiment' was deleted: restore it with `mlflow experiments restore -x {experiment}`"
    )
    with pytest.raises(UsageError, match=sentence):
        project.make_run()
