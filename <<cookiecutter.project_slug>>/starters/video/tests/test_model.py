import pytest
import torch

from << cookiecutter.package_name >>.model import ARCHITECTURES, Architecture


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_a_model_makes_a_representation_of_each_clip_and_every_weight_learns(name: Architecture) -> None:
    model = ARCHITECTURES[name]((1, 5, 8, 6), 16)
    representations = model(torch.rand(32, 1, 5, 8, 6))
    assert representations.shape == (32, 16)
    representations.square().sum().backward()
    assert all(weight.grad is not None and weight.grad.any() for weight in model.parameters())


def test_one_of_them_sees_in_which_order_frames_come() -> None:
    clips = torch.rand(4, 1, 6, 12, 12)

    def sees_order(name: Architecture) -> bool:
        model = ARCHITECTURES[name](clips.shape[1:], 16)
        return not torch.allclose(model(clips), model(clips.flip(2)), atol=1e-5)

    assert {name: sees_order(name) for name in ARCHITECTURES} == {"mlp": False, "cnn": True}


def test_where_a_digit_is_does_not_matter_to_convolutions() -> None:
    clips = torch.rand(4, 1, 6, 12, 12)
    model = ARCHITECTURES["cnn"](clips.shape[1:], 16)
    torch.testing.assert_close(model(clips), model(clips.roll((4, 6), dims=(3, 4))))  # whole steps of the pooling
