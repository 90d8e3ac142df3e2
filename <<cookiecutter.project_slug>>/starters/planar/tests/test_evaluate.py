from pathlib import Path

import pytest
import torch

from << cookiecutter.package_name >>.evaluate import evaluate
from << cookiecutter.package_name >>.train import train

from .project import Project


def test_a_trained_network_knows_the_arms_of_a_spiral(project: Project) -> None:
    assert train.main(["--seed", "0", "--validation-every", "25 epochs"]) == 0
    assert evaluate.main(["--export", "torch"]) == 0

    run = project.run
    assert run.data.metrics["test/accuracy"] >= 0.97
    names = {Path(file.path).name for file in project.store.list_artifacts(run.info.run_id, "figures")}
    # One boundary a validation.
    assert names == {"boundaries-000375.png", "boundaries-000750.png", "curves.png", "confusion-test.png"}
    export = project.path / "runs" / run.info.run_id / "exports" / "best.pt2"
    assert torch.export.load(export).module()(torch.zeros(4, 2)).shape == (4, 3)


@pytest.mark.parametrize(("distribution", "least", "most"), [("diagonal", 0.95, 1.0), ("xor", 0.2, 0.6)])
def test_straight_lines_part_what_they_can(project: Project, distribution: str, least: float, most: float) -> None:
    words = ["--data", distribution, "--architecture", "linear", "--learning-rate", "0.1", "--seed", "0"]
    assert train.main([*words, "--duration", "20 epochs", "--validation-every", "20 epochs"]) == 0
    assert least <= project.run.data.metrics["validation/accuracy"] <= most
