"""The global streams of random numbers: set from the run's seed, kept in checkpoints, put back."""

import random
from typing import Any

import numpy as np
import torch

from labkit.seed import derive_seed


def seed_everything(seed: int, purpose: str, *indices: int) -> None:
    """Set the global streams of Python, NumPy and torch, on all devices.

    :param seed: The run's seed.
    :param purpose: What is done next: ``initialisation``, ``training``.
    :param indices: Which one of them, such as the process's rank.
    """
    derived = derive_seed(seed, purpose, *indices)
    random.seed(derived)
    np.random.seed(derived % 2**32)
    torch.manual_seed(derived)


def capture_generators() -> dict[str, Any]:
    """Return the states of the global streams, as plain data and tensors."""
    version, words, gauss = random.getstate()
    name, keys, *rest = np.random.get_state(legacy=True)
    return {
        "python": [version, list(words), gauss],
        "numpy": [name, torch.from_numpy(keys.astype(np.int64)), *rest],  # pyright: ignore[reportAttributeAccessIssue]
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_initialized() else [],
    }


def restore_generators(states: dict[str, Any]) -> None:
    """Put the global streams back.

    :param states: What :func:`capture_generators` returned.
    """
    version, words, gauss = states["python"]
    random.setstate((version, tuple(words), gauss))
    name, keys, *rest = states["numpy"]
    np.random.set_state((name, keys.numpy().astype(np.uint32), *rest))
    torch.set_rng_state(states["torch"])
    if states["cuda"]:
        torch.cuda.set_rng_state_all(states["cuda"])
