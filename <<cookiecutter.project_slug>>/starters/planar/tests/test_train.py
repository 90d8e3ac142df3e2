import pytest
import torch

from << cookiecutter.package_name >>.train import train

from .project import Project

HEAVY = {"torch", "lightning", "mlflow", "numpy", "matplotlib", "sklearn", "tensorboard"}


@pytest.mark.parametrize("name", ["prepare", "train", "recipe"])
def test_help_answers_without_what_takes_long_to_import(project: Project, name: str) -> None:
    module = train.__module__.replace("train", name)
    done = project.execute("-X", "importtime", "-m", module, "--help")
    assert done.returncode == 0
    assert done.stdout.startswith(f"usage: {name} ")
    imported = {line.rpartition("|")[2].strip().partition(".")[0] for line in done.stderr.splitlines()}
    assert "labkit" in imported
    assert imported & HEAVY == set()


def test_the_same_seed_gives_the_same_weights_and_another_seed_others(project: Project) -> None:
    from labkit.training.duration import Duration

    def learn(seed: int) -> dict[str, torch.Tensor]:
        run = project.make_run(seed=seed)
        train(run, duration=Duration(2, "epochs"))
        return torch.load(run.checkpoint("last"), weights_only=True)["state_dict"]

    first, second, other = learn(0), learn(0), learn(1)
    for name, weights in first.items():
        assert torch.equal(weights, second[name]), name
        assert not torch.equal(weights, other[name]), name
