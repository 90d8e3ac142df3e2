import math

import pytest
import torch

from << cookiecutter.package_name >>.data import VOCABULARY
from << cookiecutter.package_name >>.passage import LENGTH, TOPICS
from << cookiecutter.package_name >>.train import make_task


def test_before_it_learns_every_topic_is_as_likely() -> None:
    texts, classes = torch.randint(VOCABULARY, (8, LENGTH)), torch.arange(8) % len(TOPICS)
    result = make_task("mlp").compute([texts, classes])
    assert result.prediction.shape == (8, len(TOPICS))
    assert result.loss.item() == pytest.approx(math.log(len(TOPICS)), abs=0.2)
