from pathlib import Path

import torch

from << cookiecutter.package_name >>.evaluate import evaluate
from << cookiecutter.package_name >>.passage import TOPICS
from << cookiecutter.package_name >>.train import train

from .project import Project


def test_a_trained_network_knows_what_a_text_is_about(project: Project) -> None:
    assert train.main(["--seed", "0", "--duration", "3 epochs", "--validation-every", "3 epochs"]) == 0
    assert evaluate.main(["--export", "torch"]) == 0

    run = project.run
    assert run.data.metrics["test/accuracy"] >= 0.6  # after so short a training
    figures = {Path(file.path).stem for file in project.store.list_artifacts(run.info.run_id, "figures")}
    assert figures == {"curves", "confusion-validation", "scores-validation", "confusion-test"}
    texts = project.path / "runs" / run.info.run_id / "texts"
    wrong = (texts / "most-wrong-validation.txt").read_text().strip().split("\n\n")
    assert len(wrong) == 16
    assert wrong[0].partition(" (")[0] in TOPICS
    assert (texts / "vocabulary.txt").read_text().startswith("<padding>\n<unknown>\nthe\n")
    export = project.path / "runs" / run.info.run_id / "exports" / "best.pt2"
    assert torch.export.load(export).module()(torch.ones(3, 64, dtype=torch.long)).shape == (3, len(TOPICS))
