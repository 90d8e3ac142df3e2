from pathlib import Path

import torch

from << cookiecutter.package_name >>.evaluate import evaluate
from << cookiecutter.package_name >>.train import train

from .project import Project


def test_a_trained_network_knows_the_arms_of_a_spiral(project: Project) -> None:
    assert train.main(["--seed", "0", "--duration", "20 epochs", "--validation-every", "10 epochs"]) == 0
    assert evaluate.main(["--export", "torch"]) == 0

    run = project.run
    assert run.data.metrics["test/accuracy"] >= 0.9  # after so short a training
    names = {Path(file.path).name for file in project.store.list_artifacts(run.info.run_id, "figures")}
    # One boundary a validation.
    assert names == {"boundaries-000150.png", "boundaries-000300.png", "curves.png", "confusion-test.png"}
    export = project.path / "runs" / run.info.run_id / "exports" / "best.pt2"
    assert torch.export.load(export).module()(torch.zeros(4, 2)).shape == (4, 3)
