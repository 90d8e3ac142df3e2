import torch

from << cookiecutter.package_name >>.data import find_parts
from << cookiecutter.package_name >>.prepare import prepare
from << cookiecutter.package_name >>.train import train

from .project import Project


def test_what_is_prepared_is_what_comes_with_scipy_and_can_be_trained_with(project: Project) -> None:
    from labkit.training.duration import Duration

    assert prepare.main([]) == 0
    folder = project.path / "data" / "passages"
    assert sorted(path.name for path in folder.iterdir()) == [".labkit", "passages.csv", "split.json"]
    prepared, read = find_parts(project.environment, str(folder), 2), find_parts(project.environment, fold=2)
    assert (prepared.texts, prepared.vocabulary) == (read.texts, read.vocabulary)
    for part, other in zip(prepared[:3], read[:3], strict=True):
        assert torch.equal(part.tensors[0], other.tensors[0])
        assert torch.equal(part.tensors[1], other.tensors[1])
    run = project.make_run()
    train(run, data=str(folder), duration=Duration(3, "steps"), validation_every=Duration(3, "steps"))
    assert run.root == prepared.footprint.root
