"""What holds for the programs of every study that a project can begin with."""

import pytest
import torch

from << cookiecutter.package_name >>.train import make_task, train

from .project import Project

HEAVY = {"torch", "lightning", "mlflow", "numpy", "matplotlib", "sklearn", "tensorboard", "PIL"}


@pytest.mark.parametrize("name", ["prepare", "train", "evaluate", "recipe"])
def test_help_answers_without_what_takes_long_to_import(project: Project, name: str) -> None:
    done = project.execute("-X", "importtime", "-m", f"<< cookiecutter.package_name >>.{name}", "--help")
    assert done.returncode == 0
    assert done.stdout.startswith(f"usage: {name} ")
    imported = {line.rpartition("|")[2].strip().partition(".")[0] for line in done.stderr.splitlines()}
    assert "labkit" in imported
    assert imported & HEAVY == set()


@pytest.mark.parametrize(
    ("words", "limits"),
    [
        (["--learning-rate", "nan"], "--learning-rate is nan: it takes a number above 0."),
        (["--learning-rate", "-0.1"], "--learning-rate is -0.1: it takes a number above 0."),
        (["--batch-size", "0"], "--batch-size is 0: it takes a number from "),
        (["--fold", "4"], "--fold is 4: it takes a number from 0 to 3."),
    ],
)
def test_numbers_that_make_no_sense_are_refused_before_there_is_a_run(
    project: Project, words: list[str], limits: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert train.main(words) == 2
    assert capsys.readouterr().err.startswith(f"train: {limits}")
    assert project.runs == []


def test_the_same_seed_gives_the_same_weights_and_another_seed_others(project: Project) -> None:
    from labkit.training.duration import Duration

    def learn(seed: int) -> dict[str, torch.Tensor]:
        run = project.make_run(seed=seed)
        train(run, architecture="mlp", duration=Duration(3, "steps"), validation_every=Duration(3, "steps"))
        return torch.load(run.checkpoint("last"), weights_only=True)["state_dict"]

    first, second, other = learn(0), learn(0), learn(1)
    assert first.keys() == second.keys() == other.keys()
    for name, weights in first.items():
        assert torch.equal(weights, second[name]), name
        assert not torch.equal(weights, other[name]), name


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
