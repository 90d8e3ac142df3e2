import pytest
import torch

from << cookiecutter.package_name >>.model import ARCHITECTURES, Architecture


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_a_model_makes_a_representation_of_each_image(name: Architecture) -> None:
    model = ARCHITECTURES[name]((1, 8, 8), 16)
    assert model(torch.zeros(5, 1, 8, 8)).shape == (5, 16)


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_a_model_fits_other_images_too(name: Architecture) -> None:
    model = ARCHITECTURES[name]((3, 16, 12), 4)
    assert model(torch.zeros(2, 3, 16, 12)).shape == (2, 4)


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_every_weight_learns(name: Architecture) -> None:
    model = ARCHITECTURES[name]((1, 8, 8), 10)
    model(torch.rand(32, 1, 8, 8)).square().sum().backward()
    assert all(weight.grad is not None and weight.grad.any() for weight in model.parameters())
