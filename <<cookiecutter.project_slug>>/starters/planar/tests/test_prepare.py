import pytest
import torch

from << cookiecutter.package_name >>.data import find_parts
from << cookiecutter.package_name >>.prepare import prepare
from << cookiecutter.package_name >>.train import train

from .project import Project


def test_what_is_prepared_is_what_is_drawn_and_can_be_trained_with(
    project: Project, capsys: pytest.CaptureFixture[str]
) -> None:
    from labkit.training.duration import Duration

    assert prepare.main(["--distribution", "donut"]) == 0
    folder = project.path / "data" / "donut"
    assert sorted(path.name for path in folder.iterdir()) == [".labkit", "points.csv", "split.json"]
    prepared = find_parts(project.environment, str(folder), fold=2)
    for part, drawn in zip(prepared[:3], find_parts(project.environment, "donut", fold=2)[:3], strict=True):
        assert torch.equal(part.tensors[0], drawn.tensors[0])
        assert torch.equal(part.tensors[1], drawn.tensors[1])

    run = project.make_run()
    train(run, data=str(folder), duration=Duration(3, "steps"), validation_every=Duration(3, "steps"))
    assert run.root == prepared.footprint.root
    assert prepare.main(["--distribution", "circle", "--folder", str(folder)]) == 2
    assert f"There is something else at {folder}: delete it" in capsys.readouterr().err
