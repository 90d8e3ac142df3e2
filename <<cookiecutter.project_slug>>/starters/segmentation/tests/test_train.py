import math

import pytest
import torch

from << cookiecutter.package_name >>.scene import NAMES
from << cookiecutter.package_name >>.train import make_task


def test_each_pixel_is_given_a_class() -> None:
    masks = torch.randint(len(NAMES), (4, 32, 32))
    result = make_task("mlp").compute([torch.rand(4, 1, 32, 32), masks])
    assert result.prediction.shape == masks.shape
    assert result.loss.item() == pytest.approx(math.log(len(NAMES)), abs=0.2)
