import re
from pathlib import Path

import pytest

from << cookiecutter.package_name >>.evaluate import evaluate
from << cookiecutter.package_name >>.train import train

from .project import Project


def test_a_trained_network_reads_digits(project: Project, capsys: pytest.CaptureFixture[str]) -> None:
    assert train.main(["--seed", "0", "--duration", "15 epochs"]) == 0
    assert evaluate.main([]) == 0

    run = project.run
    assert run.data.metrics["test/accuracy"] >= 0.97
    assert run.info.status == "FINISHED"
    names = [Path(file.path).stem for file in project.store.list_artifacts(run.info.run_id, "figures")]
    assert {"curves", "confusion-test", "weights", "gradients"} <= set(names)
    assert {"scores-validation", "most-wrong-validation", "embedding-validation"} <= set(names)
    assert len([name for name in names if name.startswith("confusion-counts-validation-")]) == 15  # one a validation
    assert len([name for name in names if name.startswith("confusion-rates-validation-")]) == 15
    projector = {Path(file.path).name for file in project.store.list_artifacts(run.info.run_id, "projector")}
    assert projector == {"features.tsv", "classes.tsv", "projector_config.pbtxt"}
    printed = capsys.readouterr().out
    assert f"test/accuracy               {run.data.metrics['test/accuracy']:.4f}\n" in printed
    figure = re.search(r"^figure +(.*)$", printed, re.MULTILINE)
    assert figure
    assert Path(figure[1]).read_bytes().startswith(b"\x89PNG")


def test_a_run_that_failed_before_any_checkpoint_says_so(project: Project, capsys: pytest.CaptureFixture[str]) -> None:
    assert train.main(["--run-id-pretrained", "unheard-of"]) == 2
    run_id = project.run.info.run_id
    capsys.readouterr()
    assert evaluate.main(["--run-id", run_id]) == 2
    assert capsys.readouterr().err == (
        f"evaluate: the run {run_id} has no best.ckpt yet: `train --run-id {run_id}` continues it.\n"
    )


def test_without_a_trained_run_there_is_nothing_to_evaluate(
    project: Project, capsys: pytest.CaptureFixture[str]
) -> None:
    assert evaluate.main([]) == 2
    assert capsys.readouterr().err.startswith("evaluate: no run of `train` has finished in experiment ")
    assert project.runs == []
