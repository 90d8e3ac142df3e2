from pathlib import Path

import torch

from << cookiecutter.package_name >>.clip import MOTIONS
from << cookiecutter.package_name >>.evaluate import evaluate
from << cookiecutter.package_name >>.train import train

from .project import Project


def test_a_trained_network_knows_how_digits_move(project: Project) -> None:
    assert train.main(["--seed", "0", "--duration", "3 epochs", "--validation-every", "3 epochs"]) == 0
    assert evaluate.main(["--export", "torch"]) == 0

    run = project.run
    assert run.data.metrics["test/accuracy"] >= 0.6  # after so short a training
    figures = {Path(file.path).stem for file in project.store.list_artifacts(run.info.run_id, "figures")}
    assert figures == {"curves", "confusion-validation", "clips-validation", "confusion-test"}
    export = project.path / "runs" / run.info.run_id / "exports" / "best.pt2"
    assert torch.export.load(export).module()(torch.zeros(3, 1, 6, 12, 12)).shape == (3, len(MOTIONS))
