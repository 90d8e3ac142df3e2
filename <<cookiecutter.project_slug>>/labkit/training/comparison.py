"""Whether two checkpoints hold the same weights, to the last bit."""

from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from labkit.training.checkpoint import read


class WeightDifference(NamedTuple):
    """A weight that two checkpoints do not have in common."""

    name: str
    reason: str
    """How it differs, in words."""


class WeightComparison(NamedTuple):
    """What became of comparing the weights of two checkpoints."""

    weights: int
    """How many tensors there are, in either."""
    differences: list[WeightDifference]


def compare_weights(old: Path, new: Path) -> WeightComparison:
    """Compare the weights of two checkpoints bit by bit; what is not a number is equal to its like.

    :param old: A checkpoint.
    :param new: Another checkpoint.
    :return: How many weights were compared, and which differ, in their order.
    :raises UsageError: If a checkpoint is damaged.
    """
    before, after = _read_weights(old), _read_weights(new)
    names = dict.fromkeys([*before, *after])
    differences = [
        WeightDifference(name, reason)
        for name in names
        if (reason := _find_difference(before.get(name), after.get(name)))
    ]
    return WeightComparison(len(names), differences)


def _read_weights(path: Path) -> dict[str, Tensor]:
    return {name: value for name, value in read(path)["state_dict"].items() if isinstance(value, Tensor)}


def _find_difference(old: Tensor | None, new: Tensor | None) -> str | None:
    if old is None or new is None:
        return "only in the old one" if new is None else "only in the new one"
    if old.dtype != new.dtype or old.shape != new.shape:
        return f"{_describe(old)} became {_describe(new)}"
    different = (_to_bytes(old) != _to_bytes(new)).any(dim=-1)
    count = int(different.sum())
    if count == 0:
        return None
    # Complex numbers of double precision hold numbers of all types, but for the last digits of some integers.
    before, after = (tensor.reshape(-1)[different].to(torch.complex128) for tensor in (old, new))
    return f"{count:,} of {old.numel():,} values, by at most {(before - after).abs().max().item():.3g}"


def _to_bytes(tensor: Tensor) -> Tensor:
    """Return the bytes ``(elements, bytes of one)`` of a tensor."""
    return tensor.detach().contiguous().reshape(-1, 1).view(torch.uint8)


def _describe(tensor: Tensor) -> str:
    return f"{str(tensor.dtype).removeprefix('torch.')} {tuple(tensor.shape)}"
