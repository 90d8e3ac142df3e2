from pathlib import Path

import pytest
import torch
from torch import Tensor

from labkit.command import UsageError
from labkit.training.checkpoint import write
from labkit.training.comparison import WeightComparison, WeightDifference, compare_weights


def compare(folder: Path, old: dict[str, Tensor], new: dict[str, Tensor]) -> WeightComparison:
    """Compare weights through the files that hold them."""
    for name, weights in (("old", old), ("new", new)):
        write({"state_dict": weights}, folder / f"{name}.ckpt")
    return compare_weights(folder / "old.ckpt", folder / "new.ckpt")


@pytest.mark.parametrize(
    "tensor",
    [
        torch.linspace(-1, 1, 12).reshape(3, 4),
        torch.linspace(-1, 1, 12).reshape(3, 4).T,
        torch.tensor(3.0),
        torch.empty(0),
        torch.tensor([float("nan"), float("inf"), -0.0]),
        torch.tensor([1.0, 2.0], dtype=torch.bfloat16),
        torch.tensor([True, False]),
        torch.tensor([2**60 + 1]),
        torch.tensor([1 + 2j]),
    ],
    ids=str,
)
def test_the_same_weights_are_identical(tmp_path: Path, tensor: Tensor) -> None:
    assert compare(tmp_path, {"weight": tensor}, {"weight": tensor.clone()}) == WeightComparison(1, [])


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        ([1.0, 2.0, 3.0], [1.0, 2.5, 3.25], "2 of 3 values, by at most 0.5"),
        ([1.0], [1.0 + 2**-23], "1 of 1 values, by at most 1.19e-07"),
        ([0.0], [-0.0], "1 of 1 values, by at most 0"),
        ([1.0], [float("nan")], "1 of 1 values, by at most nan"),
        ([[1.0], [2.0]], [[1.0, 2.0]], "float32 (2, 1) became float32 (1, 2)"),
        ([1.0], [1], "float32 (1,) became int64 (1,)"),
        ([True, False], [False, False], "1 of 2 values, by at most 1"),
        ([1 + 1j], [1 - 1j], "1 of 1 values, by at most 2"),
    ],
)
def test_one_wrong_bit_is_found(tmp_path: Path, old: list[float], new: list[float], reason: str) -> None:
    same = torch.ones(3)
    found = compare(tmp_path, {"a": same, "b": torch.tensor(old)}, {"a": same, "b": torch.tensor(new)})
    assert found == WeightComparison(2, [WeightDifference("b", reason)])


def test_weights_that_only_one_has_are_named(tmp_path: Path) -> None:
    weight = torch.ones(1)
    found = compare(tmp_path, {"a": weight, "b": weight}, {"b": weight, "c": weight})
    assert found == WeightComparison(
        3, [WeightDifference("a", "only in the old one"), WeightDifference("c", "only in the new one")]
    )


def test_a_damaged_checkpoint_is_refused(tmp_path: Path) -> None:
    compare(tmp_path, {"a": torch.ones(1)}, {"a": torch.ones(1)})
    path = tmp_path / "new.ckpt"
    path.write_bytes(path.read_bytes()[:-10])
    with pytest.raises(UsageError, match=r"^the checkpoint .*new\.ckpt is damaged or cut short"):
        compare_weights(tmp_path / "old.ckpt", path)
