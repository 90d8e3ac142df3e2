import pytest
import torch

from << cookiecutter.package_name >>.model import ARCHITECTURES, Architecture


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_a_model_makes_a_representation_of_each_word_and_nothing_of_padding(name: Architecture) -> None:
    model = ARCHITECTURES[name](10, 16).eval()
    words = torch.randint(1, 10, (4, 7))
    words[:, 5:] = 0
    representations = model(words)
    assert representations.shape == (4, 7, 16)
    assert representations[:, :5].any()
    assert not representations[:, 6:].any()


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_every_weight_learns(name: Architecture) -> None:
    model = ARCHITECTURES[name](10, 16)
    model(torch.randint(1, 10, (32, 7))).square().sum().backward()
    assert all(weight.grad is not None and weight.grad.any() for weight in model.parameters())


def test_one_of_them_sees_in_which_order_words_come() -> None:
    def sees_order(name: Architecture) -> bool:
        model = ARCHITECTURES[name](10, 16).eval()
        there, back = (model(torch.tensor([words])).mean(dim=1) for words in ([1, 2, 3, 4], [4, 3, 2, 1]))
        return not torch.allclose(there, back, atol=1e-6)

    assert {name: sees_order(name) for name in ARCHITECTURES} == {"mlp": False, "cnn": True}
