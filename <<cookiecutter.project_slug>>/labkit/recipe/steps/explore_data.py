"""Looking at the data before anything learns from them."""

import hashlib
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from labkit.recipe.check import Check, at_most, equal
from labkit.recipe.step import Step

if TYPE_CHECKING:
    from torch import Tensor
    from torch.utils.data import Dataset

    from labkit.recipe.context import Context


@dataclass(frozen=True, kw_only=True)
class ExploreData(Step):
    """Count and measure the samples ``(input, class)``, and look for those that are in both parts.

    An input may have several classes, such as an image one for each pixel: then these are counted.

    Scores: the number of samples and the smallest share of a class in each part; how many samples to judge by are also
    among those to learn from; how many inputs hold NaN or infinity; the range, mean and deviation of inputs.
    """

    name: str = "explore data"
    checks: tuple[Check, ...] = (
        equal("inputs/not finite", 0),
        at_most("inputs/largest magnitude", 10),
        equal("validation/also in training", 0),
    )
    uses_task: ClassVar[bool] = False

    def execute(self, context: "Context") -> Mapping[str, object]:
        """Read every sample once."""
        import torch

        data = context.data()
        training, validation = read_samples(data.training), read_samples(data.validation)
        inputs = [inputs.double() for inputs, _ in (training, validation)]
        numbers = torch.cat([part[part.isfinite()] for part in inputs])
        finite = numbers if len(numbers) else torch.tensor([torch.nan])
        seen = set(map(_identify, training[0]))
        values: dict[str, object] = {
            "inputs/shape": list(inputs[0].shape[1:]),
            "inputs/not finite": sum(int((~part.isfinite()).flatten(1).any(dim=1).sum()) for part in inputs),
            "inputs/smallest": finite.min(),
            "inputs/largest": finite.max(),
            "inputs/largest magnitude": finite.abs().max(),
            "inputs/mean": finite.mean(),
            "inputs/deviation": finite.std(correction=0),
            "validation/also in training": sum(_identify(sample) in seen for sample in validation[0]),
        }
        for part, (_, classes) in {"training": training, "validation": validation}.items():
            counts = Counter(classes.flatten().tolist())
            values[f"{part}/samples"] = len(classes)
            values[f"{part}/smallest share of a class"] = min(counts.values()) / classes.numel()
            values[f"{part}/classes"] = dict(sorted(counts.items()))
        return values


def read_samples(dataset: "Dataset[Any]") -> "tuple[Tensor, Tensor]":
    """Read all samples of a data set.

    :param dataset: Samples ``(input, class)`` by index.
    :return: Inputs ``(samples, ...)`` and classes ``(samples,)``, or ``(samples, ...)`` where a sample has several.
    """
    import torch
    from torch.utils.data import TensorDataset

    if type(dataset) is TensorDataset and len(dataset.tensors) == 2:  # noqa: PLR2004
        return dataset.tensors[0], dataset.tensors[1]
    samples = [dataset[index] for index in range(len(dataset))]  # pyright: ignore[reportArgumentType]  it has a length
    inputs, classes = zip(*samples, strict=True)
    return torch.stack(list(map(torch.as_tensor, inputs))), torch.stack(list(map(torch.as_tensor, classes)))


def _identify(sample: "Tensor") -> bytes:
    return hashlib.sha256(sample.contiguous().numpy().tobytes()).digest()
