import pytest
import torch

from << cookiecutter.package_name >>.model import ARCHITECTURES, Architecture


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_a_model_makes_a_representation_of_each_pixel(name: Architecture) -> None:
    assert ARCHITECTURES[name]((1, 32, 32), 16)(torch.zeros(5, 1, 32, 32)).shape == (5, 16, 32, 32)


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_a_model_fits_other_images_too(name: Architecture) -> None:
    assert ARCHITECTURES[name]((3, 16, 12), 4)(torch.zeros(2, 3, 16, 12)).shape == (2, 4, 16, 12)


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_every_weight_learns(name: Architecture) -> None:
    model = ARCHITECTURES[name]((1, 8, 8), 8)
    model(torch.rand(32, 1, 8, 8)).square().sum().backward()
    assert all(weight.grad is not None and weight.grad.any() for weight in model.parameters())


@pytest.mark.parametrize(("name", "reach"), [("mlp", 4), ("unet", 8)])
def test_how_far_a_pixel_sees(name: Architecture, reach: int) -> None:
    torch.manual_seed(0)
    image = torch.rand(1, 1, 32, 32, requires_grad=True)
    ARCHITECTURES[name]((1, 32, 32), 8).eval()(image)[..., 16, 16].sum().backward()
    assert image.grad is not None
    rows = image.grad[0, 0].any(dim=1).nonzero().flatten()
    assert min(16 - int(rows.min()), int(rows.max()) - 16) >= reach
