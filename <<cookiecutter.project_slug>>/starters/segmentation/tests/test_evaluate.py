from pathlib import Path

import numpy as np
import pytest

from << cookiecutter.package_name >>.evaluate import evaluate
from << cookiecutter.package_name >>.train import train

from .project import Project


def test_a_trained_network_finds_the_pixels_of_digits(project: Project) -> None:
    assert train.main(["--seed", "0", "--duration", "2 epochs", "--validation-every", "2 epochs"]) == 0
    assert evaluate.main([]) == 0

    run = project.run
    assert run.data.metrics["test/iou"] >= 0.15  # after so short a training
    with np.load(project.path / "runs" / run.info.run_id / "predictions" / "test-best.npz") as file:
        assert file["target"].shape == (200, 32, 32)
        assert (file["prediction"] == file["target"]).mean() == pytest.approx(run.data.metrics["test/accuracy"])
    names = [Path(file.path).stem for file in project.store.list_artifacts(run.info.run_id, "figures")]
    assert sorted(names) == ["confusion-test", "confusion-validation", "curves", "masks-validation"]
