from pathlib import Path

import numpy as np
import pytest

from << cookiecutter.package_name >>.data import find_parts
from << cookiecutter.package_name >>.evaluate import evaluate
from << cookiecutter.package_name >>.train import train

from .project import Project


def test_a_trained_network_draws_a_digit_again_from_few_numbers(project: Project) -> None:
    assert train.main(["--seed", "0", "--duration", "8 epochs", "--validation-every", "8 epochs"]) == 0
    assert evaluate.main([]) == 0

    run = project.run
    assert run.data.metrics["test/loss"] <= 0.03  # after so short a training
    with np.load(project.path / "runs" / run.info.run_id / "predictions" / "test-best.npz") as file:
        images = find_parts(project.environment).test.tensors[0].numpy()
        assert np.array_equal(file["target"], images)
        assert ((file["prediction"] - images) ** 2).mean() == pytest.approx(run.data.metrics["test/loss"])
    names = [Path(file.path).stem for file in project.store.list_artifacts(run.info.run_id, "figures")]
    assert {"curves", "reconstructions-validation", "t-sne-in-2-dimensions-validation", "weights"} <= set(names)
