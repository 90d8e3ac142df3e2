import math

import pytest
import torch

from << cookiecutter.package_name >>.data import NAMES
from << cookiecutter.package_name >>.train import make_task, train

from .project import Project

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
        train(run, architecture="mlp", duration=Duration(3, "steps"), validation_every=Duration(3, "steps"))
        return torch.load(run.checkpoint("last"), weights_only=True)["state_dict"]

    first, second, other = learn(0), learn(0), learn(1)
    assert first.keys() == second.keys() == other.keys()
    for name, weights in first.items():
        assert torch.equal(weights, second[name]), name
        assert not torch.equal(weights, other[name]), name


def test_each_pixel_is_given_a_class() -> None:
    masks = torch.randint(len(NAMES), (4, 32, 32))
    result = make_task("mlp").compute([torch.rand(4, 1, 32, 32), masks])
    assert result.prediction.shape == masks.shape
    assert result.loss.item() == pytest.approx(math.log(len(NAMES)), abs=0.2)


@pytest.mark.parametrize(
    ("words", "limits"),
    [
        (["--learning-rate", "nan"], "--learning-rate is nan: it takes a number above 0."),
        (["--batch-size", "0"], "--batch-size is 0: it takes a number from 1."),
    ],
)
def test_numbers_that_make_no_sense_are_refused_before_there_is_a_run(
    project: Project, words: list[str], limits: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert train.main(words) == 2
    assert capsys.readouterr().err == f"train: {limits}\n"
    assert project.runs == []
