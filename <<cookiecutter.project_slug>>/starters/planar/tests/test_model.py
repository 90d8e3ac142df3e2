import pytest
import torch

from << cookiecutter.package_name >>.model import ARCHITECTURES, Architecture


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_a_model_makes_a_representation_of_each_point_and_every_weight_learns(name: Architecture) -> None:
    model = ARCHITECTURES[name](16)
    representations = model(torch.randn(64, 2))
    assert representations.shape == (64, 16)
    representations.square().sum().backward()
    assert all(weight.grad is not None and weight.grad.any() for weight in model.parameters())


def test_what_is_linear_bends_nothing() -> None:
    ends = torch.randn(2, 2)

    def bends(name: Architecture) -> bool:
        model = ARCHITECTURES[name](16)
        return not torch.allclose(model(ends.mean(dim=0)), model(ends).mean(dim=0), atol=1e-6)

    assert {name: bends(name) for name in ARCHITECTURES} == {"linear": False, "mlp": True}
