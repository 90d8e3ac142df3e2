import pytest
import torch

from << cookiecutter.package_name >>.model import ARCHITECTURES, Architecture, decoder


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_an_image_becomes_a_few_numbers_and_these_an_image(name: Architecture) -> None:
    images = torch.rand(5, 1, 8, 8)
    representations = ARCHITECTURES[name]((1, 8, 8), 3)(images)
    assert representations.shape == (5, 3)
    made = decoder((1, 8, 8), 3)(representations)
    assert made.shape == (5, 64)
    assert ((made >= 0) & (made <= 1)).all()


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_a_model_fits_other_images_too(name: Architecture) -> None:
    assert ARCHITECTURES[name]((3, 16, 12), 4)(torch.zeros(2, 3, 16, 12)).shape == (2, 4)


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_every_weight_learns(name: Architecture) -> None:
    model = torch.nn.Sequential(ARCHITECTURES[name]((1, 8, 8), 4), decoder((1, 8, 8), 4))
    model(torch.rand(32, 1, 8, 8)).square().sum().backward()
    assert all(weight.grad is not None and weight.grad.any() for weight in model.parameters())
