import os
import shutil
import sys
from pathlib import Path

import pytest

from << cookiecutter.package_name >>.train import train

from .project import ROOT, Project


def test_the_optimizer_the_schedule_and_the_precision_can_be_chosen(project: Project) -> None:
    choices = ["--optimizer", "SGD(momentum=0.9)", "--scheduler", "StepLR(step_size=1)", "--precision", "bf16-true"]
    assert train.main(["--architecture", "mlp", "--fast-dev-run", *choices]) == 0
    parameters = project.run.data.params
    assert (parameters["optimizer"], parameters["scheduler"]) == ("SGD(momentum=0.9)", "StepLR(step_size=1)")
    assert project.read_metric(project.run.info.run_id, "train/learning_rate_step") == [(1, pytest.approx(0.001))]


def test_mlflow_runs_the_entry_point_as_one_run(project: Project) -> None:
    shutil.copy(ROOT / "MLproject", project.path)
    done = project.execute(
        *("-m", "mlflow", "run", ".", "--env-manager", "local", "-e", "train"),
        *("-P", "learning-rate=0.02", "-P", "architecture=mlp", "-P", "duration=3 steps"),
        MLFLOW_TRACKING_URI=project.environment.mlflow_tracking_uri,
        PATH=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
    )
    assert done.returncode == 0, done.stderr
    assert project.run.info.status == "FINISHED"
    assert project.run.data.params["learning_rate"] == "0.02"
    assert len(project.read_metric(project.run.info.run_id, "train/loss_step")) == 3


def test_a_run_can_begin_with_the_weights_of_another_one(project: Project, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["--architecture", "mlp", "--duration", "1 epoch"]
    assert train.main(words) == 0
    run_id = project.run.info.run_id
    assert train.main([*words, "--run-id-pretrained", run_id]) == 0
    later, earlier = project.runs
    assert later.data.params["run_id_pretrained"] == earlier.info.run_id == run_id
    assert later.data.tags["labkit.pretrained"] == f"{run_id}/best.ckpt, step 17"
    losses = [project.read_metric(run.info.run_id, "train/loss_step")[0][1] for run in (earlier, later)]
    assert losses[1] < losses[0]

    capsys.readouterr()
    assert train.main(["--run-id-pretrained", run_id, "--may-be-missing", "model.0.*", "model.8.*"]) == 2
    (sentence,) = capsys.readouterr().err.splitlines()
    assert sentence.startswith("train: the checkpoint ")
    assert sentence.endswith(
        "it lacks 'model.3.weight', 'model.3.bias'; the model lacks 'model.1.weight', 'model.1.bias'."
    )
