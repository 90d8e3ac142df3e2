import os
import shutil
import sys
from pathlib import Path

import pytest
import torch

from << cookiecutter.package_name >>.train import make_task, train

from .project import ROOT, Project

HEAVY = {"torch", "lightning", "mlflow", "numpy", "matplotlib", "sklearn", "tensorboard"}


def test_help_answers_without_what_takes_long_to_import(project: Project) -> None:
    done = project.execute("-X", "importtime", "-m", train.__module__, "--help")
    assert done.returncode == 0
    assert done.stdout.startswith("usage: train ")
    assert "--learning-rate" in done.stdout
    imported = {line.rpartition("|")[2].strip().partition(".")[0] for line in done.stderr.splitlines()}
    assert "labkit" in imported
    assert imported & HEAVY == set()


def test_the_same_seed_gives_the_same_weights_and_another_seed_others(project: Project) -> None:
    from labkit.training.duration import Duration

    def learn(seed: int) -> dict[str, torch.Tensor]:
        run = project.make_run(seed=seed)
        train(run, architecture="mlp", duration=Duration(2, "epochs"))
        return torch.load(run.checkpoint("last"), weights_only=True)["state_dict"]

    first, second, other = learn(0), learn(0), learn(1)
    assert first.keys() == second.keys() == other.keys()
    for name, weights in first.items():
        assert torch.equal(weights, second[name]), name
        assert not torch.equal(weights, other[name]), name


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


@pytest.mark.parametrize(
    ("words", "limits"),
    [
        (["--learning-rate", "nan"], "--learning-rate is nan: it takes a number above 0."),
        (["--learning-rate", "-0.1"], "--learning-rate is -0.1: it takes a number above 0."),
        (["--batch-size", "0"], "--batch-size is 0: it takes a number from 1."),
        (["--workers", "-1"], "--workers is -1: it takes a number from 0."),
    ],
)
def test_numbers_that_make_no_sense_are_refused_before_there_is_a_run(
    project: Project, words: list[str], limits: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert train.main(words) == 2
    assert capsys.readouterr().err == f"train: {limits}\n"
    assert project.runs == []


def test_the_schedule_rises_to_the_learning_rate_and_falls() -> None:
    task = make_task("mlp", learning_rate=0.5)
    task.steps = 10
    parts = task.configure_optimizers()
    rates: list[float] = []
    for _ in range(10):
        rates.append(parts["optimizer"].param_groups[0]["lr"])
        parts["optimizer"].step()
        parts["lr_scheduler"]["scheduler"].step()
    peak = rates.index(max(rates))
    assert max(rates) == pytest.approx(0.5)
    assert rates == sorted(rates[: peak + 1]) + sorted(rates[peak + 1 :], reverse=True)
