import torch

from << cookiecutter.package_name >>.train import DIMENSIONS, make_task


def test_vectors_have_the_length_one() -> None:
    result = make_task("mlp").compute([torch.rand(4, 1, 16, 64), torch.tensor([0, 0, 1, 1])])
    assert result.prediction.shape == (4, DIMENSIONS)
    assert torch.allclose(result.prediction.norm(dim=1), torch.ones(4))
