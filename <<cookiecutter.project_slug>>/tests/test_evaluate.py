import re
from pathlib import Path

import numpy as np
import pytest
import torch

from << cookiecutter.package_name >>.digits import fold_by_image, read_digits
from << cookiecutter.package_name >>.evaluate import evaluate
from << cookiecutter.package_name >>.prepare import write
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
    assert {"scores-validation", "most-wrong-validation", "t-sne-in-3-dimensions-validation"} <= set(names)
    assert len([name for name in names if name.startswith("confusion-counts-validation-")]) == 15  # one a validation
    assert len([name for name in names if name.startswith("confusion-rates-validation-")]) == 15
    projector = {Path(file.path).name for file in project.store.list_artifacts(run.info.run_id, "projector")}
    assert projector == {"features.tsv", "classes.tsv", "projector_config.pbtxt"}
    printed = capsys.readouterr().out
    assert f"test/accuracy               {run.data.metrics['test/accuracy']:.4f}\n" in printed
    figure = re.search(r"^figure +(.*)$", printed, re.MULTILINE)
    assert figure
    assert Path(figure[1]).read_bytes().startswith(b"\x89PNG")


def test_every_split_and_checkpoint_can_be_evaluated_and_a_second_test_is_called_one(
    project: Project, capsys: pytest.CaptureFixture[str]
) -> None:
    assert train.main(["--seed", "0", "--architecture", "mlp", "--duration", "2 epochs"]) == 0
    capsys.readouterr()
    for words in (["--split", "validation", "--checkpoint", "last"], ["--export", "torch"]):
        assert evaluate.main(words) == 0
        assert "tested before" not in capsys.readouterr().err
    assert evaluate.main(["--checkpoint", "last"]) == 0
    assert f"The run {project.run.info.run_id} was tested before (best.ckpt, step 34)" in capsys.readouterr().err
    assert project.run.data.tags["labkit.tested"] == "best.ckpt, step 34; last.ckpt, step 34"

    folder = project.path / "runs" / project.run.info.run_id
    with np.load(folder / "predictions" / "validation-last.npz") as file:
        correct = file["prediction"].argmax(axis=1) == file["target"]
    assert len(correct) == 360
    assert correct.mean() == pytest.approx(project.run.data.metrics["validation/accuracy"])
    network = torch.export.load(folder / "exports" / "best.pt2").module()
    assert network(torch.zeros(3, 1, 8, 8)).shape == (3, 10)
    artifacts = {file.path for file in project.store.list_artifacts(project.run.info.run_id, "predictions")}
    assert artifacts == {f"predictions/{name}.npz" for name in ("validation-last", "test-best", "test-last")}


def test_without_the_packages_for_onnx_it_says_how_to_get_them(
    project: Project, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("labkit.training.export.NEEDED_FOR_ONNX", ("onnx", "unheard_of"))
    assert train.main(["--architecture", "mlp", "--duration", "1 step"]) == 0
    capsys.readouterr()
    assert evaluate.main(["--export", "onnx"]) == 1
    assert capsys.readouterr().err == (
        "evaluate: ONNX needs unheard_of, which is not installed: make init installs all.\n"
    )
    assert "labkit.tested" not in project.run.data.tags


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


def test_a_run_uses_what_was_prepared_and_nothing_else(project: Project, capsys: pytest.CaptureFixture[str]) -> None:
    digits = read_digits()
    folder = write(Path("digits"), (digits, fold_by_image(digits)))
    assert train.main(["--architecture", "mlp", "--duration", "3 steps", "--data", "digits"]) == 0
    assert evaluate.main([]) == 0

    labels = folder / "labels.csv"
    labels.write_text(labels.read_text().replace("digits/1/", "digits/7/"))
    assert evaluate.main([]) == 2
    assert "are not as recorded, 1 files differ (changed labels.csv)" in capsys.readouterr().err
    assert train.main(["--expect", project.run.data.tags["labkit.footprint"]]) == 2
    assert "as --expect says: these are other data." in capsys.readouterr().err
