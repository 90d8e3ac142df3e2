import random
from pathlib import Path

import numpy as np
import torch

from labkit.training import checkpoint
from labkit.training.seeding import capture_generators, restore_generators, seed_everything


def draw() -> tuple[float, float, float, float]:
    """Draw from every global stream; NumPy keeps every second number of the normal distribution for later."""
    return random.random(), random.gauss(0, 1), float(np.random.standard_normal()), float(torch.randn(()))


def test_the_same_seed_gives_the_same_numbers() -> None:
    seed_everything(1, "training")
    first = draw()
    seed_everything(1, "training")
    assert draw() == first


def test_seed_purpose_and_index_each_give_other_numbers() -> None:
    draws: set[float] = set()
    for seed, purpose, indices in ((1, "training", ()), (2, "training", ()), (1, "other", ()), (1, "training", (1,))):
        seed_everything(seed, purpose, *indices)
        draws.update(draw())
    assert len(draws) == 16


def test_the_largest_seed_is_taken() -> None:
    seed_everything(2**32 - 1, "training")


def test_streams_go_on_from_a_checkpoint(tmp_path: Path) -> None:
    seed_everything(1, "training")
    draw()
    checkpoint.write(capture_generators(), tmp_path / "last.ckpt")
    expected = [draw() for _ in range(3)]
    seed_everything(2, "something else")
    restore_generators(checkpoint.read(tmp_path / "last.ckpt"))
    assert [draw() for _ in range(3)] == expected
