import torch

from << cookiecutter.package_name >>.train import FEATURES, make_task


def test_nobody_tells_the_classes() -> None:
    task = make_task("mlp")
    images = torch.rand(4, 1, 8, 8)
    alone, labelled = task.compute(images), task.compute([images, torch.arange(4)])
    assert alone.loss == labelled.loss
    assert torch.equal(alone.target, images)
    assert task.model(images).shape == (4, FEATURES)
