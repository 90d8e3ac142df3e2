from pathlib import Path

import numpy as np
import pytest

from << cookiecutter.package_name >>.evaluate import evaluate
from << cookiecutter.package_name >>.train import train

from .project import Project


def test_a_word_that_was_never_learned_is_found_by_example(project: Project) -> None:
    words = ["--seed", "0", "--batch-size", "64", "--duration", "60 steps", "--validation-every", "60 steps"]
    assert train.main(words) == 0
    assert evaluate.main([]) == 0

    run = project.run
    assert run.data.metrics["test/map"] >= 0.3  # after so short a training
    with np.load(project.path / "runs" / run.info.run_id / "predictions" / "test-best.npz") as file:
        similarity = file["prediction"] @ file["prediction"].T
        np.fill_diagonal(similarity, -1)
        found = file["target"][similarity.argmax(axis=1)] == file["target"]
    assert found.mean() == pytest.approx(run.data.metrics["test/precision_at_1"])
    names = [Path(file.path).stem for file in project.store.list_artifacts(run.info.run_id, "figures")]
    assert sorted(names) == ["curves", "embedding-validation", "neighbours-validation"]
