import torch

from << cookiecutter.package_name >>.data import find_parts
from << cookiecutter.package_name >>.prepare import prepare
from << cookiecutter.package_name >>.train import train

from .project import Project


def test_what_is_prepared_is_what_is_made_and_can_be_trained_with(project: Project) -> None:
    from labkit.data.push import find_images
    from labkit.training.duration import Duration

    assert prepare.main([]) == 0
    folder = project.path / "data" / "clips"
    assert sorted(path.name for path in folder.iterdir()) == [".labkit", "clips.npz", "split.json"]
    assert find_images(folder) == []  # which could not be measured as such
    prepared, made = find_parts(project.environment, str(folder), 2), find_parts(project.environment, fold=2)
    for part, other in zip(prepared[:3], made[:3], strict=True):
        assert torch.equal(part.tensors[0], other.tensors[0])
        assert torch.equal(part.tensors[1], other.tensors[1])
    run = project.make_run()
    train(run, data=str(folder), duration=Duration(3, "steps"), validation_every=Duration(3, "steps"))
    assert run.root == prepared.footprint.root
